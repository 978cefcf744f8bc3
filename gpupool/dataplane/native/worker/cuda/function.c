/* What a module holds: its functions and globals. */
#include <stdlib.h>
#include <string.h>

#include "gpupool_messages.h"
#include "wire/cuda/result.h"
#include "worker/cost.h"
#include "worker/cuda/device.h"
#include "worker/cuda/handles.h"
#include "worker/memory.h"
#include "worker_serve.h"

#define NAME_LIMIT 4096u

/* Copy the name that follows a request; false when it is none. */
static bool read_name(const struct record *record, uint32_t request_bytes, char *name)
{
    uint32_t bytes = payload_bytes(record, request_bytes);
    if (bytes == 0 || bytes >= NAME_LIMIT)
        return false;
    memcpy(name, (const char *)(record + 1) + request_bytes, bytes);
    name[bytes] = 0;
    return strlen(name) == bytes;
}

/* Ask the driver where the parameters lie. A driver before 12.4 can't tell: then only launches with a
 * packed buffer work. */
static void read_layout(struct session *session, struct function *function)
{
    size_t offset = 0, bytes = 0;
    for (uint32_t index = 0; index < MODULE_PARAMETERS; index++) {
        CUresult result = session->device->driver.cuFuncGetParamInfo(function->handle, index, &offset, &bytes);
        if (result == CUDA_ERROR_INVALID_VALUE) {
            function->layout_known = true;
            return;
        }
        if (result != CUDA_SUCCESS || offset + bytes > UINT16_MAX)
            return;
        function->parameters[index].offset = (uint16_t)offset;
        function->parameters[index].bytes = (uint16_t)bytes;
        function->parameter_count = index + 1;
        if (offset + bytes > function->parameter_bytes)
            function->parameter_bytes = (uint32_t)(offset + bytes);
    }
}

static void put_layout(struct reply *reply, const struct function *function)
{
    struct module_function_reply answer = {
        .parameter_count = function->layout_known ? function->parameter_count : 0,
        .parameter_bytes = function->parameter_bytes,
        .layout_known = function->layout_known,
    };
    reply_put(reply, &answer, sizeof answer);
    reply_put(reply, function->parameters, answer.parameter_count * (uint32_t)sizeof *function->parameters);
}

/* A charged function; NULL when the vGPU may not have it. */
static struct function *new_function(struct session *session)
{
    struct function *function = NULL;
    if (!ledger_take_host(session->ledger, COST_FUNCTION))
        return NULL;
    function = calloc(1, sizeof *function);
    if (!function)
        ledger_give_host(session->ledger, COST_FUNCTION);
    return function;
}

enum result serve_module_function(SERVE_ARGUMENTS)
{
    const struct module_function_request *request = (const void *)(record + 1);
    char name[NAME_LIMIT];
    CUmodule module;
    if (!object_module(session, request->module, &module))
        return RESULT_INVALID_HANDLE;
    if (!read_name(record, sizeof *request, name))
        return RESULT_INVALID_VALUE;
    struct function *function = new_function(session);
    if (!function)
        return RESULT_OUT_OF_MEMORY;
    function->module = request->module;
    CUresult result = session->device->driver.cuModuleGetFunction(&function->handle, module, name);
    if (result == CUDA_SUCCESS && !handle_set(&session->handles, request->function, HANDLE_FUNCTION, function))
        result = CUDA_ERROR_INVALID_HANDLE;
    if (result != CUDA_SUCCESS) {
        ledger_give_host(session->ledger, COST_FUNCTION);
        free(function);
        return result_of(result);
    }
    read_layout(session, function);
    put_layout(reply, function);
    return RESULT_OK;
}

enum result serve_module_global(SERVE_ARGUMENTS)
{
    const struct module_global_request *request = (const void *)(record + 1);
    char name[NAME_LIMIT];
    CUmodule module;
    CUdeviceptr address = 0;
    size_t bytes = 0;
    if (!object_module(session, request->module, &module))
        return RESULT_INVALID_HANDLE;
    if (!read_name(record, sizeof *request, name))
        return RESULT_INVALID_VALUE;
    CUresult result = session->device->driver.cuModuleGetGlobal_v2(&address, &bytes, module, name);
    if (result != CUDA_SUCCESS)
        return result_of(result);
    struct range range = {.start = address, .bytes = bytes, .owner = request->module};
    if (!session_owns(session, address, bytes) && !keep_range(session, range))
        return RESULT_OUT_OF_MEMORY;
    struct module_global_reply answer = {.address = address, .bytes = bytes};
    reply_put(reply, &answer, sizeof answer);
    return RESULT_OK;
}
