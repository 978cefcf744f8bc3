#include "refcuda/library.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "refcuda/api.h"
#include "refcuda/context.h"
#include "refcuda/current.h"
#include "refcuda/driver.h"

struct loaded {
    uint64_t context; /* its id */
    CUmodule module;  /* stale when the context has ended */
};

struct library {
    struct object object;
    struct image image; /* a copy that never runs: names and parameters */
    CUkernel *kernels;  /* handles, in the order of image.kernels */
    void *bytes;
    size_t size;
    pthread_mutex_t lock;
    struct loaded *loaded;
    size_t loaded_count;
};

static void library_destroy(struct object *object)
{
    struct library *library = (struct library *)object;
    image_close(&library->image);
    pthread_mutex_destroy(&library->lock);
    free(library->kernels);
    free(library->loaded);
    free(library->bytes);
    free(library);
}

static void kernel_destroy(struct object *object)
{
    object_release(((struct kernel *)object)->library);
    free(object);
}

/* NULL: no memory. */
static CUkernel kernel_new(struct library *library, const struct refcuda_kernel *description)
{
    struct kernel *kernel = calloc(1, sizeof *kernel);
    CUkernel handle;
    if (!kernel)
        return NULL;
    object_init(&kernel->object, KIND_KERNEL, library, kernel_destroy);
    kernel->library = object_retain(library);
    kernel->description = description;
    if (!(handle = object_publish(&kernel->object))) {
        object_release(kernel);
        return NULL;
    }
    return handle;
}

static CUresult add_kernels(struct library *library)
{
    library->kernels = calloc(library->image.kernel_count + 1, sizeof *library->kernels);
    if (!library->kernels)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < library->image.kernel_count; i++)
        if (!(library->kernels[i] = kernel_new(library, library->image.kernels[i])))
            return CUDA_ERROR_OUT_OF_MEMORY;
    return CUDA_SUCCESS;
}

static void retire_kernels(const struct library *library)
{
    struct kernel *kernel;
    while ((kernel = object_retire_owned(KIND_KERNEL, library)))
        object_release(kernel);
}

/* Fills in what is needed to publish it, and does so. */
static CUresult library_open(struct library *library, const void *bytes, size_t size, CUlibrary *handle,
                             struct reason *why)
{
    CUresult result;
    if (!(library->bytes = malloc(size)))
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(library->bytes, bytes, size);
    library->size = size;
    if ((result = image_open(bytes, size, &library->image, why)) || (result = add_kernels(library)))
        return result;
    return (*handle = object_publish(&library->object)) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult library_new(CUlibrary *handle, const void *bytes, size_t limit, struct reason *why)
{
    struct library *library;
    CUlibrary made;
    size_t size = image_size(bytes, limit, why);
    CUresult result;
    if (!size)
        return CUDA_ERROR_INVALID_IMAGE;
    if (!(library = calloc(1, sizeof *library)))
        return CUDA_ERROR_OUT_OF_MEMORY;
    library->image.descriptor = -1;
    pthread_mutex_init(&library->lock, NULL);
    object_init(&library->object, KIND_LIBRARY, NULL, library_destroy);
    if ((result = library_open(library, bytes, size, &made, why))) {
        retire_kernels(library);
        object_release(library);
        return result;
    }
    *handle = made;
    return CUDA_SUCCESS;
}

/* The library's module in the context, loaded if it is not. The lock is held. */
static CUresult module_in(struct library *library, struct context *context, CUmodule *module)
{
    struct reason why = {""};
    struct loaded *more;
    size_t kept = 0;
    CUresult result;
    for (size_t i = 0; i < library->loaded_count; i++) {
        HELD struct module *live = object_acquire(KIND_MODULE, library->loaded[i].module);
        *module = library->loaded[i].module;
        if (live && library->loaded[i].context == context->id)
            return CUDA_SUCCESS;
        if (live)
            library->loaded[kept++] = library->loaded[i];
    }
    library->loaded_count = kept;
    if (!(more = realloc(library->loaded, (kept + 1) * sizeof *more)))
        return CUDA_ERROR_OUT_OF_MEMORY;
    library->loaded = more;
    if ((result = module_new(context, library->bytes, library->size, module, &why)))
        return refuse(result, "cuLibraryGetModule: %s", why.text);
    library->loaded[library->loaded_count++] = (struct loaded){context->id, *module};
    return CUDA_SUCCESS;
}

static CUresult library_module(struct library *library, CUmodule *module)
{
    HELD struct context *context = NULL;
    CUresult result = context_current(&context);
    if (result)
        return result;
    pthread_mutex_lock(&library->lock);
    /* Once it was unloaded, its modules are under this lock. */
    result = library->object.ended ? CUDA_ERROR_INVALID_HANDLE : module_in(library, context, module);
    pthread_mutex_unlock(&library->lock);
    return result;
}

static CUresult library_acquire(CUlibrary handle, struct library **library)
{
    CUresult result = driver_ready();
    if (result)
        return result;
    *library = object_acquire(KIND_LIBRARY, handle);
    return *library ? CUDA_SUCCESS
                    : refuse(CUDA_ERROR_INVALID_HANDLE, "no library has the handle %p", (void *)handle);
}

CUresult kernel_acquire(CUkernel handle, struct kernel **kernel)
{
    CUresult result = driver_ready();
    if (result)
        return result;
    *kernel = object_acquire(KIND_KERNEL, handle);
    return *kernel ? CUDA_SUCCESS : refuse(CUDA_ERROR_INVALID_HANDLE, "no kernel has the handle %p", (void *)handle);
}

CUlibrary kernel_library(const struct kernel *kernel)
{
    return kernel->library->object.handle;
}

CUresult library_function(CUkernel handle, CUfunction *function)
{
    HELD struct kernel *kernel = NULL;
    CUmodule module;
    CUresult result = kernel_acquire(handle, &kernel);
    if (result || (result = library_module(kernel->library, &module)))
        return result;
    return cuModuleGetFunction(function, module, kernel->description->name);
}

API CUresult cuLibraryLoadData(CUlibrary *handle, const void *bytes, CUjit_option *options, void **values,
                               unsigned int number, CUlibraryOption *library_options, void **library_values,
                               unsigned int library_number)
{
    struct reason why = {""};
    CUresult result = driver_ready();
    (void)library_options, (void)library_values, (void)library_number; /* hints */
    if (result)
        return result;
    if (!handle || !bytes)
        return CUDA_ERROR_INVALID_VALUE;
    if (!(result = library_new(handle, bytes, SIZE_MAX, &why)))
        return CUDA_SUCCESS;
    jit_log(number, options, values, &why);
    return refuse(result, "cuLibraryLoadData: %s", why.text);
}

API CUresult cuLibraryLoadFromFile(CUlibrary *handle, const char *path, CUjit_option *options, void **values,
                                   unsigned int number, CUlibraryOption *library_options, void **library_values,
                                   unsigned int library_number)
{
    struct reason why = {""};
    void *bytes;
    size_t size;
    CUresult result = driver_ready();
    (void)library_options, (void)library_values, (void)library_number; /* hints */
    if (result)
        return result;
    if (!handle || !path)
        return CUDA_ERROR_INVALID_VALUE;
    if (!(result = file_map(path, &bytes, &size, &why))) {
        result = library_new(handle, bytes, size, &why);
        munmap(bytes, size);
    }
    if (result)
        jit_log(number, options, values, &why);
    return result ? refuse(result, "cuLibraryLoadFromFile: %s", why.text) : CUDA_SUCCESS;
}

API CUresult cuLibraryUnload(CUlibrary handle)
{
    HELD struct library *library = NULL;
    CUresult result = driver_ready();
    if (result)
        return result;
    if (!(library = object_retire(KIND_LIBRARY, handle)))
        return refuse(CUDA_ERROR_INVALID_HANDLE, "no library has the handle %p", (void *)handle);
    retire_kernels(library);
    pthread_mutex_lock(&library->lock);
    /* Queued launches hold what they run. */
    for (size_t i = 0; i < library->loaded_count; i++)
        module_unload(library->loaded[i].module);
    library->loaded_count = 0;
    pthread_mutex_unlock(&library->lock);
    return CUDA_SUCCESS;
}

API CUresult cuLibraryGetKernel(CUkernel *out, CUlibrary handle, const char *name)
{
    HELD struct library *library = NULL;
    CUresult result = library_acquire(handle, &library);
    if (result)
        return result;
    if (!out || !name)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < library->image.kernel_count; i++)
        if (!strcmp(library->image.kernels[i]->name, name)) {
            *out = library->kernels[i];
            return CUDA_SUCCESS;
        }
    return refuse(CUDA_ERROR_NOT_FOUND, "the library has no kernel %s", name);
}

API CUresult cuLibraryGetKernelCount(unsigned int *count, CUlibrary handle)
{
    HELD struct library *library = NULL;
    CUresult result = library_acquire(handle, &library);
    if (result)
        return result;
    if (!count)
        return CUDA_ERROR_INVALID_VALUE;
    *count = (unsigned int)library->image.kernel_count;
    return CUDA_SUCCESS;
}

API CUresult cuLibraryEnumerateKernels(CUkernel *kernels, unsigned int number, CUlibrary handle)
{
    HELD struct library *library = NULL;
    CUresult result = library_acquire(handle, &library);
    if (result)
        return result;
    if (!kernels)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < number && i < library->image.kernel_count; i++)
        kernels[i] = library->kernels[i];
    return CUDA_SUCCESS;
}

API CUresult cuLibraryGetModule(CUmodule *module, CUlibrary handle)
{
    HELD struct library *library = NULL;
    CUresult result = library_acquire(handle, &library);
    if (result)
        return result;
    return module ? library_module(library, module) : CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuLibraryGetGlobal(CUdeviceptr *address, size_t *size, CUlibrary handle, const char *name)
{
    CUmodule module;
    CUresult result = cuLibraryGetModule(&module, handle);
    return result ? result : cuModuleGetGlobal_v2(address, size, module, name);
}
