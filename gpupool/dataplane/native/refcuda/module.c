#include "refcuda/module.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "refcuda/api.h"
#include "refcuda/compute.h"
#include "refcuda/current.h"
#include "refcuda/driver.h"
#include "refcuda/memory.h"
#include "refcuda/queue.h"

static void module_destroy(struct object *object)
{
    struct module *module = (struct module *)object;
    struct range range;
    for (size_t i = 0; i < module->image.global_count; i++)
        memory_remove(RANGE_VARIABLE, (uintptr_t)module->image.globals[i]->address, &range);
    image_close(&module->image);
    free(module->functions);
    free(module);
}

static void function_destroy(struct object *object)
{
    object_release(((struct function *)object)->module);
    free(object);
}

/* NULL: no memory, or the context has ended. */
static CUfunction function_new(struct module *module, const struct refcuda_kernel *kernel)
{
    struct function *function = calloc(1, sizeof *function);
    CUfunction handle;
    if (!function)
        return NULL;
    object_init(&function->object, KIND_FUNCTION, module->object.owner, function_destroy);
    function->module = object_retain(module);
    function->kernel = kernel;
    atomic_init(&function->dynamic_shared, SHARED_DEFAULT);
    atomic_init(&function->carveout, -1);
    if (!(handle = object_publish(&function->object))) {
        object_release(function);
        return NULL;
    }
    return handle;
}

/* The module's variables become device memory. */
static CUresult add_globals(const struct context *context, const struct module *module)
{
    for (size_t i = 0; i < module->image.global_count; i++) {
        const struct refcuda_global *global = module->image.globals[i];
        struct range range = {.base = (uintptr_t)global->address, .size = global->size, .kind = RANGE_VARIABLE};
        CUresult result = memory_add(context, &range);
        if (result)
            return result;
    }
    return CUDA_SUCCESS;
}

static CUresult add_functions(struct module *module)
{
    module->functions = calloc(module->image.kernel_count + 1, sizeof *module->functions);
    if (!module->functions)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < module->image.kernel_count; i++)
        if (!(module->functions[i] = function_new(module, module->image.kernels[i])))
            return context_refusal(module->object.owner);
    return CUDA_SUCCESS;
}

static void retire_functions(const struct module *module)
{
    for (size_t i = 0; module->functions && i < module->image.kernel_count; i++) {
        struct function *function = object_retire(KIND_FUNCTION, module->functions[i]);
        if (function)
            object_release(function);
    }
}

CUresult module_new(struct context *context, const void *bytes, size_t size, CUmodule *handle, struct reason *why)
{
    struct module *module = calloc(1, sizeof *module);
    CUmodule made = NULL;
    CUresult result;
    if (!module)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if ((result = image_open(bytes, size, &module->image, why))) {
        free(module);
        return result;
    }
    object_init(&module->object, KIND_MODULE, context, module_destroy);
    if (!(result = add_globals(context, module)) && !(result = add_functions(module)) &&
        !(made = object_publish(&module->object)))
        result = context_refusal(context);
    if (result) {
        retire_functions(module);
        object_release(module);
        return result;
    }
    *handle = made;
    return CUDA_SUCCESS;
}

bool module_unload(CUmodule handle)
{
    HELD struct module *module = object_retire(KIND_MODULE, handle);
    if (module)
        retire_functions(module);
    return module;
}

CUresult module_function(const struct module *module, const char *name, CUfunction *handle)
{
    for (size_t i = 0; i < module->image.kernel_count; i++)
        if (!strcmp(module->image.kernels[i]->name, name)) {
            *handle = module->functions[i];
            return CUDA_SUCCESS;
        }
    return refuse(CUDA_ERROR_NOT_FOUND, "the module has no kernel %s", name);
}

CUresult module_global(const struct module *module, const char *name, CUdeviceptr *address, size_t *size)
{
    for (size_t i = 0; i < module->image.global_count; i++) {
        const struct refcuda_global *global = module->image.globals[i];
        if (strcmp(global->name, name))
            continue;
        if (address)
            *address = (uintptr_t)global->address;
        if (size)
            *size = global->size;
        return CUDA_SUCCESS;
    }
    return refuse(CUDA_ERROR_NOT_FOUND, "the module has no variable %s", name);
}

void jit_log(unsigned int number, const CUjit_option *options, void *const *values, const struct reason *why)
{
    char *buffer = NULL;
    size_t size = 0;
    if (!options || !values)
        return;
    for (unsigned int i = 0; i < number; i++) {
        if (options[i] == CU_JIT_ERROR_LOG_BUFFER)
            buffer = values[i];
        if (options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
            size = (uintptr_t)values[i];
    }
    if (buffer && size)
        snprintf(buffer, size, "%s", why->text);
}

CUresult file_map(const char *path, void **bytes, size_t *size, struct reason *why)
{
    struct stat status;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0 || fstat(descriptor, &status)) {
        snprintf(why->text, sizeof why->text, "%s: %s", path, strerror(errno));
        if (descriptor >= 0)
            close(descriptor);
        return CUDA_ERROR_FILE_NOT_FOUND;
    }
    *size = S_ISREG(status.st_mode) ? (size_t)status.st_size : 0;
    *bytes = *size ? mmap(NULL, *size, PROT_READ, MAP_PRIVATE, descriptor, 0) : MAP_FAILED;
    close(descriptor);
    if (*bytes != MAP_FAILED)
        return CUDA_SUCCESS;
    snprintf(why->text, sizeof why->text, "%s is no image", path);
    return CUDA_ERROR_INVALID_IMAGE;
}

static CUresult load(CUmodule *handle, const void *bytes, size_t limit, struct reason *why)
{
    HELD struct context *context = NULL;
    size_t size;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if (!handle || !bytes)
        return CUDA_ERROR_INVALID_VALUE;
    if (!(size = image_size(bytes, limit, why)))
        return CUDA_ERROR_INVALID_IMAGE;
    return module_new(context, bytes, size, handle, why);
}

API CUresult cuModuleLoadDataEx(CUmodule *handle, const void *bytes, unsigned int number, CUjit_option *options,
                                void **values)
{
    struct reason why = {""};
    CUresult result = load(handle, bytes, SIZE_MAX, &why);
    if (result)
        jit_log(number, options, values, &why);
    return result ? refuse(result, "cuModuleLoadData: %s", why.text) : CUDA_SUCCESS;
}

API CUresult cuModuleLoadData(CUmodule *handle, const void *bytes)
{
    return cuModuleLoadDataEx(handle, bytes, 0, NULL, NULL);
}

API CUresult cuModuleLoad(CUmodule *handle, const char *path)
{
    struct reason why = {""};
    void *bytes;
    size_t size;
    CUresult result = driver_ready();
    if (result)
        return result;
    if (!path)
        return CUDA_ERROR_INVALID_VALUE;
    if (!(result = file_map(path, &bytes, &size, &why))) {
        result = load(handle, bytes, size, &why);
        munmap(bytes, size);
    }
    return result ? refuse(result, "cuModuleLoad: %s", why.text) : CUDA_SUCCESS;
}

API CUresult cuModuleUnload(CUmodule handle)
{
    HELD struct context *context = NULL;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if ((result = streams_wait(context)))
        return result;
    return module_unload(handle) ? CUDA_SUCCESS
                                 : refuse(CUDA_ERROR_INVALID_HANDLE, "no module has the handle %p", (void *)handle);
}

static CUresult module_acquire(CUmodule handle, struct module **module)
{
    CUresult result = driver_ready();
    if (result)
        return result;
    *module = object_acquire(KIND_MODULE, handle);
    return *module ? CUDA_SUCCESS : refuse(CUDA_ERROR_INVALID_HANDLE, "no module has the handle %p", (void *)handle);
}

API CUresult cuModuleGetFunction(CUfunction *out, CUmodule handle, const char *name)
{
    HELD struct module *module = NULL;
    CUresult result = module_acquire(handle, &module);
    if (result)
        return result;
    return out && name ? module_function(module, name, out) : CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuModuleGetGlobal_v2(CUdeviceptr *address, size_t *size, CUmodule handle, const char *name)
{
    HELD struct module *module = NULL;
    CUresult result = module_acquire(handle, &module);
    if (result)
        return result;
    return name ? module_global(module, name, address, size) : CUDA_ERROR_INVALID_VALUE;
}
ALSO(cuModuleGetGlobal, cuModuleGetGlobal_v2)

API CUresult cuModuleGetFunctionCount(unsigned int *count, CUmodule handle)
{
    HELD struct module *module = NULL;
    CUresult result = module_acquire(handle, &module);
    if (result)
        return result;
    if (!count)
        return CUDA_ERROR_INVALID_VALUE;
    *count = (unsigned int)module->image.kernel_count;
    return CUDA_SUCCESS;
}

API CUresult cuModuleEnumerateFunctions(CUfunction *functions, unsigned int number, CUmodule handle)
{
    HELD struct module *module = NULL;
    CUresult result = module_acquire(handle, &module);
    if (result)
        return result;
    if (!functions)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < number && i < module->image.kernel_count; i++)
        functions[i] = module->functions[i];
    return CUDA_SUCCESS;
}

API CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode *mode)
{
    CUresult result = driver_ready();
    if (result)
        return result;
    if (!mode)
        return CUDA_ERROR_INVALID_VALUE;
    *mode = CU_MODULE_EAGER_LOADING;
    return CUDA_SUCCESS;
}
