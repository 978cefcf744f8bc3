/*
 * C = A * B for row-major n by n float matrices, on the reference device (a simulation on the CPU).
 *
 * Launch with blocks of T x T threads, T at most 32, and ceil(n / T) x ceil(n / T) of them. Each block gathers tiles of
 * A and B in shared memory, as a GPU kernel would.
 */
#include "refcuda_kernel.h"

#define LARGEST_TILE 32

struct tiles {
    float a[LARGEST_TILE][LARGEST_TILE], b[LARGEST_TILE][LARGEST_TILE], sum[LARGEST_TILE][LARGEST_TILE];
};

static void gather(float tile[LARGEST_TILE][LARGEST_TILE], const float *matrix, int n, int row, int column, int side)
{
    for (int i = 0; i < side; i++)
        for (int j = 0; j < side; j++)
            tile[i][j] = row + i < n && column + j < n ? matrix[(size_t)(row + i) * n + column + j] : 0;
}

static void multiply(struct tiles *tiles, int side)
{
    for (int i = 0; i < side; i++)
        for (int k = 0; k < side; k++)
            for (int j = 0; j < side; j++)
                tiles->sum[i][j] += tiles->a[i][k] * tiles->b[k][j];
}

REFCUDA_KERNEL(matmul, (const float *, a), (const float *, b), (float *, c), (int, n))
{
    struct tiles tiles = {0};
    int side = (int)block->blockDim.x;
    int row = (int)block->blockIdx.y * side, column = (int)block->blockIdx.x * side;

    if (side > LARGEST_TILE || block->blockDim.y != block->blockDim.x)
        return;
    for (int step = 0; step < n; step += side) {
        gather(tiles.a, a, n, row, step, side);
        gather(tiles.b, b, n, step, column, side);
        multiply(&tiles, side);
    }
    REFCUDA_THREADS {
        int i = row + (int)threadIdx.y, j = column + (int)threadIdx.x;
        if (i < n && j < n)
            c[(size_t)i * n + j] = tiles.sum[threadIdx.y][threadIdx.x];
    }
}
