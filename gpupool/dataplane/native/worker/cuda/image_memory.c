#include "worker/cuda/image_memory.h"

#include <elf.h>
#include <string.h>

static uint64_t add(uint64_t sum, uint64_t bytes)
{
    return __builtin_add_overflow(sum, bytes, &sum) ? UINT64_MAX : sum;
}

static uint64_t segments(const unsigned char *image, const Elf64_Ehdr *head)
{
    uint64_t sum = 0;
    for (unsigned index = 0; index < head->e_phnum; index++) {
        Elf64_Phdr segment;
        memcpy(&segment, image + head->e_phoff + (size_t)index * head->e_phentsize, sizeof segment);
        if (segment.p_type == PT_LOAD)
            sum = add(sum, segment.p_memsz);
    }
    return sum;
}

static uint64_t sections(const unsigned char *image, const Elf64_Ehdr *head)
{
    uint64_t sum = 0;
    for (unsigned index = 0; index < head->e_shnum; index++) {
        Elf64_Shdr section;
        memcpy(&section, image + head->e_shoff + (size_t)index * head->e_shentsize, sizeof section);
        if (section.sh_flags & SHF_ALLOC)
            sum = add(sum, section.sh_size);
    }
    return sum;
}

uint64_t image_memory(const void *image)
{
    Elf64_Ehdr head;
    if (memcmp(image, ELFMAG, SELFMAG) != 0)
        return 0;
    memcpy(&head, image, sizeof head);
    uint64_t loaded = segments(image, &head), allocated = sections(image, &head);
    return loaded > allocated ? loaded : allocated;
}
