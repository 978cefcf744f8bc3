/* Each thread's stack of contexts, and what its handles stand for. */
#include "refcuda/current.h"

#include <pthread.h>
#include <stdlib.h>

#include "refcuda/driver.h"
#include "refcuda/object.h"

struct stack {
    CUcontext *contexts;
    size_t depth, capacity;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool key_made;

static void stack_free(void *pointer)
{
    struct stack *stack = pointer;
    free(stack->contexts);
    free(stack);
}

static void make_key(void)
{
    key_made = !pthread_key_create(&key, stack_free);
}

/* NULL: no memory. */
static struct stack *own_stack(void)
{
    struct stack *stack;
    pthread_once(&once, make_key);
    if (!key_made)
        return NULL;
    stack = pthread_getspecific(key);
    if (!stack && (stack = calloc(1, sizeof *stack)) && pthread_setspecific(key, stack)) {
        free(stack);
        stack = NULL;
    }
    return stack;
}

bool context_push(CUcontext handle)
{
    struct stack *stack = own_stack();
    if (!stack)
        return false;
    if (stack->depth == stack->capacity) {
        size_t larger = stack->capacity ? stack->capacity * 2 : 8;
        CUcontext *moved = realloc(stack->contexts, larger * sizeof *moved);
        if (!moved)
            return false;
        stack->contexts = moved;
        stack->capacity = larger;
    }
    stack->contexts[stack->depth++] = handle;
    return true;
}

CUcontext context_top(void)
{
    struct stack *stack = own_stack();
    return stack && stack->depth ? stack->contexts[stack->depth - 1] : NULL;
}

CUcontext context_pop(void)
{
    struct stack *stack = own_stack();
    return stack && stack->depth ? stack->contexts[--stack->depth] : NULL;
}

CUresult context_refusal(const struct context *context)
{
    return ((const struct object *)context)->ended ? refuse(CUDA_ERROR_CONTEXT_IS_DESTROYED, "the context ended meanwhile")
                                 : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult context_acquire(CUcontext handle, struct context **context)
{
    CUresult result = driver_ready();
    if (result)
        return result;
    *context = object_acquire(KIND_CONTEXT, handle);
    return *context ? CUDA_SUCCESS : refuse(CUDA_ERROR_INVALID_CONTEXT, "no context has the handle %p", (void *)handle);
}

CUresult context_current(struct context **context)
{
    CUresult result = driver_ready();
    CUcontext top;
    if (result)
        return result;
    if (!(top = context_top()))
        return refuse(CUDA_ERROR_INVALID_CONTEXT, "no context is current to the thread");
    *context = object_acquire(KIND_CONTEXT, top);
    return *context ? CUDA_SUCCESS : refuse(CUDA_ERROR_CONTEXT_IS_DESTROYED, "the current context was destroyed");
}
