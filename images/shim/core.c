/* CPython in three steps, of which the way to exec takes one.
 *
 *   the core     objects, types, exceptions, sys, builtins: enough to run code that brings its own modules (hot.c)
 *   importlib    when a C module is imported that the hot modules do not have
 *   main         encodings, sys.stdout, sys.path: when anything else is imported
 *
 * CPython has the first and the last step (`_init_main`), provisionally. That importlib can wait is known to its own
 * build only, so this file is written against one release, and knows what init_importlib() in its pylifecycle.c does.
 * With SHIM_PUBLIC_API all three steps are one, and nothing here is used that is not documented.
 */
#ifndef SHIM_PUBLIC_API
#define Py_BUILD_CORE 1
#endif
#define _GNU_SOURCE
#include <Python.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core.h"

/* CPython looks around in the working directory and below /usr for a library of its own. Below this it finds none. */
static int has_no_home(PyConfig *config)
{
    return PyStatus_Exception(PyConfig_SetString(config, &config->home, L"/dev/null")) ? -1 : 0;
}

#ifdef SHIM_PUBLIC_API

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* since Linux 5.14; an older one refuses it, and is as slow as before */
#endif

extern char __data_start[], _edata[];

/* The whole interpreter writes to nearly every page of its data. Copying them all at once is faster than one by one. */
int shim_start_core(PyConfig *config)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = (uintptr_t)__data_start / page * page;

    madvise((void *)start, (uintptr_t)_edata - start, MADV_POPULATE_WRITE);
    return has_no_home(config);
}

int shim_add_importlib(void)
{
    return 0;
}

PyStatus shim_add_main(void)
{
    return PyStatus_Ok();
}

#else

#include <internal/pycore_interp.h>

#if (PY_VERSION_HEX >> 16) != 0x030b
#error "core.c is written for CPython 3.11"
#endif

PyObject *_PyImport_BootstrapImp(PyThreadState *state);

/* At each start CPython interns every string of every module frozen into libpython (os, site, runpy and so on): an
 * eighth of the work, and half a megabyte of its data copied. The linker puts our function in the place of that one
 * (--wrap), and those modules get what they are due before the first of them is imported. */
int __wrap__Py_Deepfreeze_Init(void);
int __real__Py_Deepfreeze_Init(void);

int __wrap__Py_Deepfreeze_Init(void)
{
    PyGC_Disable(); /* the first moment at which that can be said; start.c says why */
    return 0;
}

int shim_start_core(PyConfig *config)
{
    config->_init_main = 0;
    config->_install_importlib = 0;
    return 0;
}

int shim_add_importlib(void)
{
    PyThreadState *state = PyThreadState_Get();
    PyInterpreterState *interpreter = state->interp;
    PyObject *importlib, *low_level, *finders, *done;

    if (interpreter->config._install_importlib)
        return 0;
    if (PyImport_ImportFrozenModule("_frozen_importlib") <= 0)
        return -1;
    importlib = PyImport_AddModule("_frozen_importlib");
    interpreter->importlib = Py_XNewRef(importlib);
    low_level = importlib ? _PyImport_BootstrapImp(state) : NULL;
    finders = low_level ? PyList_New(0) : NULL;
    if (finders == NULL || PySys_SetObject("meta_path", finders) < 0 ||
        PyDict_SetItemString(PyImport_GetModuleDict(), "_imp", low_level) < 0) {
        Py_XDECREF(low_level);
        Py_XDECREF(finders);
        return -1;
    }
    done = PyObject_CallMethod(importlib, "_install", "OO", PyImport_AddModule("sys"), low_level);
    Py_DECREF(low_level);
    Py_DECREF(finders);
    Py_XDECREF(done);
    interpreter->config._install_importlib = 1;
    return done ? 0 : -1;
}

PyStatus shim_add_main(void)
{
    if (has_no_home(&PyThreadState_Get()->interp->config) < 0 || shim_add_importlib() < 0 ||
        __real__Py_Deepfreeze_Init() < 0)
        return PyStatus_Error("importlib cannot be installed");
    return _Py_InitializeMain();
}

#endif
