/* Put before every source of PyInstaller's bootloader (`-include`), so that the sources themselves stay as published.
 *
 * The bootloader expects a libpython on disk, restarts itself to find it, and passes notes to itself through the
 * environment. Here libpython is in the same file and the environment belongs to the service, so: no restart, no
 * variable read or written, the library is a table (bootloader.c), and what main() was is called when it is needed.
 */
#ifndef SHIM_BOOTLOADER_H
#define SHIM_BOOTLOADER_H

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/xattr.h>
#include <unistd.h>

void *shim_library(void);
void *shim_symbol(const char *name);

/* Our own file, by a name that opens whatever becomes of us: by /proc/self/exe no folder on the way must be searchable,
 * which those of a path need not be for the user that we run as, or are about to become. Without /proc, the kernel
 * leaves the name it ran in the auxiliary vector (getauxval(3)). */
static inline char *shim_realpath(const char *path, char *resolved)
{
    const char *executed;
    char *found;

    if (resolved != NULL && strcmp(path, "/proc/self/exe") == 0 && access(path, R_OK) == 0)
        return strcpy(resolved, path);
    found = realpath(path, resolved);
    executed = found ? NULL : (const char *)getauxval(AT_EXECFN);
    return executed ? realpath(executed, resolved) : found;
}

/* The file's capabilities matter to a program that trusts its environment. This one never reads it. */
static inline ssize_t shim_no_attribute(void)
{
    errno = ENODATA;
    return -1;
}

#define main shim_bootloader_main
#define execvp(file, arguments) 0
#define getenv(name) NULL
#define setenv(name, value, overwrite) 0
#define unsetenv(name) 0
#define realpath(path, resolved) shim_realpath(path, resolved)
#define getxattr(path, name, value, size) shim_no_attribute()
#define dlopen(path, flags) shim_library()
#define dlsym(library, name) shim_symbol(name)
#define dlclose(library) 0
#define dlerror() "not in the table of bootloader.c"

#endif
