/* CPython in three steps, of which the way to exec takes one.
 *
 *   the core     objects, types, exceptions, sys, builtins: enough to run code that brings its own modules (hot.c)
 *   importlib    when a C module is imported that the hot modules do not have
 *   main         encodings, sys.stdout, sys.path: when anything else is imported
 *
 * CPython has the first and the last step (`_init_main`), provisionally. That importlib can wait is known to its own
 * build only: what that takes in a release is in a header of its own, python313.h.
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

void shim_core_is_made(void)
{
}

PyStatus shim_add_main(void)
{
    return PyStatus_Ok();
}

#else

#include <internal/pycore_interp.h>
#include <malloc.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define PLACES 512

/* Two thirds of the core's start is PyType_Ready: it makes an object for every method of every type. The types that the
 * header of the release lists wait. CPython makes a type ready when somebody looks for an attribute of it, and none of
 * these needs before what it would inherit: they bring their own tp_getattro, tp_iter and the like. The exceptions do,
 * and nobody raises or names them on the way to exec (freeze.py looks after that). What is left when importlib comes is
 * made ready then. */
static PyTypeObject *for_later[PLACES]; /* by address, or after those that were there first; a third is used */
static int is_starting;

/* Return where a type is, or would be. */
static PyTypeObject **place_of(PyTypeObject *type)
{
    for (uintptr_t place = (uintptr_t)type >> 5;; place++)
        if (for_later[place % PLACES] == NULL || for_later[place % PLACES] == type)
            return &for_later[place % PLACES];
}

static int is_for_later(PyTypeObject *type)
{
    return *place_of(type) == type;
}

/* Called in the place of what makes a type ready. Of those that have no type of their own yet, exceptions get it: whoever asks
 * whether an exception is one of these looks at that. They have a base, and nobody holds the others. */
static int waits(PyTypeObject *type)
{
    if (!is_starting || !is_for_later(type))
        return 0;
    if (type->tp_base != NULL && !Py_IS_TYPE(type, &PyType_Type))
        Py_SET_TYPE(type, &PyType_Type);
    return 1;
}

#if (PY_VERSION_HEX >> 16) != 0x030d
#error "core.c knows CPython 3.13"
#endif
#include "python313.h"

static void leave_types_for_later(void)
{
    is_starting = 1;
    for (size_t i = 0; i < COUNT(types_for_later); i++)
        *place_of(types_for_later[i]) = types_for_later[i];
    for (size_t i = 0; i < COUNT(exceptions_for_later); i++)
        *place_of((PyTypeObject *)*exceptions_for_later[i]) = (PyTypeObject *)*exceptions_for_later[i];
}

static int make_all_ready(void)
{
    for (size_t i = 0; i < COUNT(types_for_later); i++)
        if (make_ready(types_for_later[i]) < 0)
            return -1;
    for (size_t i = 0; i < COUNT(exceptions_for_later); i++)
        if (make_ready((PyTypeObject *)*exceptions_for_later[i]) < 0)
            return -1;
    return 0;
}

void shim_core_is_made(void)
{
    is_starting = 0;
}

/* The names of methods are literals, and there are two thousand of them, most of them "__eq__" and the like: one that
 * lies where one was before is the same. */
#define LITERALS 512

extern char __data_start[];

static struct literal {
    const char *text;
    PyObject *name;
} *literals;

PyObject *__wrap_PyUnicode_InternFromString(const char *text)
{
    uintptr_t address = (uintptr_t)text;
    struct literal *place;
    PyObject *name;

    if (literals == NULL || address >= (uintptr_t)__data_start)
        return __real_PyUnicode_InternFromString(text);
    place = &literals[(address ^ address >> 9) % LITERALS];
    if (place->text == text)
        return Py_NewRef(place->name);
    name = string_of(text);
    if (name != NULL) {
        Py_XDECREF(place->name);
        place->text = text;
        place->name = Py_NewRef(name);
    }
    return name;
}

int shim_start_core(PyConfig *config)
{
    mallopt(M_TOP_PAD, 1 << 16); /* and with that, the limit from which a block is mapped by itself stays as it is */
    literals = calloc(LITERALS, sizeof *literals);
    leave_types_for_later();
    config->_init_main = 0;
    config->_install_importlib = 0;
    return 0;
}

int shim_add_importlib(void)
{
    PyThreadState *state = PyThreadState_Get();
    int *is_there = &state->interp->config._install_importlib;

    if (*is_there)
        return 0;
    if (make_all_ready() < 0 || add_importlib(state) < 0)
        return -1;
    *is_there = 1;
    return 0;
}

PyStatus shim_add_main(void)
{
    if (has_no_home(&PyThreadState_Get()->interp->config) < 0 || shim_add_importlib() < 0)
        return PyStatus_Error("importlib cannot be installed");
    return _Py_InitializeMain();
}

#endif
