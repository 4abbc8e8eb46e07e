/* No copy of a value in the memory of an init whose service has it.
 *
 * Freed is not wiped: what was freed keeps its bytes until somebody writes there. So under `--init` large blocks are
 * wiped when they are freed, and once the service is on its way all small ones that are free (blocks.c) are wiped, and
 * the stack below us.
 */
#define _GNU_SOURCE
#include <Python.h>
#include <malloc.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "blocks.h"
#include "start.h"
#include "wipe.h"

#define NEAR_BYTES 2048 /* more stack than our own frame takes, and those of the system calls that we make */

static PyMemAllocatorEx plain_raw;

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
    shim_wipe_free_blocks();
    wipe_stack();
}

void shim_forget_variable(const char *name, size_t length)
{
    for (char **entry = shim_environ; *entry != NULL; entry++)
        if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=')
            explicit_bzero(*entry + length + 1, strlen(*entry + length + 1));
}
