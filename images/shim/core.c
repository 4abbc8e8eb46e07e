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

void shim_core_is_made(void)
{
}

PyStatus shim_add_main(void)
{
    return PyStatus_Ok();
}

#else

#include <internal/pycore_context.h>
#include <internal/pycore_genobject.h>
#include <internal/pycore_hamt.h>
#include <internal/pycore_interp.h>
#include <internal/pycore_interpreteridobject.h>
#include <internal/pycore_object.h>
#include <internal/pycore_symtable.h>
#include <internal/pycore_unionobject.h>
#include <malloc.h>

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

/* Two thirds of the core's start is PyType_Ready: it makes an object for every method of every type. These types wait.
 * CPython makes a type ready when somebody looks for an attribute of it, and none of these needs before what it would
 * inherit: they bring their own tp_getattro, tp_iter and the like. The exceptions do, and nobody raises or names them
 * on the way to exec (freeze.py looks after that). What is left when importlib comes is made ready then. */
static PyTypeObject *const types_for_later[] = {
    /* clang-format off */
    &PyAsyncGen_Type, &_PyAsyncGenASend_Type, &_PyAsyncGenAThrow_Type, &_PyAsyncGenWrappedValue_Type,
    &_PyAnextAwaitable_Type, &PyByteArray_Type, &PyByteArrayIter_Type, &PyBytesIter_Type, &PyCallIter_Type,
    &PyCell_Type, &PyClassMethodDescr_Type, &PyCode_Type, &PyComplex_Type, &PyContext_Type, &PyContextVar_Type,
    &PyCoro_Type, &_PyCoroWrapper_Type, &PyDictItems_Type, &PyDictIterItem_Type, &PyDictIterKey_Type,
    &PyDictIterValue_Type, &PyDictKeys_Type, &PyDictProxy_Type, &PyDictRevIterItem_Type, &PyDictRevIterKey_Type,
    &PyDictRevIterValue_Type, &PyDictValues_Type, &PyEnum_Type, &PyFilter_Type, &PyFloat_Type, &PyFrame_Type,
    &PyFrozenSet_Type, &PyGen_Type, &PyGetSetDescr_Type, &_PyHamt_Type, &_PyHamtItems_Type, &_PyHamtKeys_Type,
    &_PyHamtValues_Type, &_PyHamt_ArrayNode_Type, &_PyHamt_BitmapNode_Type, &_PyHamt_CollisionNode_Type,
    &PyInstanceMethod_Type, &_PyInterpreterID_Type, &PyListIter_Type, &PyListRevIter_Type, &PyLongRangeIter_Type,
    &_PyManagedBuffer_Type, &PyMap_Type, &PyMemberDescr_Type, &PyMemoryView_Type, &PyMethod_Type,
    &PyMethodDescr_Type, &_PyMethodWrapper_Type, &PyODict_Type, &PyODictItems_Type, &PyODictIter_Type,
    &PyODictKeys_Type, &PyODictValues_Type, &PyPickleBuffer_Type, &PyRange_Type, &PyRangeIter_Type,
    &PyReversed_Type, &PySTEntry_Type, &PySeqIter_Type, &PySetIter_Type, &PySlice_Type, &PyTraceBack_Type,
    &PyTupleIter_Type, &PyUnicodeIter_Type, &_PyUnicodeASCIIIter_Type, &_PyUnion_Type, &Py_GenericAliasType,
    &_PyWeakref_ProxyType, &_PyWeakref_CallableProxyType, &PyWrapperDescr_Type, &PyZip_Type,
    /* clang-format on */
};
static PyObject **const exceptions_for_later[] = {
    /* clang-format off */
    &PyExc_Warning, &PyExc_BytesWarning, &PyExc_DeprecationWarning, &PyExc_EncodingWarning, &PyExc_FutureWarning,
    &PyExc_ImportWarning, &PyExc_PendingDeprecationWarning, &PyExc_ResourceWarning, &PyExc_RuntimeWarning,
    &PyExc_SyntaxWarning, &PyExc_UnicodeWarning, &PyExc_UserWarning, &PyExc_SyntaxError, &PyExc_IndentationError,
    &PyExc_TabError, &PyExc_BufferError, &PyExc_EOFError, &PyExc_FloatingPointError, &PyExc_ReferenceError,
    &PyExc_StopAsyncIteration, &PyExc_UnicodeTranslateError,
    &PyExc_BlockingIOError, &PyExc_BrokenPipeError, &PyExc_ChildProcessError, &PyExc_ConnectionAbortedError,
    &PyExc_ConnectionError, &PyExc_ConnectionRefusedError, &PyExc_ConnectionResetError, &PyExc_FileExistsError,
    &PyExc_FileNotFoundError, &PyExc_InterruptedError, &PyExc_IsADirectoryError, &PyExc_NotADirectoryError,
    &PyExc_PermissionError, &PyExc_ProcessLookupError, &PyExc_TimeoutError,
    /* clang-format on */
};

/* Which of them OSError becomes for an errno. Until they are ready it stays what it is. */
static PyObject *kinds_of_oserror;

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define PLACES 512

static PyTypeObject *for_later[PLACES]; /* by address; of two at one place, one is made ready at once */
static int is_starting;

static PyTypeObject **place_of(PyTypeObject *type)
{
    return &for_later[((uintptr_t)type >> 5) % PLACES];
}

int __wrap_PyType_Ready(PyTypeObject *type);
int __real_PyType_Ready(PyTypeObject *type);

int __wrap_PyType_Ready(PyTypeObject *type)
{
    if (!is_starting || *place_of(type) != type)
        return __real_PyType_Ready(type);
    Py_SET_TYPE(type, &PyType_Type); /* whoever holds it looks at that */
    return 0;
}

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
        if (PyType_Ready(types_for_later[i]) < 0)
            return -1;
    for (size_t i = 0; i < COUNT(exceptions_for_later); i++)
        if (PyType_Ready((PyTypeObject *)*exceptions_for_later[i]) < 0)
            return -1;
    if (kinds_of_oserror != NULL)
        Py_SETREF(PyThreadState_Get()->interp->exc_state.errnomap, kinds_of_oserror);
    kinds_of_oserror = NULL;
    return 0;
}

void shim_core_is_made(void)
{
    PyObject **kinds = &PyThreadState_Get()->interp->exc_state.errnomap, *none = PyDict_New();

    is_starting = 0;
    if (none == NULL) {
        PyErr_Clear(); /* nor is there memory for an exception */
        return;
    }
    kinds_of_oserror = *kinds;
    *kinds = none;
}

/* The names of methods are literals, and there are two thousand of them, most of them "__eq__" and the like: one that
 * lies where one was before is the same. */
#define LITERALS 512

extern char __data_start[];

static struct literal {
    const char *text;
    PyObject *name;
} *literals;

PyObject *__wrap_PyUnicode_InternFromString(const char *text);
PyObject *__real_PyUnicode_InternFromString(const char *text);

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
    name = __real_PyUnicode_InternFromString(text);
    if (name != NULL) {
        Py_XDECREF(place->name);
        place->text = text;
        place->name = Py_NewRef(name);
    }
    return name;
}

int shim_start_core(PyConfig *config)
{
    mallopt(M_TOP_PAD, 1 << 16); /* never room enough for obmalloc's table of 128 KiB: it would be cleared by hand */
    literals = calloc(LITERALS, sizeof *literals);
    leave_types_for_later();
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
    if (make_all_ready() < 0 || PyImport_ImportFrozenModule("_frozen_importlib") <= 0)
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
