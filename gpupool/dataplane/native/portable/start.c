/* Where a program that enters containers starts.
 *
 * A program names one dynamic linker, that of one C library, and what gcc starts it with needs the glibc of the machine it
 * was built on. This one names none: it starts the dynamic linker that is here, which loads this same file and comes back
 * with all libraries at hand. Until then nothing works but system calls. The program can't have constructors.
 */
#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

/* Sanitizers do not work yet either. */
#define BARE __attribute__((no_sanitize("address", "thread", "undefined")))

int main(int argc, char **argv);
int __libc_start_main(int (*main)(int, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*at_end)(void), void *stack);
void portable_start(intptr_t *stack, void (*at_end)(void));

#if defined(__x86_64__)

#define LINKERS "/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"
__asm__(".symver __libc_start_main, __libc_start_main@GLIBC_2.2.5\n"
        "    .globl _start\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rdi\n"
        "    mov %rdx, %rsi\n"
        "    and $-16, %rsp\n"
        "    call portable_start\n"
        "    hlt\n");

BARE static intptr_t call(long number, const void *first, const void *second, intptr_t third)
{
    intptr_t result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(first), "S"(second), "d"(third)
                     : "rcx", "r11", "memory");
    return result;
}

#elif defined(__aarch64__)

#define LINKERS "/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-aarch64.so.1"
__asm__(".symver __libc_start_main, __libc_start_main@GLIBC_2.17\n"
        "    .globl _start\n"
        "_start:\n"
        "    mov x29, #0\n"
        "    mov x30, #0\n"
        "    mov x1, x0\n"
        "    mov x0, sp\n"
        "    bl portable_start\n"
        "    brk #1\n");

BARE static intptr_t call(long number, const void *first, const void *second, intptr_t third)
{
    register intptr_t x0 __asm__("x0") = (intptr_t)first;
    register long x8 __asm__("x8") = number;
    register const void *x1 __asm__("x1") = second;
    register intptr_t x2 __asm__("x2") = third;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}

#else
#error "write down how a program starts on this processor"
#endif

static const char none[] = "this program needs glibc or musl, and their dynamic linkers are not here\n";

/* A pointer has its value only once a dynamic linker has loaded the file. */
static const char *volatile loaded = none;

/* The path that the kernel was given for this program. */
BARE static intptr_t own_path(const intptr_t *environment)
{
    while (*environment)
        environment++;
    const Elf64_auxv_t *value = (const void *)(environment + 1);
    while (value->a_type != AT_NULL && value->a_type != AT_EXECFN)
        value++;
    return (intptr_t)value->a_un.a_val;
}

/* Become the dynamic linker, with this program and its arguments as arguments: in place of their number and its name. */
BARE static void become(const char *linker, intptr_t *stack, const intptr_t *environment)
{
    stack[0] = (intptr_t)linker;
    call(SYS_execve, linker, stack, (intptr_t)environment);
}

BARE static void find_linker(intptr_t *stack)
{
    intptr_t *environment = stack + 1 + stack[0] + 1;
    stack[1] = own_path(environment);
    /* Text in place: an array of pointers would have no values yet. */
    static const char linkers[][32] = {LINKERS};
    for (size_t index = 0; index < sizeof linkers / sizeof *linkers; index++)
        become(linkers[index], stack, environment);
    call(SYS_write, (void *)2, none, sizeof none - 1);
    call(SYS_exit_group, (void *)127, NULL, 0);
}

BARE void portable_start(intptr_t *stack, void (*at_end)(void))
{
    if (loaded != none)
        find_linker(stack);
    __libc_start_main(main, (int)stack[0], (char **)(stack + 1), NULL, NULL, at_end, stack);
}
