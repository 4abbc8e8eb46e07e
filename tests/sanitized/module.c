/* The start code's module `_kernel` as one that any CPython 3.13 loads, to be called under sanitizers: what it has from
 * the other parts of the executable is here in short.
 */
#define _GNU_SOURCE
#include <Python.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "blocks.h"
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

int shim_add_importlib(void)
{
    return 0;
}

static PyObject *use_blocks(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    shim_use_blocks();
    Py_RETURN_NONE;
}

static PyObject *wipe_free_blocks(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    shim_wipe_free_blocks();
    Py_RETURN_NONE;
}

static PyMethodDef memory[] = {
    {"use_blocks", use_blocks, METH_NOARGS, NULL},
    {"wipe_free_blocks", wipe_free_blocks, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyMODINIT_FUNC PyInit__kernel(void)
{
    PyObject *import = PyObject_GetAttrString(PyImport_AddModule("builtins"), "__import__");
    PyObject *kernel = shim_kernel_module(), *posix = shim_posix_module(import);

    if (kernel == NULL || posix == NULL || shim_add_staying(kernel, posix) < 0 || shim_add_schema(kernel) < 0 ||
        shim_add_ordinary(kernel) < 0 || PyModule_AddFunctions(kernel, memory) < 0 ||
        PyModule_AddObject(kernel, "posix", posix) < 0)
        return NULL;
    return kernel;
}
