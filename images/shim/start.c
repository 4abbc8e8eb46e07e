/* The shim's start, once every signal is blocked (entry.S): the core of CPython runs shim.main.run().
 *
 * Nothing here reads the environment, the file system or a locale: what the image sets for its own programs
 * (LD_*, PYTHON*, LC_*) goes to the service untouched and cannot change what we do.
 */
#define _GNU_SOURCE
#include <Python.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "blocks.h"
#include "core.h"
#include "hot.h"
#include "start.h"
#include "frozen.h"

uint64_t shim_birth_mask; /* filled by entry.S */
int shim_argc;
char **shim_argv;
char **shim_environ;

uint64_t shim_set_mask(uint64_t mask)
{
    uint64_t before = 0;

    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &before, sizeof mask);
    return before;
}

/* Since GCC 13, libgcc sorts the tables for C++'s exceptions when a static program starts: more work than all of ours.
 * Nothing here throws one. */
void __wrap___register_frame_info(const void *begin, void *object);
void *__wrap___deregister_frame_info(const void *begin);

void __wrap___register_frame_info(const void *begin, void *object)
{
    (void)begin, (void)object;
}

void *__wrap___deregister_frame_info(const void *begin)
{
    (void)begin;
    return NULL;
}

/* glibc reads settings of its own from the environment (GLIBC_TUNABLES, MALLOC_*), in many steps for each variable: they are
 * meant for the service. */
void __wrap___tunables_init(char **environment);

void __wrap___tunables_init(char **environment)
{
    (void)environment;
}

/* What CPython asks for until it can say that there is no memory; without that it crashes, or aborts. */
#define START_BYTES (2 << 20)

static void check_memory(void)
{
    static const char message[] = "shim: error: out of memory before the start\n"
                                  "shim: hint: raise the limit of the address space (ulimit -v, RLIMIT_AS)\n";
    void *room = mmap(NULL, START_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (room == MAP_FAILED) {
        (void)!write(STDERR_FILENO, message, sizeof message - 1); /* when it is closed, there is nowhere to say so */
        _exit(111);
    }
    munmap(room, START_BYTES);
}

static void stop_on(PyStatus status)
{
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
}

static void start_interpreter(void)
{
    PyPreConfig preconfig;
    PyConfig config;

    PyPreConfig_InitIsolatedConfig(&preconfig);
    preconfig.utf8_mode = 1; /* names are UTF-8 with surrogateescape, whatever LC_ALL says */
    preconfig.configure_locale = 0;
    preconfig.coerce_c_locale = 0;
    stop_on(Py_PreInitialize(&preconfig));

    PyImport_FrozenModules = shim_frozen_modules;

    PyConfig_InitIsolatedConfig(&config);
    config.install_signal_handlers = 0; /* else SIGPIPE and SIGXFSZ are ignored from here on, and exec hands that on */
    config.site_import = 0;
    config.write_bytecode = 0;
    config.pathconfig_warnings = 0;
    config.module_search_paths_set = 1; /* empty: nothing is ever imported from a disk */
    if (shim_start_core(&config) < 0)
        stop_on(PyStatus_NoMemory());
    stop_on(Py_InitializeFromConfig(&config));
    PyConfig_Clear(&config);
    shim_core_is_made();
    PyGC_Disable(); /* exec is the garbage collector; whoever stays enables it (staying.c) */
}

/* CPython removes __PYVENV_LAUNCHER__ from libc's list, in place, and the service is to get it: libc works on a copy. */
static void keep_from_libc(char **environment)
{
    size_t count = 1;
    char **copy;

    for (char **entry = environment; *entry != NULL; entry++)
        count++;
    copy = malloc(count * sizeof *copy);
    if (copy != NULL)
        environ = memcpy(copy, environment, count * sizeof *copy);
}

int main(int argc, char **argv, char **environment)
{
    PyObject *module, *done;

    shim_argc = argc;
    shim_argv = argv;
    shim_environ = environment;
    keep_from_libc(environment);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* values pass through: no core file, no debugger; exec undoes that */
    check_memory();
    shim_use_blocks();
    start_interpreter();
    module = shim_start_imports(shim_hot_modules, sizeof shim_hot_modules / sizeof *shim_hot_modules);
    done = module ? PyObject_CallMethod(module, "run", NULL) : NULL;
    if (done == NULL) {
        PyObject *error = PyErr_GetRaisedException();

        if (shim_add_importlib() < 0) /* sys.stderr comes with it */
            PyErr_Clear();
        PyErr_SetRaisedException(error);
        PyErr_Print();
    }
    _exit(done ? 0 : 111);
}
