/* What core.c has to know of CPython 3.13: how its core makes types ready, which they are, and where importlib begins. */
#include <internal/pycore_context.h>
#include <internal/pycore_crossinterp.h>
#include <internal/pycore_genobject.h>
#include <internal/pycore_hamt.h>
#include <internal/pycore_hashtable.h>
#include <internal/pycore_import.h>
#include <internal/pycore_interp.h>
#include <internal/pycore_object.h>
#include <internal/pycore_pyerrors.h>
#include <internal/pycore_pystate.h>
#include <internal/pycore_symtable.h>
#include <internal/pycore_typeobject.h>
#include <internal/pycore_unionobject.h>

/* At each start CPython interns 1,300 strings of its own, by their hashes, and writes that into each of them. Here the
 * table was made when the shim was built (python313.py), by a sum that takes less than a hash, and a string learns that
 * it is interned when somebody asks. The linker puts these functions in the place of those. */
#define SHIM_INTERNED 4096
extern PyObject *const shim_interned[SHIM_INTERNED];

PyStatus __wrap__PyUnicode_InitGlobalObjects(PyInterpreterState *interpreter);
void *__wrap__Py_hashtable_get(_Py_hashtable_t *table, const void *key);
void *__real__Py_hashtable_get(_Py_hashtable_t *table, const void *key);
PyObject *__wrap_PyUnicode_InternFromString(const char *text);
PyObject *__real_PyUnicode_InternFromString(const char *text);

static _Py_hashtable_t own_strings; /* empty: only its address is used */
static int is_no_own_string;

static void set_interned(PyObject *text)
{
    if (PyUnicode_CHECK_INTERNED(text) == SSTATE_NOT_INTERNED)
        ((PyASCIIObject *)text)->state.interned = SSTATE_INTERNED_IMMORTAL_STATIC;
}

PyStatus __wrap__PyUnicode_InitGlobalObjects(PyInterpreterState *interpreter)
{
    PyObject *others = PyDict_New();

    if (others == NULL)
        return PyStatus_NoMemory();
    _PyRuntime.cached_objects.interned_strings = &own_strings;
    _Py_INTERP_CACHED_OBJECT(interpreter, interned_strings) = others;
    for (int i = 0; i < 128; i++) { /* nobody asks for these */
        set_interned((PyObject *)&_Py_SINGLETON(strings).ascii[i]);
        set_interned((PyObject *)&_Py_SINGLETON(strings).latin1[i]);
    }
    return PyStatus_Ok();
}

static PyObject *own_string(const char *text, size_t length)
{
    uint32_t place = 0;

    for (size_t i = 0; i < length; i++)
        place = place * 33 ^ (unsigned char)text[i];
    for (PyObject *found; (found = shim_interned[place % SHIM_INTERNED]) != NULL; place++)
        if ((size_t)PyUnicode_GET_LENGTH(found) == length && memcmp(PyUnicode_DATA(found), text, length) == 0) {
            set_interned(found);
            return found;
        }
    return NULL;
}

void *__wrap__Py_hashtable_get(_Py_hashtable_t *table, const void *key)
{
    const PyASCIIObject *text = key;

    if (table != &own_strings)
        return __real__Py_hashtable_get(table, key);
    return text->state.ascii && !is_no_own_string ? own_string((const char *)(text + 1), (size_t)text->length) : NULL;
}

/* Before a string is made of it: of two literals one is a string of CPython's own. */
static PyObject *interned(const char *text)
{
    PyObject *found = own_string(text, strlen(text));

    if (found != NULL)
        return found;
    is_no_own_string = 1; /* it would be looked for again */
    found = __real_PyUnicode_InternFromString(text);
    is_no_own_string = 0;
    return found;
}

/* `sys.stdlib_module_names` takes a string for each of three hundred names, and nothing in the shim reads it. */
extern const Py_ssize_t shim_stdlib_names;
static Py_ssize_t names_left;

PyObject *__wrap_PyTuple_New(Py_ssize_t size);
PyObject *__real_PyTuple_New(Py_ssize_t size);
PyObject *__wrap_PyUnicode_FromString(const char *text);
PyObject *__real_PyUnicode_FromString(const char *text);

PyObject *__wrap_PyTuple_New(Py_ssize_t size)
{
    if (is_starting && size == shim_stdlib_names)
        names_left = size;
    return __real_PyTuple_New(size);
}

PyObject *__wrap_PyUnicode_FromString(const char *text)
{
    if (names_left == 0)
        return __real_PyUnicode_FromString(text);
    names_left--;
    return &_Py_STR(empty);
}

/* Two exceptions are classes as Python's own code makes them, which takes as much as ten others. ExceptionGroup waits for
 * importlib, and so does what interpreters exchange, with its exception. Nothing here uses `sys.monitoring`. */
PyStatus __wrap__PyXI_Init(PyInterpreterState *interpreter);
PyStatus __real__PyXI_Init(PyInterpreterState *interpreter);
PyObject *__wrap_PyErr_NewException(const char *name, PyObject *bases, PyObject *names);
PyObject *__real_PyErr_NewException(const char *name, PyObject *bases, PyObject *names);
PyObject *__wrap__Py_CreateMonitoringObject(void);

PyStatus __wrap__PyXI_Init(PyInterpreterState *interpreter)
{
    (void)interpreter;
    return PyStatus_Ok();
}

PyObject *__wrap_PyErr_NewException(const char *name, PyObject *bases, PyObject *names)
{
    return is_starting ? Py_NewRef(PyExc_BaseExceptionGroup) : __real_PyErr_NewException(name, bases, names);
}

PyObject *__wrap__Py_CreateMonitoringObject(void)
{
    return Py_None;
}

static int add_exception_group(PyInterpreterState *interpreter)
{
    PyObject *bases = PyTuple_Pack(2, PyExc_BaseExceptionGroup, PyExc_Exception), *kind = NULL;

    if (bases != NULL)
        kind = PyErr_NewException("builtins.ExceptionGroup", bases, NULL);
    Py_XDECREF(bases);
    if (kind == NULL)
        return -1;
    Py_XSETREF(interpreter->exc_state.PyExc_ExceptionGroup, kind);
    return PyDict_SetItemString(interpreter->builtins, "ExceptionGroup", kind);
}

static int add_own_strings(void)
{
    return 0;
}

/* Nobody gets a block of CPython's own allocator (blocks.c), so its table of pools need not be written. */
int __wrap__PyMem_init_obmalloc(PyInterpreterState *interpreter);

int __wrap__PyMem_init_obmalloc(PyInterpreterState *interpreter)
{
    (void)interpreter;
    return 0;
}

int __wrap__PyStaticType_InitBuiltin(PyInterpreterState *interpreter, PyTypeObject *type);
int __real__PyStaticType_InitBuiltin(PyInterpreterState *interpreter, PyTypeObject *type);
int __wrap_PyType_Ready(PyTypeObject *type);
int __real_PyType_Ready(PyTypeObject *type);

int __wrap__PyStaticType_InitBuiltin(PyInterpreterState *interpreter, PyTypeObject *type)
{
    const char *text = type->tp_doc;
    int failed;

    if (waits(type))
        return 0;
    type->tp_doc = NULL; /* it would be copied; `__doc__` is read from here */
    failed = __real__PyStaticType_InitBuiltin(interpreter, type);
    type->tp_doc = text;
    return failed;
}

/* One of the core's own types is made ready as such. typeobject.c itself asks for no more than PyType_Ready, and has a
 * type then that is like an extension's: that is as good, once. */
static int make_ready(PyTypeObject *type)
{
    if (type->tp_flags & Py_TPFLAGS_READY)
        return 0;
    return __real__PyStaticType_InitBuiltin(_PyInterpreterState_GET(), type);
}

int __wrap_PyType_Ready(PyTypeObject *type)
{
    return is_for_later(type) ? make_ready(type) : __real_PyType_Ready(type);
}

static int add_importlib(PyThreadState *state)
{
    PyObject *system = PyImport_AddModuleRef("sys"), *finders = PyList_New(0);
    int failed = system == NULL || finders == NULL || PySys_SetObject("meta_path", finders) < 0 ||
                 add_exception_group(state->interp) < 0 || PyStatus_Exception(__real__PyXI_Init(state->interp)) ||
                 PyStatus_Exception(_PyImport_InitCore(state, system, 1));

    Py_XDECREF(system);
    Py_XDECREF(finders);
    return failed ? -1 : 0;
}

extern PyTypeObject PyFrameLocalsProxy_Type, _PyAnextAwaitable_Type, _PyBufferWrapper_Type, _PyContextTokenMissing_Type,
    _PyInstructionSequence_Type, _PyLegacyEventHandler_Type, _PyLineIterator, _PyManagedBuffer_Type, _PyMemoryIter_Type,
    _PyMethodWrapper_Type, _PyNoDefault_Type, _PyPositionsIterator, _PyTypeAlias_Type, _Py_GenericAliasIterType;

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
    &PyInstanceMethod_Type, &PyListIter_Type, &PyListRevIter_Type, &PyLongRangeIter_Type,
    &_PyManagedBuffer_Type, &PyMap_Type, &PyMemberDescr_Type, &PyMemoryView_Type, &PyMethod_Type,
    &PyMethodDescr_Type, &_PyMethodWrapper_Type, &PyODict_Type, &PyODictItems_Type, &PyODictIter_Type,
    &PyODictKeys_Type, &PyODictValues_Type, &PyPickleBuffer_Type, &PyRange_Type, &PyRangeIter_Type,
    &PyReversed_Type, &PySTEntry_Type, &PySeqIter_Type, &PySetIter_Type, &PySlice_Type, &PyTraceBack_Type,
    &PyTupleIter_Type, &PyUnicodeIter_Type, &_PyUnicodeASCIIIter_Type, &_PyUnion_Type, &Py_GenericAliasType,
    &_PyWeakref_ProxyType, &_PyWeakref_CallableProxyType, &PyWrapperDescr_Type, &PyZip_Type,
    &PyFrameLocalsProxy_Type, &_PyBufferWrapper_Type, &_PyContextTokenMissing_Type,
    &_PyInstructionSequence_Type, &_PyLegacyEventHandler_Type, &_PyLineIterator, &_PyMemoryIter_Type,
    &_PyNoDefault_Type, &_PyPositionsIterator, &_PyTypeAlias_Type, &_Py_GenericAliasIterType, &_PyExc_IncompleteInputError,
    /* clang-format on */
};
static PyObject **const exceptions_for_later[] = {
    /* clang-format off */
    &PyExc_Warning, &PyExc_BytesWarning, &PyExc_DeprecationWarning, &PyExc_EncodingWarning, &PyExc_FutureWarning,
    &PyExc_ImportWarning, &PyExc_PendingDeprecationWarning, &PyExc_ResourceWarning, &PyExc_RuntimeWarning,
    &PyExc_SyntaxWarning, &PyExc_UnicodeWarning, &PyExc_UserWarning, &PyExc_SyntaxError, &PyExc_IndentationError,
    &PyExc_TabError, &PyExc_BufferError, &PyExc_EOFError, &PyExc_FloatingPointError, &PyExc_ReferenceError,
    &PyExc_StopAsyncIteration, &PyExc_UnicodeTranslateError, &PyExc_BaseExceptionGroup, &PyExc_PythonFinalizationError,
    &PyExc_ConnectionError, &PyExc_BlockingIOError, &PyExc_BrokenPipeError, &PyExc_ChildProcessError,
    &PyExc_ConnectionAbortedError, &PyExc_ConnectionRefusedError, &PyExc_ConnectionResetError, &PyExc_FileExistsError,
    &PyExc_FileNotFoundError, &PyExc_InterruptedError, &PyExc_IsADirectoryError, &PyExc_NotADirectoryError,
    &PyExc_PermissionError, &PyExc_ProcessLookupError, &PyExc_TimeoutError,
    /* clang-format on */
};
