/* Modules, libraries and their functions. A library is a module of the current context's device, or of
 * the first device when none is current, and ends with no context; a kernel is a function. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attachment/log.h"
#include "gpupool_calls.h"
#include "runtime/address_map.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/function.h"
#include "runtime/staging.h"
#include "wire/cuda/image.h"
#include "wire/cuda/result.h"

#define OPTIONS 32

/* --- loading --- */

struct load {
    bool library;
    const void *image;
    size_t limit; /* of its bytes */
    unsigned option_count;
    const CUjit_option *options;
    void **values;
};

static enum result send_part(struct session *session, uint64_t position, size_t bytes, void *context)
{
    struct image_part_request message = {.position = position, .bytes = bytes};
    struct bytes request = {&message, sizeof message}, none = {NULL, 0};
    (void)context;
    return session_send(session, CALL_image_part, request, none);
}

static const void *option_value(const struct load *load, CUjit_option name)
{
    for (unsigned index = 0; index < load->option_count; index++)
        if (load->options[index] == name)
            return load->values[index];
    return NULL;
}

/* Write one of the compiler's logs where the caller wants it, and its length over the size it gave. */
static void give_log(const struct load *load, CUjit_option buffer, CUjit_option size, const char *text,
                     size_t bytes)
{
    char *to = (char *)option_value(load, buffer);
    size_t room = (uintptr_t)option_value(load, size);
    size_t given = room && bytes >= room ? room - 1 : bytes;
    if (to && room) {
        memcpy(to, text, given);
        to[given] = 0;
    }
    for (unsigned index = 0; index < load->option_count; index++)
        if (load->options[index] == size)
            load->values[index] = (void *)(to && room ? given : 0);
}

static void give_logs(const struct load *load, const unsigned char *reply, size_t got)
{
    struct module_load_reply head = {0};
    if (got >= sizeof head)
        memcpy(&head, reply, sizeof head);
    if (sizeof head + (size_t)head.information_bytes + head.error_bytes > got)
        head = (struct module_load_reply){0};
    const char *text = (const char *)reply + sizeof head;
    give_log(load, CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES, text, head.information_bytes);
    give_log(load, CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, text + head.information_bytes,
             head.error_bytes);
}

static CUresult ask_load(struct call *call, const struct load *load, uint64_t number, size_t size)
{
    struct module_load_request message = {.module = number, .bytes = size, .option_count = load->option_count};
    uint64_t pairs[OPTIONS * 2];
    unsigned char *reply = malloc(RING_REPLY_LIMIT);
    size_t got;
    if (!reply)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (unsigned index = 0; index < load->option_count; index++) {
        pairs[2 * index] = (uint64_t)load->options[index];
        pairs[2 * index + 1] = (uintptr_t)load->values[index];
    }
    struct bytes request = {&message, sizeof message};
    struct bytes payload = {pairs, load->option_count * 2 * sizeof *pairs};
    CUresult result = cuda_result(
        session_ask(call->session, CALL_module_load, request, payload, reply, RING_REPLY_LIMIT, &got));
    give_logs(load, reply, got);
    free(reply);
    return result;
}

/* Where the module goes; a library belongs to no context. */
static CUresult place(struct call *call, const struct load *load, uint64_t *context)
{
    CUresult result = context_current(&call->session, context);
    if (!load->library)
        return result;
    *context = 0;
    return result == CUDA_ERROR_INVALID_CONTEXT ? device_session(0, &call->session) : result;
}

/* The worker has the module; the program gets it unless its context ended meanwhile. */
static CUresult settle_module(struct session *session, uint64_t number, struct item *item)
{
    struct module_unload_request message = {.module = number};
    struct bytes request = {&message, sizeof message}, none = {NULL, 0};
    pthread_mutex_lock(&session->table_lock);
    bool live = !item->context || context_live(session, item->context);
    if (live) {
        handle_replace(&session->handles, number, HANDLE_MAKING, HANDLE_MODULE, item);
    } else {
        handle_drop(&session->handles, number, HANDLE_MAKING);
        session_send(session, CALL_module_unload, request, none);
    }
    pthread_mutex_unlock(&session->table_lock);
    return live ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

/* Send the image and have it loaded under a handle of its own. */
static CUresult send_image(struct call *call, const struct load *load, const void *start, size_t size,
                           uint64_t *number)
{
    if (!(*number = call_reserve(call)))
        return CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_lock(&call->session->device->load_lock);
    CUresult result = cuda_result(staging_send(call->session, start, size, send_part, NULL));
    if (result == CUDA_SUCCESS)
        result = ask_load(call, load, *number, size);
    pthread_mutex_unlock(&call->session->device->load_lock);
    if (result != CUDA_SUCCESS)
        call_unreserve(call, *number);
    return result;
}

static CUresult load_image(struct call *call, const struct load *load, uint64_t *number)
{
    const void *start;
    size_t size = load->image ? image_size(load->image, load->limit, &start) : 0;
    if (!load->image || load->option_count > OPTIONS || (load->option_count && (!load->options || !load->values)))
        return CUDA_ERROR_INVALID_VALUE;
    if (!size)
        return CUDA_ERROR_INVALID_IMAGE;
    struct item *item = calloc(1, sizeof *item);
    if (!item)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult result = place(call, load, &item->context);
    if (result == CUDA_SUCCESS)
        result = send_image(call, load, start, size, number);
    if (result == CUDA_SUCCESS)
        result = settle_module(call->session, *number, item);
    if (result != CUDA_SUCCESS)
        free(item);
    return result;
}

static CUresult load_module(CUmodule *module, const struct load *load)
{
    struct call call = {0};
    uint64_t number;
    if (!module)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = load_image(&call, load, &number);
    if (result == CUDA_SUCCESS)
        *module = (CUmodule)public_handle(call.session, HANDLE_MODULE, number);
    return result;
}

CUresult runtime_cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned int numOptions,
                                    CUjit_option *options, void **optionValues)
{
    struct load load = {.image = image, .limit = SIZE_MAX, .option_count = numOptions, .options = options,
                        .values = optionValues};
    return load_module(module, &load);
}

CUresult runtime_cuLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *jitOptions,
                                   void **jitOptionsValues, unsigned int numJitOptions,
                                   CUlibraryOption *libraryOptions, void **libraryOptionValues,
                                   unsigned int numLibraryOptions)
{
    struct load load = {.library = true, .image = code, .limit = SIZE_MAX, .option_count = numJitOptions,
                        .options = jitOptions, .values = jitOptionsValues};
    (void)libraryOptionValues;
    if (numLibraryOptions && !libraryOptions)
        return CUDA_ERROR_INVALID_VALUE;
    return load_module((CUmodule *)library, &load);
}

/* The whole file and a NUL; NULL when it can't be read. */
static char *read_file(const char *name, size_t *bytes)
{
    FILE *file = fopen(name, "re");
    char *text = NULL;
    if (!file)
        return NULL;
    long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    *bytes = (size_t)size + 1;
    if (size >= 0)
        text = calloc(1, *bytes);
    rewind(file);
    if (text && fread(text, 1, (size_t)size, file) != (size_t)size) {
        free(text);
        text = NULL;
    }
    fclose(file);
    return text;
}

CUresult runtime_cuModuleLoad(CUmodule *module, const char *fname)
{
    struct load load = {0};
    char *image = fname ? read_file(fname, &load.limit) : NULL;
    if (!image)
        return fname ? CUDA_ERROR_FILE_NOT_FOUND : CUDA_ERROR_INVALID_VALUE;
    load.image = image;
    CUresult result = load_module(module, &load);
    free(image);
    return result;
}

/* --- unloading --- */

/* The table lock is held. The worker ends a module's functions by itself. */
static void forget_parts(struct session *session, uint64_t module)
{
    struct handle_walk walk = {0};
    while (handle_next(&session->handles, &walk)) {
        struct function *function = walk.object;
        if (walk.kind != HANDLE_FUNCTION || function->module != module)
            continue;
        handle_drop(&session->handles, walk.handle, HANDLE_FUNCTION);
        item_free(HANDLE_FUNCTION, &function->item);
    }
    address_map_remove_owned(&session->memory, module, NULL, NULL);
}

CUresult runtime_cuModuleUnload(CUmodule hmod)
{
    struct module_unload_request message;
    struct call call = {0};
    CUresult result = call_handle(&call, HANDLE_MODULE, hmod, &message.module);
    if (result != CUDA_SUCCESS)
        return result;
    struct bytes request = {&message, sizeof message}, none = {NULL, 0};
    pthread_mutex_lock(&call.session->table_lock);
    void *item = handle_drop(&call.session->handles, message.module, HANDLE_MODULE);
    if (item) {
        forget_parts(call.session, message.module);
        result = cuda_result(session_send(call.session, CALL_module_unload, request, none));
    }
    pthread_mutex_unlock(&call.session->table_lock);
    free(item);
    return item ? result : CUDA_ERROR_INVALID_HANDLE;
}

/* --- globals --- */

CUresult runtime_cuModuleGetGlobal_v2(CUdeviceptr *dptr, size_t *bytes, CUmodule hmod, const char *name)
{
    struct module_global_request request;
    struct module_global_reply reply;
    struct call call = {0};
    if (!name || !*name || strlen(name) > NAME_LIMIT)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = call_handle(&call, HANDLE_MODULE, hmod, &request.module);
    if (result == CUDA_SUCCESS)
        result = call_ask(&call, CALL_module_global, &request, sizeof request, name, strlen(name), &reply,
                          sizeof reply);
    if (result != CUDA_SUCCESS)
        return result;
    struct range range = {.start = reply.address, .bytes = reply.bytes, .owner = request.module};
    pthread_mutex_lock(&call.session->table_lock);
    /* Another thread may have unloaded the module meanwhile. */
    bool live = handle_get(&call.session->handles, request.module, HANDLE_MODULE);
    bool known = ranges_find(&call.session->memory, reply.address, reply.bytes);
    bool added = live && (known || !reply.bytes || address_map_add(&call.session->memory, range));
    pthread_mutex_unlock(&call.session->table_lock);
    if (!live)
        return CUDA_ERROR_INVALID_HANDLE;
    if (!added) {
        runtime_log("device %d: the address of %s is in use in this program", call.session->ordinal, name);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (dptr)
        *dptr = reply.address;
    if (bytes)
        *bytes = reply.bytes;
    return CUDA_SUCCESS;
}

