#include "worker/cuda/dispatch.h"
#include "worker/worker.h"

int main(int count, char **arguments)
{
    return worker_main(count, arguments, &cuda_api);
}
