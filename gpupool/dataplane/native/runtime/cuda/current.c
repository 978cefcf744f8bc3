#include "runtime/cuda/current.h"

#include <pthread.h>
#include <stdlib.h>

#define STACK 64

/* In memory of the thread's own: a thread-local variable in a library makes it name glibc's dynamic linker, so that
 * musl's does not load it. */
struct stack {
    int depth;
    CUcontext contexts[STACK];
};

static pthread_key_t stack_key;
static bool stack_key_made;

__attribute__((constructor)) static void make_stack_key(void)
{
    stack_key_made = !pthread_key_create(&stack_key, free);
}

/* NULL while the thread has never had a current context. */
static struct stack *own_stack(void)
{
    return stack_key_made ? pthread_getspecific(stack_key) : NULL;
}

static struct stack *make_stack(void)
{
    struct stack *stack = stack_key_made ? calloc(1, sizeof *stack) : NULL;
    if (stack && pthread_setspecific(stack_key, stack)) {
        free(stack);
        return NULL;
    }
    return stack;
}

CUcontext current_top(void)
{
    const struct stack *stack = own_stack();
    return stack && stack->depth ? stack->contexts[stack->depth - 1] : NULL;
}

CUcontext current_pop(void)
{
    struct stack *stack = own_stack();
    return stack && stack->depth ? stack->contexts[--stack->depth] : NULL;
}

bool current_push(CUcontext context)
{
    struct stack *stack = own_stack();
    if (!stack)
        stack = make_stack();
    if (!stack || stack->depth == STACK)
        return false;
    stack->contexts[stack->depth++] = context;
    return true;
}

void current_forget(void)
{
    struct stack *stack = own_stack();
    if (stack)
        stack->depth = 0;
}
