/* `import` on the way to exec: each kind of module by the shortest road.
 *
 * A hot module of shim is made from code that lies ready in this executable. A C module that is built in is left to importlib,
 * but for `posix`, which is ours (posix.c).
 * The first import of anything else completes the interpreter, gives `import` back, and goes on as anywhere.
 * importlib could do all that too: with a spec, a loader, a lock and a finder for each module, which takes longer than
 * the modules themselves.
 */
#include <Python.h>
#include <string.h>

#include "core.h"
#include "hot.h"
#include "staying.h"
#include "start.h"

static const struct hot_module *hot_modules;
static size_t hot_count;
static PyObject *plain_import; /* builtins.__import__ while ours replaces it */
static PyObject *kernel, *quick_posix;
static int is_finished;

static const struct hot_module *find_hot(const char *name)
{
    for (size_t i = 0; i < hot_count; i++)
        if (strcmp(hot_modules[i].name, name) == 0)
            return &hot_modules[i];
    return NULL;
}

static int is_built_in(const char *name)
{
    for (const struct _inittab *entry = PyImport_Inittab; entry->name != NULL; entry++)
        if (strcmp(entry->name, name) == 0)
            return 1;
    return 0;
}

PyObject *shim_code_of(const struct hot_module *module)
{
    for (const struct set_constant *set = module->sets; set->place != NULL; set++) {
        *set->place = PyFrozenSet_New(set->items);
        if (*set->place == NULL)
            return NULL;
    }
    return Py_NewRef(module->code);
}

/* Return the module as a borrowed reference: sys.modules holds it. */
static PyObject *load(const struct hot_module *hot)
{
    PyObject *name = PyUnicode_InternFromString(hot->name);
    /* PyImport_GetModule would look for a spec, which none of them has, each time. */
    PyObject *module = name ? PyDict_GetItemWithError(PyImport_GetModuleDict(), name) : NULL;
    const char *short_name = strrchr(hot->name, '.');
    PyObject *code, *dictionary, *parent, *done = NULL;

    if (module != NULL || PyErr_Occurred()) {
        Py_XDECREF(name);
        return module;
    }
    parent = short_name ? load(find_hot("shim")) : NULL;
    module = short_name && parent == NULL ? NULL : PyImport_AddModule(hot->name);
    code = module ? shim_code_of(hot) : NULL;
    dictionary = module ? PyModule_GetDict(module) : NULL;
    if (code != NULL && PyDict_SetItemString(dictionary, "__builtins__", PyEval_GetBuiltins()) == 0) {
        if (parent == NULL) { /* the package: empty until the archive is open */
            PyObject *path = PyList_New(0);

            if (path != NULL && PyDict_SetItemString(dictionary, "__path__", path) == 0)
                done = PyEval_EvalCode(code, dictionary, dictionary);
            Py_XDECREF(path);
        } else {
            done = PyEval_EvalCode(code, dictionary, dictionary);
        }
    }
    Py_XDECREF(code);
    if (done != NULL && parent != NULL && PyObject_SetAttrString(parent, short_name + 1, module) < 0)
        Py_CLEAR(done);
    if (done == NULL && module != NULL) {
        PyObject *type, *value, *trace;

        PyErr_Fetch(&type, &value, &trace);
        if (PyDict_DelItem(PyImport_GetModuleDict(), name) < 0)
            PyErr_Clear();
        PyErr_Restore(type, value, trace);
    }
    Py_DECREF(name);
    Py_XDECREF(done);
    return done ? module : NULL;
}

/* `from shim import a, b`: load those that are modules. Return 0 when one is neither hot nor there, -1 on an error. */
static int load_names(PyObject *package, PyObject *names)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        const struct hot_module *hot;
        char full_name[128];

        if (PyDict_Contains(PyModule_GetDict(package), name))
            continue;
        PyOS_snprintf(full_name, sizeof full_name, "shim.%s", PyUnicode_AsUTF8(name));
        hot = find_hot(full_name);
        if (hot == NULL)
            return 0;
        if (load(hot) == NULL)
            return -1;
    }
    return 1;
}

/* Complete the interpreter: the rest of CPython, the archive, and `import` as anywhere. -1: an exception. */
static int finish_interpreter(void)
{
    is_finished = 1; /* what follows imports too */
    PyGC_Enable();
    if (shim_open_archive() != 0) {
        is_finished = 0;
        PyErr_SetString(PyExc_ImportError, "the archive at the end of the executable cannot be used");
        return -1;
    }
    return PyObject_SetAttrString(PyImport_AddModule("builtins"), "__import__", plain_import);
}

/* __import__(name, globals, locals, fromlist, level), as the statement calls it; a call by hand may have keywords. */
static PyObject *import(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    PyObject *names = count > 3 ? arguments[3] : NULL;
    const char *name = count > 0 && PyUnicode_Check(arguments[0]) ? PyUnicode_AsUTF8(arguments[0]) : NULL;
    const struct hot_module *hot = name ? find_hot(name) : NULL;
    PyObject *module;

    (void)self;
    PyErr_Clear();
    if (is_finished)
        return PyObject_Vectorcall(plain_import, arguments, (size_t)count, keywords);
    if (hot != NULL && keywords == NULL) {
        module = load(hot);
        if (module == NULL)
            return NULL;
        if (names == NULL || !PyTuple_Check(names) || PyTuple_GET_SIZE(names) == 0)
            return Py_XNewRef(load(find_hot("shim")));
        if (strcmp(name, "shim") != 0)
            return Py_NewRef(module);
        switch (load_names(module, names)) {
        case 1:
            return Py_NewRef(module);
        case -1:
            return NULL;
        }
    }
    if (name != NULL && strcmp(name, "_kernel") == 0)
        return Py_NewRef(kernel);
    if (name != NULL && strcmp(name, "posix") == 0)
        return Py_NewRef(quick_posix);
    if (hot == NULL && name != NULL && keywords == NULL && is_built_in(name)) {
        module = PyImport_GetModule(arguments[0]);
        if (module != NULL || PyErr_Occurred() || shim_add_importlib() < 0)
            return module;
    } else if (finish_interpreter() < 0) {
        return NULL;
    }
    return PyObject_Vectorcall(plain_import, arguments, (size_t)count, keywords);
}

static PyMethodDef import_method = {"__import__", (PyCFunction)(void (*)(void))import, METH_FASTCALL | METH_KEYWORDS,
                                    NULL};

PyObject *shim_start_imports(const struct hot_module *modules, size_t count)
{
    PyObject *builtins = PyImport_AddModule("builtins");
    PyObject *ours = PyCFunction_New(&import_method, NULL);

    hot_modules = modules;
    hot_count = count;
    plain_import = builtins ? PyObject_GetAttrString(builtins, "__import__") : NULL;
    kernel = shim_kernel_module();
    quick_posix = plain_import ? shim_posix_module(plain_import) : NULL;
    if (quick_posix == NULL || ours == NULL || kernel == NULL || shim_add_staying(kernel, quick_posix) < 0 ||
        shim_add_schema(kernel) < 0 || shim_add_ordinary(kernel) < 0 ||
        PyDict_SetItemString(PyImport_GetModuleDict(), "_kernel", kernel) < 0 ||
        PyObject_SetAttrString(builtins, "__import__", ours) < 0)
        return NULL;
    return load(find_hot("shim.main"));
}
