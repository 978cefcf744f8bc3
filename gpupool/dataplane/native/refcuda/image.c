#include "refcuda/image.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "refcuda/driver.h"

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#elif defined(__aarch64__)
#define MACHINE EM_AARCH64
#else
#error "say which ELF machine this is"
#endif

enum { LARGEST_IMAGE = 1 << 30 };
enum { FATBIN_WRAPPER = 0x466243b1, MACHINE_CUDA = 190 };

__attribute__((format(printf, 2, 3))) static size_t none(struct reason *why, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why->text, sizeof why->text, format, arguments);
    va_end(arguments);
    return 0;
}

/* What the bytes are when they are no ELF file. Reads four of them. */
static const char *kind_of(const void *bytes)
{
    uint32_t magic;
    memcpy(&magic, bytes, sizeof magic);
    if (magic == FATBIN_WRAPPER || magic == 0xba55ed50)
        return "an NVIDIA fat binary";
    if (!memcmp(bytes, "//", 2) || !memcmp(bytes, ".ver", 4))
        return "PTX text";
    return "no ELF file";
}

static bool check_header(const Elf64_Ehdr *header, struct reason *why)
{
    if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB)
        return none(why, "the image is not a 64-bit little-endian ELF file");
    if (header->e_machine == MACHINE_CUDA)
        return none(why, "the image is an NVIDIA cubin; the reference device runs host ELF shared objects");
    if (header->e_machine != MACHINE)
        return none(why, "the image is for ELF machine %d; this host is %d", header->e_machine, MACHINE);
    if (header->e_type != ET_DYN)
        return none(why, "the image is ELF type %d; allowed: a shared object (%d)", header->e_type, ET_DYN);
    if (header->e_phentsize != sizeof(Elf64_Phdr) || (header->e_shnum && header->e_shentsize != sizeof(Elf64_Shdr)))
        return none(why, "the image has headers of a wrong size");
    return true;
}

/* Moves `end` behind the part; false when it is not within the limit. */
static bool reach(uint64_t offset, uint64_t size, size_t limit, size_t *end)
{
    uint64_t last;
    if (__builtin_add_overflow(offset, size, &last) || last > LARGEST_IMAGE || last > limit)
        return false;
    if (last > *end)
        *end = last;
    return true;
}

static bool reach_segments(const Elf64_Ehdr *header, size_t limit, size_t *end)
{
    const char *table = (const char *)header + header->e_phoff;
    Elf64_Phdr segment;
    if (!reach(header->e_phoff, header->e_phnum * sizeof segment, limit, end))
        return false;
    for (size_t i = 0; i < header->e_phnum; i++) {
        memcpy(&segment, table + i * sizeof segment, sizeof segment);
        if (!reach(segment.p_offset, segment.p_filesz, limit, end))
            return false;
    }
    return true;
}

static bool reach_sections(const Elf64_Ehdr *header, size_t limit, size_t *end)
{
    const char *table = (const char *)header + header->e_shoff;
    Elf64_Shdr section;
    if (!reach(header->e_shoff, header->e_shnum * sizeof section, limit, end))
        return false;
    for (size_t i = 0; i < header->e_shnum; i++) {
        memcpy(&section, table + i * sizeof section, sizeof section);
        if (section.sh_type != SHT_NOBITS && !reach(section.sh_offset, section.sh_size, limit, end))
            return false;
    }
    return true;
}

size_t image_size(const void *bytes, size_t limit, struct reason *why)
{
    size_t end = sizeof(Elf64_Ehdr);
    Elf64_Ehdr header;
    if (limit < sizeof header)
        return none(why, "the image has only %zu bytes", limit);
    if (memcmp(bytes, ELFMAG, SELFMAG))
        return none(why, "the image is %s; the reference device runs host ELF shared objects", kind_of(bytes));
    memcpy(&header, bytes, sizeof header);
    if (!check_header(&header, why))
        return 0;
    if (!reach_segments(bytes, limit, &end) || !reach_sections(bytes, limit, &end))
        return none(why, "the image is cut off or larger than %d MiB", LARGEST_IMAGE >> 20);
    return end;
}

static bool write_all(int descriptor, const char *bytes, size_t size)
{
    while (size) {
        ssize_t written = write(descriptor, bytes, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        bytes += written;
        size -= (size_t)written;
    }
    return true;
}

/* A file of its own for every load: the dynamic linker loads one file only once. It also goes by the name, so the
 * descriptor, which the name has in it, stays open as long as the image is loaded. */
static CUresult load(const void *bytes, size_t size, struct image *image, struct reason *why)
{
    char path[64];
    image->descriptor = memfd_create("refcuda-image", MFD_CLOEXEC);
    if (image->descriptor < 0 || !write_all(image->descriptor, bytes, size)) {
        none(why, "no memory file for an image of %zu bytes: %s", size, strerror(errno));
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", image->descriptor);
    if (!(image->library = dlopen(path, RTLD_NOW | RTLD_LOCAL))) {
        none(why, "the image cannot be loaded: %s", dlerror());
        return CUDA_ERROR_INVALID_IMAGE;
    }
    return CUDA_SUCCESS;
}

static bool check_kernel(const struct refcuda_kernel *kernel, struct reason *why)
{
    if (!kernel->name || !kernel->run)
        return none(why, "a kernel has no name or no code");
    for (size_t i = 0; i < kernel->parameter_count; i++)
        if (kernel->parameters[i].offset + kernel->parameters[i].size > kernel->arguments_size)
            return none(why, "kernel %s describes parameter %zu wrongly", kernel->name, i);
    return true;
}

static CUresult describe(struct image *image, struct reason *why)
{
    const struct refcuda_image *described = dlsym(image->library, "refcuda_image");
    if (!described) {
        none(why, "the image has no symbol refcuda_image; compile it with refcuda_kernel.h");
        return CUDA_ERROR_INVALID_IMAGE;
    }
    if (described->version != REFCUDA_IMAGE_VERSION) {
        none(why, "the image is of version %u; allowed: %d", described->version, REFCUDA_IMAGE_VERSION);
        return CUDA_ERROR_INVALID_IMAGE;
    }
    image->kernels = described->kernels;
    image->kernel_count = (size_t)(described->kernels_end - described->kernels);
    image->globals = described->globals;
    image->global_count = (size_t)(described->globals_end - described->globals);
    for (size_t i = 0; i < image->kernel_count; i++)
        if (!check_kernel(image->kernels[i], why))
            return CUDA_ERROR_INVALID_IMAGE;
    return CUDA_SUCCESS;
}

CUresult image_open(const void *bytes, size_t size, struct image *image, struct reason *why)
{
    CUresult result;
    *image = (struct image){.descriptor = -1};
    result = load(bytes, size, image, why);
    if (!result)
        result = describe(image, why);
    if (result)
        image_close(image);
    return result;
}

void image_close(struct image *image)
{
    char path[64];
    if (image->library)
        dlclose(image->library);
    if (image->descriptor < 0)
        return;
    /* An image that asks not to be unloaded keeps its name. */
    snprintf(path, sizeof path, "/proc/self/fd/%d", image->descriptor);
    if (!dlopen(path, RTLD_NOW | RTLD_NOLOAD))
        close(image->descriptor);
}

const struct refcuda_kernel *image_kernel(const struct image *image, const char *name)
{
    for (size_t i = 0; i < image->kernel_count; i++)
        if (!strcmp(image->kernels[i]->name, name))
            return image->kernels[i];
    return NULL;
}
