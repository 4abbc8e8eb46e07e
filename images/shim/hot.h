/* Importing the hot modules (hot.c). */
#ifndef SHIM_HOT_H
#define SHIM_HOT_H

#include <Python.h>

/* A frozenset among the constants: C has no initial value for one. */
struct set_constant {
    PyObject **place;
    PyObject *items;
};

/* A module, whose code object lies ready (static_code.py). */
struct hot_module {
    const char *name;
    PyObject *code;
    const struct set_constant *sets; /* the last one has no place */
};

/* Return the code of a module that is imported now, as a new reference. */
PyObject *shim_code_of(const struct hot_module *module);

/* Take over `import` until the interpreter is complete; return the module shim.main. */
PyObject *shim_start_imports(const struct hot_module *modules, size_t count);

/* What `import posix` gives until then (posix.c). */
PyObject *shim_posix_module(PyObject *plain_import);

#endif
