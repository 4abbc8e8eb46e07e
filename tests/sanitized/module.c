/* The start code's module `_kernel` as one that any CPython 3.13 loads, to be called under sanitizers: what it has from
 * the other parts of the executable is here in short.
 */
#define _GNU_SOURCE
#include <Python.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core.h"
#include "hot.h"
#include "start.h"
#include "staying.h"

static char *no_words[] = {"shim", NULL};
uint64_t shim_birth_mask;
int shim_argc = 1;
char **shim_argv = no_words;
char **shim_environ = no_words + 1;

uint64_t shim_set_mask(uint64_t mask)
{
    uint64_t before = 0;

    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &before, sizeof mask);
    return before;
}

int shim_finish_interpreter(void)
{
    return 0;
}

int shim_add_importlib(void)
{
    return 0;
}

PyMODINIT_FUNC PyInit__kernel(void)
{
    PyObject *import = PyObject_GetAttrString(PyImport_AddModule("builtins"), "__import__");
    PyObject *kernel = shim_kernel_module(), *posix = shim_posix_module(import);

    if (kernel == NULL || posix == NULL || shim_add_staying(kernel, posix) < 0 || shim_add_schema(kernel) < 0 ||
        shim_add_ordinary(kernel) < 0 ||
        PyModule_AddObject(kernel, "posix", posix) < 0)
        return NULL;
    return kernel;
}
