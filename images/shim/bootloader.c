/* PyInstaller's bootloader as a library: opened when something outside the way to exec is imported, never before.
 *
 * It finds its archive at the end of our own file, asks the "shared library" for Python's functions (they are linked
 * into the same file; the table below is its list), starts the interpreter (ours runs already: only its second half is
 * missing), and runs the one script of shim.spec, which installs PyInstaller's importer. Then it returns to us.
 */
#include <Python.h>
#include <marshal.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "core.h"
#include "pyi_main.h"
#include "start.h"

int shim_bootloader_main(int argc, char **argv);

static PyStatus keep_preconfig(const PyPreConfig *config)
{
    (void)config;
    return PyStatus_Ok(); /* start.c did it: UTF-8 mode, no locale */
}

/* What the bootloader configured is for a program that starts here; ours has its configuration. */
static PyStatus finish_main(const PyConfig *config)
{
    (void)config;
    return shim_add_main();
}

/* The bootloader ends the interpreter when its scripts have run. Ours goes on. */
static int nothing_to_end(void)
{
    return 0;
}

#define PLAIN(name) {#name, (void *)name}
#define OURS(name, function) {#name, (void *)function}

static const struct {
    const char *name;
    void *function;
} table[] = {
    OURS(Py_PreInitialize, keep_preconfig),
    OURS(Py_InitializeFromConfig, finish_main),
    OURS(Py_IsInitialized, nothing_to_end),
    PLAIN(Py_Finalize),
    PLAIN(Py_DecRef),
    PLAIN(Py_DecodeLocale),
    PLAIN(Py_ExitStatusException),
    PLAIN(PyConfig_Clear),
    PLAIN(PyConfig_InitIsolatedConfig),
    PLAIN(PyConfig_Read),
    PLAIN(PyConfig_SetBytesString),
    PLAIN(PyConfig_SetString),
    PLAIN(PyConfig_SetWideStringList),
    PLAIN(PyErr_Clear),
    PLAIN(PyErr_Fetch),
    PLAIN(PyErr_NormalizeException),
    PLAIN(PyErr_Occurred),
    PLAIN(PyErr_Print),
    PLAIN(PyErr_Restore),
    PLAIN(PyEval_EvalCode),
    PLAIN(PyImport_AddModule),
    PLAIN(PyImport_ExecCodeModule),
    PLAIN(PyImport_ImportModule),
    PLAIN(PyList_Append),
    PLAIN(PyMarshal_ReadObjectFromString),
    PLAIN(PyMem_RawFree),
    PLAIN(PyModule_GetDict),
    PLAIN(PyObject_CallFunction),
    PLAIN(PyObject_CallFunctionObjArgs),
    PLAIN(PyObject_GetAttrString),
    PLAIN(PyObject_SetAttrString),
    PLAIN(PyObject_Str),
    PLAIN(PyPreConfig_InitIsolatedConfig),
    PLAIN(PyRun_SimpleStringFlags),
    PLAIN(PyStatus_Exception),
    PLAIN(PySys_GetObject),
    PLAIN(PySys_SetObject),
    PLAIN(PyUnicode_AsUTF8),
    PLAIN(PyUnicode_Decode),
    PLAIN(PyUnicode_DecodeFSDefault),
    PLAIN(PyUnicode_FromFormat),
    PLAIN(PyUnicode_FromString),
    PLAIN(PyUnicode_Join),
    PLAIN(PyUnicode_Replace),
};

void *shim_library(void)
{
    return (void *)table;
}

void *shim_symbol(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].name, name) == 0)
            return table[i].function;
    return NULL;
}

/* A program runs with no more than x; the archive is read by those who may read. Nothing can be done without it. */
static void check_readable(void)
{
    static const char message[] =
        "shim: error: this program cannot read its own file, which holds what it needs now\n"
        "shim: hint: chmod 0755 on it; only the plain start of a command works without\n";
    const char *path = (const char *)getauxval(AT_EXECFN);

    if (access("/proc/self/exe", R_OK) == 0 || path == NULL || access(path, R_OK) == 0)
        return;
    (void)!write(STDERR_FILENO, message, sizeof message - 1); /* when it is closed, there is nowhere to say so */
    _exit(111);
}

int shim_open_archive(void)
{
    check_readable();
    return shim_bootloader_main(shim_argc, shim_argv);
}
