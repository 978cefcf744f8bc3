/* Sizes are hard, addresses are checked, what is freed can be had again. */
#include <string.h>
#include <sys/mman.h>

#include "check.h"

enum { MIB = 1 << 20 }; /* the test is run with a device of 64 of them */

static size_t free_bytes(void)
{
    size_t free_now, total;
    CHECK(cuMemGetInfo_v2(&free_now, &total));
    TRUE(total == 64 * (size_t)MIB);
    return free_now;
}

static void whole_device(void)
{
    CUdeviceptr all, more;
    for (int i = 0; i < 20; i++) {
        CHECK(cuMemAlloc_v2(&all, 64 * MIB));
        TRUE(free_bytes() == 0);
        EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&more, 1));
        CHECK(cuMemsetD8_v2(all, 7, 64 * MIB));
        CHECK(cuMemFree_v2(all));
    }
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&all, 64 * MIB + 1));
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&all, (size_t)-1));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemAlloc_v2(&all, 0));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemAlloc_v2(NULL, 1));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(all + 1));
    CHECK(cuMemFree_v2(0));
}

/* Allocations move through the addresses of the device and come round; what is there stays as it is. */
static void come_round(void)
{
    CUdeviceptr small, large;
    unsigned char value = 0;
    CHECK(cuMemAlloc_v2(&small, 512));
    CHECK(cuMemsetD8_v2(small, 1, 512));
    for (int i = 0; i < 20; i++) {
        CHECK(cuMemAlloc_v2(&large, 60 * MIB));
        CHECK(cuMemsetD8_v2(large, 3, 60 * MIB));
        CHECK(cuMemFree_v2(large));
    }
    CHECK(cuMemcpyDtoH_v2(&value, small + 511, 1));
    TRUE(value == 1);
    CHECK(cuMemFree_v2(small));
}

/* Every second piece freed: what is free is not in one place, yet can be had as one. */
static void fragments(void)
{
    enum { PIECES = 64 };
    CUdeviceptr pieces[PIECES], half;
    for (int i = 0; i < PIECES; i++)
        CHECK(cuMemAlloc_v2(&pieces[i], MIB));
    for (int i = 0; i < PIECES; i += 2)
        CHECK(cuMemFree_v2(pieces[i]));
    CHECK(cuMemAlloc_v2(&half, 32 * MIB));
    CHECK(cuMemsetD8_v2(half, 1, 32 * MIB));
    for (int i = 1; i < PIECES; i += 2)
        CHECK(cuMemFree_v2(pieces[i]));
    CHECK(cuMemFree_v2(half));
    TRUE(free_bytes() == 64 * (size_t)MIB);
}

/* Random sizes and order, each with its own contents. */
static void mixture(void)
{
    enum { PIECES = 300, STEPS = 3000, LARGEST = 5000 };
    static CUdeviceptr pieces[PIECES];
    static size_t sizes[PIECES];
    static unsigned char host[LARGEST];
    unsigned random = 1;
    for (int i = 0; i < STEPS; i++) {
        int at = (int)((random = random * 1103515245u + 12345u) >> 16) % PIECES;
        if (pieces[at]) {
            CHECK(cuMemcpyDtoH_v2(host, pieces[at], sizes[at]));
            for (size_t j = 0; j < sizes[at]; j++)
                TRUE(host[j] == (unsigned char)at);
            CHECK(cuMemFree_v2(pieces[at]));
            pieces[at] = 0;
        } else {
            sizes[at] = 1 + (random >> 8) % LARGEST;
            CHECK(cuMemAlloc_v2(&pieces[at], sizes[at]));
            TRUE(pieces[at] % 256 == 0);
            CHECK(cuMemsetD8_v2(pieces[at], (unsigned char)at, sizes[at]));
        }
    }
    for (int i = 0; i < PIECES; i++)
        CHECK(cuMemFree_v2(pieces[i]));
    TRUE(free_bytes() == 64 * (size_t)MIB);
}

/* An address where nothing is mapped. */
static void *nowhere(void)
{
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TRUE(page != MAP_FAILED && !munmap(page, 4096));
    return page;
}

static void wrong_addresses(void)
{
    unsigned char host[200] = {0};
    CUdeviceptr data, freed, base;
    size_t size;
    CHECK(cuMemAlloc_v2(&data, 100));
    CHECK(cuMemAlloc_v2(&freed, 100));
    CHECK(cuMemFree_v2(freed));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(data, host, 101));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(data + 1, host, 100));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(data - 1, host, 1));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(freed, host, 1));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(0xdead0000, host, 1));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2((uintptr_t)host, host, 1));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(data, NULL, 1));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(data, nowhere(), 1));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH_v2((void *)(uintptr_t)freed, data, 1));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH_v2(host, data, (size_t)-1));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpy(data, (uintptr_t)nowhere(), 1));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemsetD8_v2(data, 0, 101));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemsetD32_v2(data + 2, 0, 1));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemsetD32_v2(data, 0, (size_t)-1 / 2));
    EXPECT(CUDA_ERROR_NOT_FOUND, cuMemGetAddressRange_v2(&base, &size, data + 100));
    CHECK(cuMemGetAddressRange_v2(&base, &size, data + 99));
    TRUE(base == data && size == 100);
    CHECK(cuMemcpyHtoD_v2(data, host, 100));
    CHECK(cuMemcpyHtoD_v2(0, NULL, 0));
    CHECK(cuMemcpy(data, (uintptr_t)host, 100));
    CHECK(cuMemFree_v2(data));
}

static void pinned(void)
{
    static char own[10000];
    CUdeviceptr address, data;
    unsigned flags;
    void *memory;
    CHECK(cuMemHostAlloc(&memory, 1000, CU_MEMHOSTALLOC_PORTABLE));
    CHECK(cuMemHostGetDevicePointer_v2(&address, (char *)memory + 10, 0));
    TRUE(address == (uintptr_t)memory + 10);
    CHECK(cuMemHostGetFlags(&flags, memory));
    TRUE(flags & CU_MEMHOSTALLOC_PORTABLE);
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFreeHost((char *)memory + 1));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemHostAlloc(&memory, 0, 0));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemHostAlloc(&memory, 1, 8));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemHostGetDevicePointer_v2(&address, own, 0));
    CHECK(cuMemHostRegister_v2(own, sizeof own, CU_MEMHOSTREGISTER_DEVICEMAP));
    EXPECT(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, cuMemHostRegister_v2(own + 5, 1, 0));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemHostRegister_v2(nowhere(), 100, 0));
    CHECK(cuMemAlloc_v2(&data, sizeof own));
    CHECK(cuMemcpy(data, (uintptr_t)own, sizeof own));
    CHECK(cuMemHostUnregister(own));
    EXPECT(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, cuMemHostUnregister(own));
    CHECK(cuMemFreeHost(memory));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFreeHost(memory));
    CHECK(cuMemFree_v2(data));
}

static CUDA_MEMCPY2D rectangle(void *host, size_t host_pitch, CUdeviceptr device, size_t device_pitch)
{
    return (CUDA_MEMCPY2D){
        .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = host, .srcPitch = host_pitch, .srcXInBytes = 1, .srcY = 1,
        .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = device, .dstPitch = device_pitch,
        .WidthInBytes = 3, .Height = 2,
    };
}

static void rectangles(void)
{
    unsigned char host[4][5], back[2][512];
    CUdeviceptr data;
    CUDA_MEMCPY2D copy;
    size_t pitch;
    for (int i = 0; i < 20; i++)
        host[i / 5][i % 5] = (unsigned char)i;
    CHECK(cuMemAllocPitch_v2(&data, &pitch, 3, 2, 4));
    TRUE(pitch == 512);
    CHECK(cuMemsetD2D8_v2(data, pitch, 99, 3, 2));
    copy = rectangle(host, 5, data, pitch);
    CHECK(cuMemcpy2D_v2(&copy));
    CHECK(cuMemcpyDtoH_v2(back, data, 1024));
    TRUE(!memcmp(back[0], (unsigned char[]){6, 7, 8}, 3) && !memcmp(back[1], (unsigned char[]){11, 12, 13}, 3));
    copy.Height = 4;
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D_v2(&copy));
    copy.Height = 2;
    copy.dstPitch = 2;
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D_v2(&copy));
    copy.dstPitch = (size_t)-1;
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D_v2(&copy));
    copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D_v2(&copy));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemAllocPitch_v2(&data, &pitch, 3, 2, 5));
    EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAllocPitch_v2(&data, &pitch, 3, (size_t)-1, 4));
    CHECK(cuMemFree_v2(data));
}

int main(int argc, char **argv)
{
    CUcontext context = begin(argc, argv);
    come_round();
    whole_device();
    fragments();
    mixture();
    wrong_addresses();
    pinned();
    rectangles();
    CHECK(cuCtxDestroy_v2(context));
    return 0;
}
