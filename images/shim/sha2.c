/* SHA-2 for CPython 3.13, whose module `_sha2` calls a library that Debian's libpython3.13.a does not hold: HACL*.
 *
 * Here libmd does the work, under HACL's names and by its rules: a state is opaque, a digest may be taken in between,
 * and is as long as the family's longest (the caller cuts it). States are wiped: the key of an HMAC is in them.
 */
#define _GNU_SOURCE
#include <sha2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FAMILY(longest, shorter)                                                                                       \
    static SHA2_CTX *copy_##longest(const SHA2_CTX *state)                                                             \
    {                                                                                                                  \
        SHA2_CTX *copy = malloc(sizeof *copy);                                                                         \
                                                                                                                       \
        if (copy != NULL)                                                                                              \
            *copy = *state;                                                                                            \
        return copy;                                                                                                   \
    }                                                                                                                  \
                                                                                                                       \
    SHA2_CTX *python_hashlib_Hacl_Hash_SHA2_copy_##longest(const SHA2_CTX *state)                                      \
    {                                                                                                                  \
        return copy_##longest(state);                                                                                  \
    }                                                                                                                  \
                                                                                                                       \
    SHA2_CTX *python_hashlib_Hacl_Hash_SHA2_malloc_##longest(void)                                                     \
    {                                                                                                                  \
        SHA2_CTX state;                                                                                                \
                                                                                                                       \
        SHA##longest##Init(&state);                                                                                    \
        return copy_##longest(&state);                                                                                 \
    }                                                                                                                  \
                                                                                                                       \
    SHA2_CTX *python_hashlib_Hacl_Hash_SHA2_malloc_##shorter(void)                                                     \
    {                                                                                                                  \
        SHA2_CTX state;                                                                                                \
                                                                                                                       \
        SHA##shorter##Init(&state);                                                                                    \
        return copy_##longest(&state);                                                                                 \
    }                                                                                                                  \
                                                                                                                       \
    void python_hashlib_Hacl_Hash_SHA2_free_##longest(SHA2_CTX *state)                                                 \
    {                                                                                                                  \
        if (state != NULL)                                                                                             \
            explicit_bzero(state, sizeof *state);                                                                      \
        free(state);                                                                                                   \
    }                                                                                                                  \
                                                                                                                       \
    uint8_t python_hashlib_Hacl_Hash_SHA2_update_##longest(SHA2_CTX *state, const uint8_t *input, uint32_t length)     \
    {                                                                                                                  \
        SHA##longest##Update(state, input, length);                                                                    \
        return 0;                                                                                                      \
    }                                                                                                                  \
                                                                                                                       \
    void python_hashlib_Hacl_Hash_SHA2_digest_##longest(const SHA2_CTX *state, uint8_t *output)                        \
    {                                                                                                                  \
        SHA2_CTX copy = *state;                                                                                        \
                                                                                                                       \
        SHA##longest##Final(output, &copy);                                                                            \
        explicit_bzero(&copy, sizeof copy);                                                                            \
    }

FAMILY(256, 224)
FAMILY(512, 384)
