#include "wire/cuda/image.h"

#include <elf.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FATBIN_WRAPPER 0x466243b1u
#define FATBIN 0xba55ed50u

struct fatbin_wrapper {
    uint32_t magic, version;
    const void *data;
    const void *more;
};

struct fatbin {
    uint32_t magic;
    uint16_t version, header_bytes;
    uint64_t body_bytes;
};

/* Let the size reach the end of [at, at + bytes); false when that is beyond the limit. */
static bool extend(size_t *size, size_t limit, uint64_t at, uint64_t bytes)
{
    uint64_t end;
    if (__builtin_add_overflow(at, bytes, &end) || end > limit)
        return false;
    if (end > *size)
        *size = end;
    return true;
}

static bool extend_by_segments(const unsigned char *image, size_t limit, const Elf64_Ehdr *head, size_t *size)
{
    Elf64_Phdr segment;
    if (head->e_phnum && head->e_phentsize < sizeof segment)
        return false;
    if (!extend(size, limit, head->e_phoff, (uint64_t)head->e_phnum * head->e_phentsize))
        return false;
    for (unsigned index = 0; index < head->e_phnum; index++) {
        memcpy(&segment, image + head->e_phoff + (size_t)index * head->e_phentsize, sizeof segment);
        if (!extend(size, limit, segment.p_offset, segment.p_filesz))
            return false;
    }
    return true;
}

static bool extend_by_sections(const unsigned char *image, size_t limit, const Elf64_Ehdr *head, size_t *size)
{
    Elf64_Shdr section;
    if (head->e_shnum && head->e_shentsize < sizeof section)
        return false;
    if (!extend(size, limit, head->e_shoff, (uint64_t)head->e_shnum * head->e_shentsize))
        return false;
    for (unsigned index = 0; index < head->e_shnum; index++) {
        memcpy(&section, image + head->e_shoff + (size_t)index * head->e_shentsize, sizeof section);
        if (section.sh_type != SHT_NOBITS && !extend(size, limit, section.sh_offset, section.sh_size))
            return false;
    }
    return true;
}

/* The furthest that headers, segments or sections reach. */
static size_t elf_size(const unsigned char *image, size_t limit)
{
    Elf64_Ehdr head;
    size_t size = sizeof head;
    if (limit < sizeof head)
        return 0;
    memcpy(&head, image, sizeof head);
    if (head.e_ident[EI_CLASS] != ELFCLASS64 || !extend_by_segments(image, limit, &head, &size) ||
        !extend_by_sections(image, limit, &head, &size))
        return 0;
    return size;
}

static size_t fatbin_size(const void *image, size_t limit)
{
    struct fatbin head;
    size_t size = 0;
    if (limit < sizeof head)
        return 0;
    memcpy(&head, image, sizeof head);
    return extend(&size, limit, head.header_bytes, head.body_bytes) ? size : 0;
}

static size_t text_size(const char *image, size_t limit)
{
    size_t length = strnlen(image, limit);
    return length < limit && strchr("/.\n \r\t", *image) ? length + 1 : 0;
}

size_t image_size(const void *image, size_t limit, const void **start)
{
    uint32_t magic;
    *start = image;
    if (limit < sizeof magic)
        return 0;
    memcpy(&magic, image, sizeof magic);
    if (magic == FATBIN_WRAPPER && limit == SIZE_MAX) {
        struct fatbin_wrapper wrapper;
        memcpy(&wrapper, image, sizeof wrapper);
        return wrapper.data ? image_size(wrapper.data, limit, start) : 0;
    }
    if (magic == FATBIN)
        return fatbin_size(image, limit);
    if (memcmp(image, ELFMAG, SELFMAG) == 0)
        return elf_size(image, limit);
    return *(const char *)image ? text_size(image, limit) : 0;
}
