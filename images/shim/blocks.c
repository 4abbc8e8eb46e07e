/* Memory for CPython's small objects, in place of CPython's own allocator (obmalloc).
 *
 * That one gives each size of block pages of its own, four at a time, which are touched for a few blocks, and keeps
 * tables by which it finds its pages again: over twenty page faults of a start. Here blocks of all sizes lie side by side
 * in the order in which they are asked for. A freed block waits for the next one of its size; nothing is ever merged
 * or given back, which suits a process that lives for three milliseconds, and an init whose start needs more than
 * its later life.
 *
 * A chunk begins with a map: one bit for each 16 bytes of the chunk, set where a block begins and where the last one ends.
 * So the size of a block is the way to the next bit.
 * Like CPython's own, this is called with the interpreter's lock held. What is larger goes to malloc(3).
 */
#include <Python.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "blocks.h"

#define UNIT 16 /* as malloc(3) aligns */
#define LARGEST 512
#define SIZES (LARGEST / UNIT + 1)
#define FIRST_CHUNK ((size_t)1 << 20) /* each later one is twice as large as the one before: there are never many */
#define MOST_CHUNKS 24

struct chunk {
    unsigned char *start; /* of its map */
    size_t size;
};

static struct {
    unsigned char *next, *end; /* what was never used of the last chunk */
    void *free[SIZES];         /* by size in units: the first of a list */
    struct chunk chunks[MOST_CHUNKS];
    int count;
} blocks;

static const struct chunk *chunk_of(const void *block)
{
    for (int i = 0; i < blocks.count; i++)
        if ((uintptr_t)block - (uintptr_t)blocks.chunks[i].start < blocks.chunks[i].size)
            return &blocks.chunks[i];
    return NULL;
}

static void mark(const struct chunk *chunk, const unsigned char *place)
{
    size_t unit = (size_t)(place - chunk->start) / UNIT;

    chunk->start[unit / 8] |= (unsigned char)(1U << unit % 8);
}

/* Return the size of a block in units: 32 at most, so that the next bit is within the eight bytes that follow. */
static size_t size_of(const struct chunk *chunk, const void *block)
{
    size_t after = (size_t)((const unsigned char *)block - chunk->start) / UNIT + 1;
    uint64_t bits;

    memcpy(&bits, chunk->start + after / 8, sizeof bits); /* both processors that there is a shim for are little-endian */
    return (size_t)__builtin_ctzll(bits >> after % 8) + 1;
}

static void give_back(void *block, size_t units)
{
    *(void **)block = blocks.free[units];
    blocks.free[units] = block;
}

__attribute__((noinline, cold)) static int add_chunk(void)
{
    struct chunk *chunk = &blocks.chunks[blocks.count];
    size_t left = (size_t)(blocks.end - blocks.next) / UNIT;

    if (blocks.count == MOST_CHUNKS)
        return -1;
    for (chunk->size = FIRST_CHUNK << blocks.count;; chunk->size /= 2) { /* a limit may leave room for less */
        chunk->start = mmap(NULL, chunk->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (chunk->start != MAP_FAILED)
            break;
        if (chunk->size == FIRST_CHUNK)
            return -1;
    }
    if (left > 0) {
        mark(chunk - 1, blocks.end);
        give_back(blocks.next, left);
    }
    blocks.count++;
    /* The map has a bit for its own place too, and one for the end, with room to read eight bytes at it. */
    blocks.next = chunk->start + (chunk->size / UNIT / 8 + UNIT);
    blocks.end = chunk->start + chunk->size;
    mark(chunk, blocks.next);
    return 0;
}

static void *allocate(void *context, size_t bytes)
{
    size_t units = (bytes + (bytes == 0) + UNIT - 1) / UNIT;
    void **block;

    (void)context;
    if (bytes > LARGEST)
        return PyMem_RawMalloc(bytes);
    block = blocks.free[units];
    if (block == NULL) {
        if ((size_t)(blocks.end - blocks.next) < units * UNIT && add_chunk() < 0)
            return NULL;
        block = (void **)blocks.next;
        blocks.next += units * UNIT;
        mark(&blocks.chunks[blocks.count - 1], blocks.next);
        return block;
    }
    blocks.free[units] = *block;
    /* What was there before may have been longer, and what comes may not reach the end. */
    memset((unsigned char *)block + (units - 1) * UNIT, 0, UNIT);
    return block;
}

static void *allocate_cleared(void *context, size_t count, size_t size)
{
    void *block;

    if (count > 0 && size > (size_t)PY_SSIZE_T_MAX / count)
        return NULL;
    if (count * size > LARGEST)
        return PyMem_RawCalloc(count, size);
    block = allocate(context, count * size);
    return block ? memset(block, 0, count * size) : NULL;
}

static void release(void *context, void *block)
{
    const struct chunk *chunk = chunk_of(block);

    (void)context;
    if (chunk != NULL)
        give_back(block, size_of(chunk, block));
    else
        PyMem_RawFree(block);
}

static void *resize(void *context, void *block, size_t bytes)
{
    const struct chunk *chunk = chunk_of(block);
    size_t before;
    void *moved;

    if (block == NULL)
        return allocate_cleared(context, 1, bytes);
    if (chunk == NULL)
        return PyMem_RawRealloc(block, bytes);
    before = size_of(chunk, block) * UNIT;
    if (bytes <= before && bytes > before / 2) {
        memset((unsigned char *)block + bytes, 0, before - bytes);
        return block;
    }
    moved = allocate(context, bytes);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, before < bytes ? before : bytes);
    if (before < bytes && bytes <= LARGEST) /* a list grows further than it needs, and what was there may be a value */
        memset((unsigned char *)moved + before, 0, bytes - before);
    release(context, block);
    return moved;
}

void shim_use_blocks(void)
{
    PyMemAllocatorEx ours = {NULL, allocate, allocate_cleared, resize, release};

    PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &ours);
    PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &ours);
}

void shim_wipe_free_blocks(void)
{
    for (size_t units = 1; units < SIZES; units++)
        for (void **block = blocks.free[units]; block != NULL; block = *block)
            explicit_bzero(block + 1, units * UNIT - sizeof *block);
}
