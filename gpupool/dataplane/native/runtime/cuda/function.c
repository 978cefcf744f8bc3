#include "runtime/cuda/function.h"

#include <stdlib.h>
#include <string.h>

#include "gpupool_calls.h"
#include "gpupool_messages.h"
#include "wire/cuda/result.h"

void item_free(enum handle_kind kind, struct item *item)
{
    if (kind == HANDLE_FUNCTION)
        function_release((struct function *)item);
    else
        free(item);
}

void function_release(struct function *function)
{
    if (atomic_fetch_sub_explicit(&function->references, 1, memory_order_acq_rel) != 1)
        return;
    free(function->name);
    free(function);
}

CUresult call_function(struct call *call, const void *handle, uint64_t *number, struct function **function)
{
    CUresult result = call_resolve(call, HANDLE_FUNCTION, handle, number);
    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&call->session->table_lock);
    *function = handle_get(&call->session->handles, *number, HANDLE_FUNCTION);
    if (*function)
        atomic_fetch_add_explicit(&(*function)->references, 1, memory_order_relaxed);
    pthread_mutex_unlock(&call->session->table_lock);
    return *function ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* --- asking the worker for one --- */

/* A function with room for the answer that describes it, and its name: nothing can fail once the worker has it. */
static struct function *new_function(const char *name, uint64_t module)
{
    struct function *function = calloc(1, sizeof *function + RING_REPLY_LIMIT);
    if (!function)
        return NULL;
    function->name = strdup(name);
    function->module = module;
    atomic_init(&function->references, 1);
    if (function->name)
        return function;
    free(function);
    return NULL;
}

/* Read the answer, which lies where the parameters go. False when it is none. */
static bool read_description(struct function *function, size_t got)
{
    struct module_function_reply head;
    if (got < sizeof head)
        return false;
    memcpy(&head, function->parameters, sizeof head);
    size_t bytes = head.parameter_count * sizeof *function->parameters;
    if (bytes > got - sizeof head)
        return false;
    memmove(function->parameters, (unsigned char *)function->parameters + sizeof head, bytes);
    for (uint32_t index = 0; index < head.parameter_count; index++)
        if (function->parameters[index].offset + (uint32_t)function->parameters[index].bytes > head.parameter_bytes)
            return false;
    function->layout_known = head.layout_known;
    function->parameter_count = head.parameter_count;
    function->parameter_bytes = head.parameter_bytes;
    return true;
}

/* The worker has the function, unless another thread unloaded the module meanwhile. */
static CUresult settle_function(struct session *session, uint64_t number, struct function *function)
{
    pthread_mutex_lock(&session->table_lock);
    const struct item *module = handle_get(&session->handles, function->module, HANDLE_MODULE);
    if (module) {
        function->item.context = module->context;
        handle_replace(&session->handles, number, HANDLE_MAKING, HANDLE_FUNCTION, function);
    } else {
        handle_drop(&session->handles, number, HANDLE_MAKING);
    }
    pthread_mutex_unlock(&session->table_lock);
    return module ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult ask_function(struct call *call, struct function *function, uint64_t number)
{
    struct module_function_request message = {.module = function->module, .function = number};
    struct bytes request = {&message, sizeof message}, payload = {function->name, strlen(function->name)};
    size_t got;
    CUresult result = cuda_result(session_ask(call->session, CALL_module_function, request, payload,
                                              function->parameters, RING_REPLY_LIMIT, &got));
    return result == CUDA_SUCCESS && !read_description(function, got) ? CUDA_ERROR_UNKNOWN : result;
}

static CUresult get_function(struct call *call, uint64_t module, const char *name, uint64_t *number)
{
    struct function *function = new_function(name, module);
    if (!function)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *number = call_reserve(call);
    CUresult result = *number ? ask_function(call, function, *number) : CUDA_ERROR_OUT_OF_MEMORY;
    if (result == CUDA_SUCCESS)
        result = settle_function(call->session, *number, function);
    else if (*number)
        call_unreserve(call, *number);
    if (result != CUDA_SUCCESS)
        function_release(function);
    return result;
}

CUresult runtime_cuModuleGetFunction(CUfunction *hfunc, CUmodule hmod, const char *name)
{
    struct call call = {0};
    uint64_t module, number;
    if (!hfunc || !name || !*name || strlen(name) > NAME_LIMIT)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = call_handle(&call, HANDLE_MODULE, hmod, &module);
    if (result == CUDA_SUCCESS)
        result = get_function(&call, module, name, &number);
    if (result == CUDA_SUCCESS)
        *hfunc = (CUfunction)public_handle(call.session, HANDLE_FUNCTION, number);
    return result;
}

/* --- what the runtime knows of a function --- */

static CUresult get_parameter(const struct function *function, size_t index, size_t *offset, size_t *bytes)
{
    if (!function->layout_known)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (index >= function->parameter_count)
        return CUDA_ERROR_INVALID_VALUE;
    *offset = function->parameters[index].offset;
    if (bytes)
        *bytes = function->parameters[index].bytes;
    return CUDA_SUCCESS;
}

CUresult runtime_cuFuncGetParamInfo(CUfunction func, size_t paramIndex, size_t *paramOffset, size_t *paramSize)
{
    struct function *function;
    struct call call = {0};
    uint64_t number;
    CUresult result = paramOffset ? call_function(&call, func, &number, &function) : CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return result;
    result = get_parameter(function, paramIndex, paramOffset, paramSize);
    function_release(function);
    return result;
}

