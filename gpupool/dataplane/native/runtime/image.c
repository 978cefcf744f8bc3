#include "runtime/image.h"

#include <elf.h>
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

static void extend(size_t *size, uint64_t end)
{
    if (end > *size)
        *size = end;
}

/* The furthest that headers, segments or sections reach. */
static size_t elf_size(const unsigned char *image)
{
    Elf64_Ehdr head;
    memcpy(&head, image, sizeof head);
    size_t size = sizeof head;
    if (head.e_ident[EI_CLASS] != ELFCLASS64)
        return 0;
    extend(&size, head.e_phoff + (uint64_t)head.e_phnum * head.e_phentsize);
    extend(&size, head.e_shoff + (uint64_t)head.e_shnum * head.e_shentsize);
    for (unsigned index = 0; index < head.e_phnum; index++) {
        Elf64_Phdr segment;
        memcpy(&segment, image + head.e_phoff + (size_t)index * head.e_phentsize, sizeof segment);
        extend(&size, segment.p_offset + segment.p_filesz);
    }
    for (unsigned index = 0; index < head.e_shnum; index++) {
        Elf64_Shdr section;
        memcpy(&section, image + head.e_shoff + (size_t)index * head.e_shentsize, sizeof section);
        if (section.sh_type != SHT_NOBITS)
            extend(&size, section.sh_offset + section.sh_size);
    }
    return size;
}

size_t image_size(const void *image, const void **start)
{
    uint32_t magic;
    memcpy(&magic, image, sizeof magic);
    *start = image;
    if (magic == FATBIN_WRAPPER) {
        struct fatbin_wrapper wrapper;
        memcpy(&wrapper, image, sizeof wrapper);
        return wrapper.data ? image_size(wrapper.data, start) : 0;
    }
    if (magic == FATBIN) {
        struct fatbin head;
        memcpy(&head, image, sizeof head);
        return head.header_bytes + head.body_bytes;
    }
    if (memcmp(image, ELFMAG, SELFMAG) == 0)
        return elf_size(image);
    const unsigned char first = *(const unsigned char *)image;
    if (first == '/' || first == '.' || first == '\n' || first == ' ' || first == '\r' || first == '\t')
        return strlen(image) + 1;
    return 0;
}
