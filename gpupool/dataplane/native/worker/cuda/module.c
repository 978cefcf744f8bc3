#include "worker/cuda/module.h"

#include <stdlib.h>
#include <string.h>

#include "gpupool_messages.h"
#include "wire/cuda/image.h"
#include "wire/cuda/result.h"
#include "worker/cost.h"
#include "worker/cuda/device.h"
#include "worker/cuda/handles.h"
#include "worker/cuda/image_memory.h"
#include "worker/memory.h"
#include "worker/span.h"
#include "worker/staging.h"
#include "worker_serve.h"

#define IMAGE_LIMIT (2ull << 30)
#define LOG_LIMIT 2000u /* bytes of each compiler log that travel back */
#define OPTIONS 32u
#define DOUBTFUL (64ull << 20) /* bytes: more than most modules take */

static bool grow(struct session *session, uint64_t size)
{
    struct image *image = &session->device->image;
    /* One byte more: PTX is a text that needs its end. */
    if (size > IMAGE_LIMIT)
        return false;
    if (size + 1 <= image->room)
        return true;
    uint64_t more = size + 1 - image->room;
    if (!ledger_take_host(session->ledger, more))
        return false;
    unsigned char *bytes = realloc(image->bytes, size + 1);
    if (!bytes) {
        ledger_give_host(session->ledger, more);
        return false;
    }
    image->bytes = bytes;
    image->room = size + 1;
    return true;
}

enum result serve_image_part(SERVE_ARGUMENTS)
{
    (void)reply;
    const struct image_part_request *request = (const void *)(record + 1);
    const unsigned char *source = staging_bytes(session, request->position, request->bytes);
    struct image *image = &session->device->image;
    if (!source)
        return RESULT_INVALID_VALUE;
    bool taken = grow(session, image->size + request->bytes);
    if (taken) {
        memcpy(image->bytes + image->size, source, request->bytes);
        image->size += request->bytes;
    }
    staging_release(session, request->position + request->bytes, NULL);
    return taken ? RESULT_OK : RESULT_OUT_OF_MEMORY;
}

/* The options of a load: the client's numbers, then our own log buffers. */
struct options {
    CUjit_option names[OPTIONS + 4];
    void *values[OPTIONS + 4];
    unsigned count;
    char information[LOG_LIMIT], error[LOG_LIMIT];
};

static void add_option(struct options *options, CUjit_option name, uintptr_t value)
{
    options->names[options->count] = name;
    options->values[options->count++] = (void *)value;
}

static bool is_log(uint64_t name)
{
    return name >= CU_JIT_INFO_LOG_BUFFER && name <= CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES;
}

/* Options whose value is a number; others hold pointers, which mean nothing here. */
static bool is_number(uint64_t name)
{
    enum { MAX_REGISTERS = 0, WALL_TIME = 2, OPTIMIZATION = 7, TARGET_FROM_CONTEXT = 8, TARGET = 9,
           FALLBACK = 10, DEBUG_INFO = 11, VERBOSE = 12, LINE_INFO = 13, CACHE = 14, POSITION_INDEPENDENT = 30 };
    return name == MAX_REGISTERS || (name >= OPTIMIZATION && name <= CACHE) || name == POSITION_INDEPENDENT;
}

static void read_options(struct options *options, const uint64_t *pairs, uint32_t count)
{
    for (uint32_t index = 0; index < count && index < OPTIONS; index++)
        if (!is_log(pairs[2 * index]) && is_number(pairs[2 * index]))
            add_option(options, (CUjit_option)pairs[2 * index], pairs[2 * index + 1]);
    add_option(options, CU_JIT_INFO_LOG_BUFFER, (uintptr_t)options->information);
    add_option(options, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES, LOG_LIMIT);
    add_option(options, CU_JIT_ERROR_LOG_BUFFER, (uintptr_t)options->error);
    add_option(options, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, LOG_LIMIT);
}

static void put_logs(struct reply *reply, const struct options *options)
{
    struct module_load_reply answer = {
        .information_bytes = (uint32_t)strnlen(options->information, LOG_LIMIT),
        .error_bytes = (uint32_t)strnlen(options->error, LOG_LIMIT),
    };
    reply_put(reply, &answer, sizeof answer);
    reply_put(reply, options->information, answer.information_bytes);
    reply_put(reply, options->error, answer.error_bytes);
}

static uint64_t device_free(struct session *session)
{
    size_t free_bytes = 0, total_bytes = 0;
    session->device->driver.cuMemGetInfo_v2(&free_bytes, &total_bytes);
    return free_bytes;
}

static CUresult load_once(struct session *session, struct module *module, struct options *options, uint64_t *taken)
{
    uint64_t before = device_free(session);
    CUresult result = session->device->driver.cuModuleLoadDataEx(
        &module->handle, session->device->image.bytes, options->count, options->names, options->values);
    uint64_t after = device_free(session);
    *taken = before > after ? before - after : 0;
    return result;
}

/* An image that does not say what it takes: charge what the device's free memory became less by. Others use the
 * device too, so when that is a lot look again and believe the smaller. */
static CUresult load_measured(struct session *session, struct module *module, struct options *options)
{
    uint64_t taken, again;
    CUresult result = load_once(session, module, options, &taken);
    if (result == CUDA_SUCCESS && taken > DOUBTFUL) {
        session->device->driver.cuModuleUnload(module->handle);
        result = load_once(session, module, options, &again);
        taken = again < taken ? again : taken;
    }
    if (result != CUDA_SUCCESS)
        return result;
    module->charged = memory_charge(taken);
    if (ledger_take(session->ledger, module->charged))
        return CUDA_SUCCESS;
    session->device->driver.cuModuleUnload(module->handle);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult load_charged(struct session *session, struct module *module, struct options *options)
{
    const struct image *image = &session->device->image;
    const void *start;
    uint64_t taken;
    image->bytes[image->size] = 0;
    if (!image_size(image->bytes, image->size + 1, &start))
        return CUDA_ERROR_INVALID_IMAGE;
    uint64_t said = image_memory(image->bytes);
    if (!said)
        return load_measured(session, module, options);
    module->charged = memory_charge(said);
    if (!ledger_take(session->ledger, module->charged))
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult result = load_once(session, module, options, &taken);
    if (result != CUDA_SUCCESS)
        ledger_give(session->ledger, module->charged);
    return result;
}

CUresult module_end(struct session *session, struct module *module)
{
    CUresult result = session->device->driver.cuModuleUnload(module->handle);
    ledger_give(session->ledger, module->charged);
    ledger_give_host(session->ledger, module->host_charged);
    free(module);
    return result;
}

static CUresult load(struct session *session, uint64_t handle, struct options *options)
{
    struct module *module = calloc(1, sizeof *module);
    if (!module)
        return CUDA_ERROR_OUT_OF_MEMORY;
    module->host_charged = session->device->image.size + COST_MODULE;
    if (!ledger_take_host(session->ledger, module->host_charged)) {
        free(module);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    CUresult result = load_charged(session, module, options);
    if (result != CUDA_SUCCESS) {
        ledger_give_host(session->ledger, module->host_charged);
        free(module);
        return result;
    }
    if (handle_set(&session->handles, handle, HANDLE_MODULE, module))
        return CUDA_SUCCESS;
    module_end(session, module);
    return CUDA_ERROR_INVALID_HANDLE;
}

void image_drop(struct session *session)
{
    free(session->device->image.bytes);
    ledger_give_host(session->ledger, session->device->image.room);
    memset(&session->device->image, 0, sizeof session->device->image);
}

enum result serve_module_load(SERVE_ARGUMENTS)
{
    const struct module_load_request *request = (const void *)(record + 1);
    const uint64_t *pairs = (const void *)(request + 1);
    struct options *options = NULL;
    CUresult result = CUDA_ERROR_INVALID_VALUE;
    uint64_t size = session->device->image.size;
    if (size && size == request->bytes && request->option_count <= OPTIONS) {
        options = calloc(1, sizeof *options);
        result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (options) {
        read_options(options, pairs, request->option_count);
        result = load(session, request->module, options);
        put_logs(reply, options);
        free(options);
    }
    image_drop(session);
    return result_of(result);
}

static void drop_functions(struct session *session, uint64_t module)
{
    struct handle_walk walk = {0};
    while (handle_next(&session->handles, &walk)) {
        const struct function *function = walk.object;
        if (walk.kind == HANDLE_FUNCTION && function->module == module) {
            free(handle_drop(&session->handles, walk.handle, HANDLE_FUNCTION));
            ledger_give_host(session->ledger, COST_FUNCTION);
        }
    }
}

static void drop_globals(struct session *session, uint64_t module)
{
    struct range removed;
    for (size_t index = session->memory.count; index-- > 0;)
        if (session->memory.items[index].owner == module) {
            ranges_remove(&session->memory, session->memory.items[index].start, &removed);
            ledger_give_host(session->ledger, COST_RANGE);
        }
}

enum result serve_module_unload(SERVE_ARGUMENTS)
{
    (void)reply;
    const struct module_unload_request *request = (const void *)(record + 1);
    struct module *module = handle_drop(&session->handles, request->module, HANDLE_MODULE);
    if (!module)
        return RESULT_INVALID_HANDLE;
    spans_close(session);
    drop_functions(session, request->module);
    drop_globals(session, request->module);
    return result_of(module_end(session, module));
}
