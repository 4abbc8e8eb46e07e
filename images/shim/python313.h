/* What core.c has to know of CPython 3.13: how its core makes types ready, which they are, and where importlib begins. */
#include <internal/pycore_context.h>
#include <internal/pycore_crossinterp.h>
#include <internal/pycore_genobject.h>
#include <internal/pycore_hamt.h>
#include <internal/pycore_hashtable.h>
#include <internal/pycore_floatobject.h>
#include <internal/pycore_import.h>
#include <internal/pycore_interp.h>
#include <internal/pycore_long.h>
#include <internal/pycore_namespace.h>
#include <internal/pycore_object.h>
#include <internal/pycore_pyerrors.h>
#include <internal/pycore_pystate.h>
#include <internal/pycore_symtable.h>
#include <internal/pycore_sysmodule.h>
#include <internal/pycore_typeobject.h>
#include <internal/pycore_typevarobject.h>
#include <internal/pycore_unicodeobject.h>
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

/* Return the string of a literal: CPython's own, when it has one. While the core starts, others are not interned: that makes
 * comparing names faster, and nothing compares them so often in a start that it would pay. */
static PyObject *string_of(const char *text)
{
    PyObject *found = own_string(text, strlen(text));

    if (found != NULL)
        return found;
    if (is_starting)
        return PyUnicode_FromString(text);
    is_no_own_string = 1; /* it would be looked for again */
    found = __real_PyUnicode_InternFromString(text);
    is_no_own_string = 0;
    return found;
}

/* What the core makes at its start for programs that look at it: the module `sys` with 80 functions, tables and tuples with
 * names, generic types, types of the codecs, of contexts and of what interpreters exchange. A start looks at none, so each
 * waits for importlib. */
PyStatus __wrap__PyContext_Init(PyInterpreterState *interpreter);
PyStatus __real__PyContext_Init(PyInterpreterState *interpreter);
PyStatus __wrap__PyErr_InitTypes(PyInterpreterState *interpreter);
PyStatus __real__PyErr_InitTypes(PyInterpreterState *interpreter);
PyStatus __wrap__PyFloat_InitTypes(PyInterpreterState *interpreter);
PyStatus __real__PyFloat_InitTypes(PyInterpreterState *interpreter);
PyStatus __wrap__PyLong_InitTypes(PyInterpreterState *interpreter);
PyStatus __real__PyLong_InitTypes(PyInterpreterState *interpreter);
PyStatus __wrap__PyUnicode_InitTypes(PyInterpreterState *interpreter);
PyStatus __real__PyUnicode_InitTypes(PyInterpreterState *interpreter);
PyStatus __wrap__PyXI_InitTypes(PyInterpreterState *interpreter);
PyStatus __real__PyXI_InitTypes(PyInterpreterState *interpreter);
PyStatus __wrap__PyXI_Init(PyInterpreterState *interpreter);
PyStatus __real__PyXI_Init(PyInterpreterState *interpreter);
int __wrap__Py_initialize_generic(PyInterpreterState *interpreter);
int __real__Py_initialize_generic(PyInterpreterState *interpreter);
PyStatus __wrap__PySys_Create(PyThreadState *state, PyObject **system);
PyStatus __real__PySys_Create(PyThreadState *state, PyObject **system);
PyObject *__wrap__PyImport_InitModules(PyInterpreterState *interpreter);
PyObject *__real__PyImport_InitModules(PyInterpreterState *interpreter);

#define WAITS(function)                                                                                                \
    PyStatus __wrap_##function(PyInterpreterState *interpreter)                                                        \
    {                                                                                                                  \
        (void)interpreter;                                                                                             \
        return PyStatus_Ok();                                                                                          \
    }
WAITS(_PyContext_Init)
WAITS(_PyErr_InitTypes)
WAITS(_PyFloat_InitTypes)
WAITS(_PyLong_InitTypes)
WAITS(_PyUnicode_InitTypes)
WAITS(_PyXI_InitTypes)
WAITS(_PyXI_Init)

static PyStatus (*const inits_for_later[])(PyInterpreterState *) = {
    __real__PyLong_InitTypes, __real__PyUnicode_InitTypes, __real__PyFloat_InitTypes, __real__PyErr_InitTypes,
    __real__PyContext_Init,   __real__PyXI_InitTypes,      __real__PyXI_Init,
};

int __wrap__Py_initialize_generic(PyInterpreterState *interpreter)
{
    (void)interpreter;
    return 0;
}

PyStatus __wrap__PySys_Create(PyThreadState *state, PyObject **system)
{
    *system = NULL;
    return _PyImport_InitModules(state->interp) ? PyStatus_Ok() : PyStatus_NoMemory();
}

/* sys.modules is there before sys. */
PyObject *__wrap__PyImport_InitModules(PyInterpreterState *interpreter)
{
    PyObject *modules = interpreter->imports.modules;

    return modules ? modules : __real__PyImport_InitModules(interpreter);
}

/* An exception that nobody can catch: sys says so, which has to be there, and the type of what it gets. */
void __wrap_PyErr_WriteUnraisable(PyObject *place);
void __real_PyErr_WriteUnraisable(PyObject *place);
void __wrap_PyErr_FormatUnraisable(const char *format, ...);

void __wrap_PyErr_WriteUnraisable(PyObject *place)
{
    PyObject *error = PyErr_GetRaisedException();

    if (shim_add_importlib() < 0) { /* no memory, and so none to say it with */
        PyErr_Clear();
        Py_XDECREF(error);
        return;
    }
    PyErr_SetRaisedException(error);
    __real_PyErr_WriteUnraisable(place);
}

void __wrap_PyErr_FormatUnraisable(const char *format, ...)
{
    PyObject *error = PyErr_GetRaisedException(), *text = NULL;
    va_list arguments;

    va_start(arguments, format);
    if (format != NULL)
        text = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    PyErr_SetRaisedException(error);
    __wrap_PyErr_WriteUnraisable(text);
    Py_XDECREF(text);
}

/* Of the exceptions among the builtins, those that are not ready wait too. ExceptionGroup does: it is a class as Python's own
 * code makes it, which takes as much as ten others. */
static int is_adding_exceptions;

int __wrap__PyBuiltins_AddExceptions(PyObject *builtins);
int __real__PyBuiltins_AddExceptions(PyObject *builtins);
int __wrap_PyDict_SetItemString(PyObject *dictionary, const char *name, PyObject *value);
int __real_PyDict_SetItemString(PyObject *dictionary, const char *name, PyObject *value);
PyObject *__wrap_PyErr_NewException(const char *name, PyObject *bases, PyObject *names);
PyObject *__real_PyErr_NewException(const char *name, PyObject *bases, PyObject *names);
PyStatus __wrap__PyExc_InitState(PyInterpreterState *interpreter);
PyStatus __real__PyExc_InitState(PyInterpreterState *interpreter);

static int add(PyObject *dictionary, const char *name, PyObject *value)
{
    PyObject *key = string_of(name);
    int failed = key == NULL || PyDict_SetItem(dictionary, key, value) < 0;

    Py_XDECREF(key);
    return failed ? -1 : 0;
}

int __wrap__PyBuiltins_AddExceptions(PyObject *builtins)
{
    int failed;

    is_adding_exceptions = 1;
    failed = __real__PyBuiltins_AddExceptions(builtins);
    is_adding_exceptions = 0;
    return failed;
}

int __wrap_PyDict_SetItemString(PyObject *dictionary, const char *name, PyObject *value)
{
    if (is_adding_exceptions && is_for_later((PyTypeObject *)value))
        return 0;
    return is_starting ? add(dictionary, name, value) : __real_PyDict_SetItemString(dictionary, name, value);
}

PyObject *__wrap_PyErr_NewException(const char *name, PyObject *bases, PyObject *names)
{
    return is_adding_exceptions ? Py_NewRef(PyExc_BaseExceptionGroup) : __real_PyErr_NewException(name, bases, names);
}

/* Which exceptions OSError becomes for an errno: until they are ready it stays what it is. */
PyStatus __wrap__PyExc_InitState(PyInterpreterState *interpreter)
{
    interpreter->exc_state.errnomap = PyDict_New();
    return interpreter->exc_state.errnomap ? PyStatus_Ok() : PyStatus_NoMemory();
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

/* A function of a module becomes one of its attributes in many steps, in which CPython looks for it in the module's type. */
int __wrap_PyObject_SetAttrString(PyObject *owner, const char *name, PyObject *value);
int __real_PyObject_SetAttrString(PyObject *owner, const char *name, PyObject *value);

int __wrap_PyObject_SetAttrString(PyObject *owner, const char *name, PyObject *value)
{
    if (value == NULL || name[0] == '_' || !PyModule_CheckExact(owner))
        return __real_PyObject_SetAttrString(owner, name, value);
    return add(PyModule_GetDict(owner), name, value);
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

extern PyTypeObject PyFrameLocalsProxy_Type, PyStdPrinter_Type, _PyAnextAwaitable_Type, _PyBufferWrapper_Type,
    _PyContextTokenMissing_Type, _PyInstructionSequence_Type, _PyLegacyEventHandler_Type, _PyLineIterator,
    _PyManagedBuffer_Type, _PyMemoryIter_Type, _PyMethodWrapper_Type, _PyNoDefault_Type, _PyNotImplemented_Type,
    _PyPositionsIterator, _PyTypeAlias_Type, _Py_GenericAliasIterType;

static PyTypeObject *const types_for_later[] = {
    /* clang-format off */
    &_Py_GenericAliasIterType, &Py_GenericAliasType, &_PyAnextAwaitable_Type, &PyAsyncGen_Type,
    &_PyAsyncGenASend_Type, &_PyAsyncGenAThrow_Type, &_PyAsyncGenWrappedValue_Type, &_PyBufferWrapper_Type,
    &PyByteArray_Type, &PyByteArrayIter_Type, &PyBytesIter_Type, &PyCallIter_Type, &PyCapsule_Type, &PyCell_Type,
    &PyClassMethod_Type, &PyClassMethodDescr_Type, &PyCMethod_Type, &PyCode_Type, &PyComplex_Type, &PyContext_Type,
    &PyContextToken_Type, &_PyContextTokenMissing_Type, &PyContextVar_Type, &PyCoro_Type, &_PyCoroWrapper_Type,
    &PyDictItems_Type, &PyDictIterItem_Type, &PyDictIterKey_Type, &PyDictIterValue_Type, &PyDictKeys_Type,
    &PyDictProxy_Type, &PyDictRevIterItem_Type, &PyDictRevIterKey_Type, &PyDictRevIterValue_Type,
    &PyDictValues_Type, &PyEllipsis_Type, &PyEnum_Type, &_PyExc_IncompleteInputError, &PyFilter_Type, &PyFloat_Type,
    &PyFrame_Type, &PyFrameLocalsProxy_Type, &PyFrozenSet_Type, &PyGen_Type, &PyGetSetDescr_Type,
    &_PyHamt_ArrayNode_Type, &_PyHamt_BitmapNode_Type, &_PyHamt_CollisionNode_Type, &_PyHamt_Type,
    &_PyHamtItems_Type, &_PyHamtKeys_Type, &_PyHamtValues_Type, &PyInstanceMethod_Type,
    &_PyInstructionSequence_Type, &_PyLegacyEventHandler_Type, &_PyLineIterator, &PyListIter_Type,
    &PyListRevIter_Type, &PyLongRangeIter_Type, &_PyManagedBuffer_Type, &PyMap_Type, &PyMemberDescr_Type,
    &_PyMemoryIter_Type, &PyMemoryView_Type, &PyMethod_Type, &PyMethodDescr_Type, &_PyMethodWrapper_Type,
    &PyModuleDef_Type, &_PyNamespace_Type, &_PyNoDefault_Type, &_PyNotImplemented_Type, &PyODict_Type,
    &PyODictItems_Type, &PyODictIter_Type, &PyODictKeys_Type, &PyODictValues_Type, &PyPickleBuffer_Type, &PyProperty_Type,
    &_PyPositionsIterator, &PyRange_Type, &PyRangeIter_Type, &PyReversed_Type, &PySeqIter_Type, &PySetIter_Type,
    &PySlice_Type, &PyStaticMethod_Type, &PyStdPrinter_Type, &PySTEntry_Type, &PySuper_Type, &PyTraceBack_Type,
    &PyTupleIter_Type, &_PyTypeAlias_Type, &_PyUnicodeASCIIIter_Type, &PyUnicodeIter_Type, &_PyUnion_Type,
    &_PyWeakref_CallableProxyType, &_PyWeakref_ProxyType, &PyWrapperDescr_Type, &PyZip_Type,
    /* clang-format on */
};
static PyObject **const exceptions_for_later[] = {
    /* clang-format off */
    &PyExc_AssertionError, &PyExc_KeyboardInterrupt, &PyExc_ModuleNotFoundError, &PyExc_NotImplementedError,
    &PyExc_SystemExit, &PyExc_UnboundLocalError, &PyExc_ZeroDivisionError, &PyExc_Warning, &PyExc_BytesWarning,
    &PyExc_DeprecationWarning, &PyExc_EncodingWarning, &PyExc_FutureWarning, &PyExc_ImportWarning,
    &PyExc_PendingDeprecationWarning, &PyExc_ResourceWarning, &PyExc_RuntimeWarning, &PyExc_SyntaxWarning,
    &PyExc_UnicodeWarning, &PyExc_UserWarning, &PyExc_SyntaxError, &PyExc_IndentationError, &PyExc_TabError,
    &PyExc_BufferError, &PyExc_EOFError, &PyExc_FloatingPointError, &PyExc_ReferenceError,
    &PyExc_StopAsyncIteration, &PyExc_UnicodeTranslateError, &PyExc_BaseExceptionGroup,
    &PyExc_PythonFinalizationError, &PyExc_ConnectionError, &PyExc_BlockingIOError, &PyExc_BrokenPipeError,
    &PyExc_ChildProcessError, &PyExc_ConnectionAbortedError, &PyExc_ConnectionRefusedError,
    &PyExc_ConnectionResetError, &PyExc_FileExistsError, &PyExc_FileNotFoundError, &PyExc_InterruptedError,
    &PyExc_IsADirectoryError, &PyExc_NotADirectoryError, &PyExc_PermissionError, &PyExc_ProcessLookupError,
    &PyExc_TimeoutError,
    /* clang-format on */
};

static int add_importlib(PyThreadState *state)
{
    PyInterpreterState *interpreter = state->interp;
    PyObject *system = NULL;
    int failed;

    for (int i = 0; i < 128; i++) { /* CPython does not look for these among the interned ones, and takes them as such */
        set_interned((PyObject *)&_Py_SINGLETON(strings).ascii[i]);
        set_interned((PyObject *)&_Py_SINGLETON(strings).latin1[i]);
    }
    for (size_t i = 0; i < COUNT(inits_for_later); i++)
        if (PyStatus_Exception(inits_for_later[i](interpreter)))
            return -1;
    Py_CLEAR(interpreter->exc_state.errnomap);
    if (PyStatus_Exception(__real__PyExc_InitState(interpreter)) || __real__Py_initialize_generic(interpreter) < 0 ||
        add_exception_group(interpreter) < 0)
        return -1;
    for (size_t i = 0; i < COUNT(exceptions_for_later); i++)
        if (PyDict_SetItemString(interpreter->builtins, ((PyTypeObject *)*exceptions_for_later[i])->tp_name,
                                 *exceptions_for_later[i]) < 0)
            return -1;
    failed = PyStatus_Exception(__real__PySys_Create(state, &system)) ||
             PyStatus_Exception(_PyImport_InitCore(state, system, 1));
    Py_XDECREF(system);
    return failed ? -1 : 0;
}
