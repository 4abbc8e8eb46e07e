/* Wiping values of which nobody has need any more (wipe.c). */
#ifndef SHIM_WIPE_H
#define SHIM_WIPE_H

#include <stddef.h>

/* Wipe every large block from now on when it is freed. */
void shim_wipe_what_is_freed(void);

/* Wipe all memory that is free now, and the stack below the caller. */
void shim_wipe_free_memory(void);

/* Wipe the value of a variable where the kernel laid it down, which is what /proc/self/environ shows. */
void shim_forget_variable(const char *name, size_t length);

#endif
