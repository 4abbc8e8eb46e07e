/* No copy of a value in the memory of an init whose service has it.
 *
 * Freed is not wiped: what was freed keeps its bytes until somebody writes there. So under `--init` large blocks are
 * wiped when they are freed, and once the service is on its way all that CPython's own allocator holds free is wiped, and
 * the stack below us. Its layout is known to its own build only (Objects/obmalloc.c): this is written against one release.
 */
#define _GNU_SOURCE
#include <Python.h>
#include <malloc.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "start.h"
#include "wipe.h"

#if (PY_VERSION_HEX >> 16) != 0x030d || SIZEOF_VOID_P != 8
#error "wipe.c is written for CPython 3.13 with 64 bits"
#endif

#define POOL_SIZE ((size_t)1 << 14)
#define NEAR_BYTES 2048 /* more stack than our own frame takes, and those of the system calls that we make */
#define MOST_ARENAS 1024 /* of a MiB each; what lies in more of them is not wiped, and no start needs so many */

struct pool {
    unsigned int used;
    unsigned char *free; /* the first of a list */
    void *next, *before;
    unsigned int arena, size_class, next_offset, max_next_offset;
};

static struct {
    unsigned char *address;
    size_t size;
} arenas[MOST_ARENAS];
static PyObjectArenaAllocator plain_arenas;
static PyMemAllocatorEx plain_raw;

static void *new_arena(void *context, size_t size)
{
    unsigned char *address = plain_arenas.alloc(plain_arenas.ctx, size);

    (void)context;
    for (int i = 0; address != NULL && i < MOST_ARENAS; i++)
        if (arenas[i].address == NULL) {
            arenas[i].address = address;
            arenas[i].size = size;
            break;
        }
    return address;
}

static void free_arena(void *context, void *address, size_t size)
{
    (void)context;
    for (int i = 0; i < MOST_ARENAS; i++)
        if (arenas[i].address == address)
            arenas[i].address = NULL;
    plain_arenas.free(plain_arenas.ctx, address, size); /* munmap(2): nobody reads that again */
}

void shim_watch_arenas(void)
{
    PyObjectArenaAllocator ours = {NULL, new_arena, free_arena};

    PyObject_GetArenaAllocator(&plain_arenas);
    PyObject_SetArenaAllocator(&ours);
}

static void *raw_malloc(void *context, size_t size)
{
    (void)context;
    return plain_raw.malloc(plain_raw.ctx, size);
}

static void *raw_calloc(void *context, size_t count, size_t size)
{
    (void)context;
    return plain_raw.calloc(plain_raw.ctx, count, size);
}

static void raw_free(void *context, void *block)
{
    (void)context;
    if (block != NULL)
        explicit_bzero(block, malloc_usable_size(block));
    plain_raw.free(plain_raw.ctx, block);
}

static void *raw_realloc(void *context, void *block, size_t size)
{
    size_t before = block ? malloc_usable_size(block) : 0;
    void *moved;

    if (block == NULL || (size <= before && size > before / 2))
        return block ? block : raw_malloc(context, size);
    moved = raw_malloc(context, size); /* realloc(3) might move it, and leave its bytes behind */
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, before < size ? before : size);
    raw_free(context, block);
    return moved;
}

void shim_wipe_what_is_freed(void)
{
    PyMemAllocatorEx ours = {NULL, raw_malloc, raw_calloc, raw_realloc, raw_free};

    if (plain_raw.malloc != NULL)
        return;
    PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &plain_raw);
    PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &ours);
}

static void wipe_pool(struct pool *pool)
{
    unsigned char *start = (unsigned char *)pool;
    size_t block = ((size_t)pool->size_class + 1) << 4;

    if (pool->next_offset < sizeof *pool || pool->next_offset > POOL_SIZE + block || block > 512)
        return; /* never used */
    for (unsigned char *free = pool->free; free != NULL; free = *(unsigned char **)free)
        explicit_bzero(free + sizeof free, block - sizeof free);
    if (pool->next_offset < POOL_SIZE)
        explicit_bzero(start + pool->next_offset, POOL_SIZE - pool->next_offset);
}

/* Overwrite the stack below us: a page of it, and what our callers keep when they give back the pages further down. */
__attribute__((noinline)) static void overwrite_stack(size_t size)
{
    volatile char room[size];

    explicit_bzero((void *)room, size);
}

/* Whatever calls deeper than ours have left. What is near us is overwritten, the pages below are given back: never the
 * one that holds the return address of the very call that does so. */
__attribute__((noinline)) static void wipe_stack(void)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t end = ((uintptr_t)__builtin_frame_address(0) - NEAR_BYTES) & ~(page - 1);

    overwrite_stack(page + NEAR_BYTES);
    madvise((void *)(end - (1 << 20)), 1 << 20, MADV_DONTNEED); /* what is not mapped there is passed by */
}

void shim_wipe_free_memory(void)
{
    for (int i = 0; i < MOST_ARENAS; i++) {
        uintptr_t start = (uintptr_t)arenas[i].address, end = start + arenas[i].size;

        for (start = (start + POOL_SIZE - 1) & ~(POOL_SIZE - 1); arenas[i].address && start + POOL_SIZE <= end;
             start += POOL_SIZE)
            wipe_pool((struct pool *)start);
    }
    wipe_stack();
}

void shim_forget_variable(const char *name, size_t length)
{
    for (char **entry = shim_environ; *entry != NULL; entry++)
        if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=')
            explicit_bzero(*entry + length + 1, strlen(*entry + length + 1));
}
