/* What core.c has to know of CPython 3.11: init_importlib() in its pylifecycle.c, and the types of its core. */
#include <internal/pycore_context.h>
#include <internal/pycore_genobject.h>
#include <internal/pycore_hamt.h>
#include <internal/pycore_interp.h>
#include <internal/pycore_interpreteridobject.h>
#include <internal/pycore_object.h>
#include <internal/pycore_symtable.h>
#include <internal/pycore_unionobject.h>

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

static int add_own_strings(void)
{
    return __real__Py_Deepfreeze_Init();
}

int __wrap_PyType_Ready(PyTypeObject *type);
int __real_PyType_Ready(PyTypeObject *type);

int __wrap_PyType_Ready(PyTypeObject *type)
{
    return waits(type) ? 0 : __real_PyType_Ready(type);
}

static int make_ready(PyTypeObject *type)
{
    return PyType_Ready(type);
}

static int add_importlib(PyThreadState *state)
{
    PyInterpreterState *interpreter = state->interp;
    PyObject *importlib, *low_level, *finders, *done;

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
    return done ? 0 : -1;
}

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
    &PyExc_ConnectionError, &PyExc_BlockingIOError, &PyExc_BrokenPipeError, &PyExc_ChildProcessError,
    &PyExc_ConnectionAbortedError, &PyExc_ConnectionRefusedError, &PyExc_ConnectionResetError, &PyExc_FileExistsError,
    &PyExc_FileNotFoundError, &PyExc_InterruptedError, &PyExc_IsADirectoryError, &PyExc_NotADirectoryError,
    &PyExc_PermissionError, &PyExc_ProcessLookupError, &PyExc_TimeoutError,
    /* clang-format on */
};
