/* What the parts of the shim's start code know of each other. */
#ifndef SHIM_START_H
#define SHIM_START_H

#include <signal.h>
#include <stdint.h>

/* Bit N-1 is set when signal N was blocked as we were exec'ed. */
extern uint64_t shim_birth_mask;
extern int shim_argc;
extern char **shim_argv;
extern char **shim_environ;

/* rt_sigprocmask(2) with all 64 signals: libc's own hides the two that its threads use. Returns the mask before. */
uint64_t shim_set_mask(uint64_t mask);

/* The module `_kernel` (kernel.c). */
struct _object;
struct _object *shim_kernel_module(void);

/* Add what reads a schema to the module `_kernel` (schema.c). Return -1 when memory runs out. */
int shim_add_schema(struct _object *kernel);

/* Add what recognises ordinary pointers, names and files (ordinary.c). Return -1 when memory runs out. */
int shim_add_ordinary(struct _object *kernel);

/* Return the value, or None, and the bytes of a small file that simply lies in a folder (kernel.c); NULL, often without
 * an exception, for all else. */
struct _object *shim_read_short(int folder, const char *name);

/* Return a NULL-terminated array of a list's bytes, which stay the list's; whoever asks frees it with PyMem_RawFree. NULL:
 * an exception, as a NUL byte inside makes one (kernel.c). */
char **shim_strings(struct _object *list);

/* Wait for a signal, all being blocked, or forever when `seconds` is negative. Return its number; 0 when the time is over, -1
 * with errno (kernel.c). */
int shim_next_signal(double seconds, siginfo_t *info);

/* close_range(2), also where that is missing (kernel.c). Return -1 with errno. */
int shim_close_range(unsigned int first, unsigned int last);

/* Give up reading and writing what is closed to root, if we are root, can and may (kernel.c). */
void shim_give_up_reading(void);

/* Return number, code, pid, uid, status and value of a signal. */
struct _object *shim_signal(const siginfo_t *info);

/* What the bootloader does in an ordinary PyInstaller program, when something asks for it (bootloader.c). 0 when done. */
int shim_open_archive(void);

#endif
