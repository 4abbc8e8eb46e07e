/* `posix` on the way to exec: the few functions that every start needs, and a door to the real module.
 *
 * Making the real one takes a tenth of the whole start (350 constants, a dozen types), so it waits until somebody asks
 * for another name. sys.modules never holds this one: whoever completes the interpreter gets CPython's own.
 */
#include <Python.h>
#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#include "core.h"
#include "hot.h"

static PyObject *import_real; /* how `import` was before hot.c took over */
static PyObject *real;

static PyObject *real_function(const char *name)
{
    if (real == NULL && shim_add_importlib() == 0)
        real = PyObject_CallFunction(import_real, "s", "posix");
    return real ? PyObject_GetAttrString(real, name) : NULL;
}

static PyObject *get_attribute(PyObject *self, PyObject *name)
{
    const char *text = PyUnicode_AsUTF8(name);

    (void)self;
    return text ? real_function(text) : NULL;
}

static PyObject *call_real(const char *name, PyObject *argument)
{
    PyObject *function = real_function(name);
    PyObject *result = function ? PyObject_CallOneArg(function, argument) : NULL;

    Py_XDECREF(function);
    return result;
}

/* Text, descriptors and what is not a path at all are for the real module. */
static int is_plain_path(PyObject *path)
{
    return PyBytes_Check(path) && strlen(PyBytes_AS_STRING(path)) == (size_t)PyBytes_GET_SIZE(path);
}

static PyObject *end_process(PyObject *self, PyObject *code)
{
    long number = PyLong_AsLong(code);

    (void)self;
    if (number == -1 && PyErr_Occurred())
        return NULL;
    _exit((int)number);
}

static PyObject *list_folder(PyObject *self, PyObject *path)
{
    PyObject *names;
    struct dirent *entry;
    DIR *folder;

    (void)self;
    if (!is_plain_path(path))
        return call_real("listdir", path);
    folder = opendir(PyBytes_AS_STRING(path));
    if (folder == NULL)
        return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
    names = PyList_New(0);
    while (names != NULL && (errno = 0, entry = readdir(folder)) != NULL) {
        const char *text = entry->d_name;
        PyObject *name;

        if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
            continue;
        name = PyBytes_FromString(text);
        if (name == NULL || PyList_Append(names, name) < 0)
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    if (names != NULL && errno != 0) {
        Py_CLEAR(names);
        PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
    }
    closedir(folder);
    return names;
}

static PyObject *read_link(PyObject *self, PyObject *path)
{
    char target[4096]; /* PATH_MAX: no link holds more */
    ssize_t length;

    (void)self;
    if (!is_plain_path(path))
        return call_real("readlink", path);
    length = readlink(PyBytes_AS_STRING(path), target, sizeof target);
    if (length < 0)
        return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
    return PyBytes_FromStringAndSize(target, length);
}

static PyObject *working_folder(PyObject *self, PyObject *none)
{
    char path[4096];

    (void)self, (void)none;
    return getcwd(path, sizeof path) ? PyBytes_FromString(path) : PyErr_SetFromErrno(PyExc_OSError);
}

static PyMethodDef functions[] = {
    {"__getattr__", get_attribute, METH_O, NULL}, /* PEP 562 */
    {"_exit", end_process, METH_O, NULL},
    {"getcwdb", working_folder, METH_NOARGS, NULL},
    {"listdir", list_folder, METH_O, NULL},
    {"readlink", read_link, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "posix", .m_size = -1, .m_methods = functions};

PyObject *shim_posix_module(PyObject *plain_import)
{
    import_real = plain_import;
    return PyModule_Create(&definition);
}
