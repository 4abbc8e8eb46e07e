/* What `--init` needs beyond a start: signals beside descriptors, inotify, the multi-pattern search of --mask, and the
 * process functions of `posix` without the cost of making the whole module (posix.c says why).
 */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "start.h"
#include "staying.h"
#include "wipe.h"

#define SFD_FLAGS (O_CLOEXEC | O_NONBLOCK)

static PyObject *number_or_error(long number)
{
    return number < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(number);
}

/* --- signals and files as descriptors ------------------------------------------------------------------------ */

static PyObject *signal_descriptor(PyObject *self, PyObject *none)
{
    const uint64_t all = ~UINT64_C(0);

    (void)self, (void)none;
    return number_or_error(syscall(SYS_signalfd4, -1, &all, sizeof all, SFD_FLAGS));
}

static PyObject *inotify_open(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    return number_or_error(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
}

static PyObject *inotify_watch(PyObject *self, PyObject *arguments)
{
    const char *path;
    unsigned int mask;
    int descriptor;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "iyI:inotify_watch", &descriptor, &path, &mask))
        return NULL;
    return number_or_error(inotify_add_watch(descriptor, path, mask));
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static PyObject *monotonic(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    return PyFloat_FromDouble(now());
}

/* What was read of this program's file stays in the page cache; our own pages of it go. The next signal brings back
 * the few that it needs. */
static int drop_segment(struct dl_phdr_info *program, size_t size, void *none)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;

    (void)size, (void)none;
    for (int i = 0; i < program->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &program->dlpi_phdr[i];
        uintptr_t start = (program->dlpi_addr + segment->p_vaddr) & ~page;
        uintptr_t end = (program->dlpi_addr + segment->p_vaddr + segment->p_memsz) & ~page;

        if (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W) && end > start)
            madvise((void *)start, end - start, MADV_DONTNEED); /* a refusal costs memory, nothing else */
    }
    return 1; /* this program is one file */
}

static int is_settled; /* 1: at the next sleep for an unknown time, what the start needed goes */

static PyObject *settle(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    is_settled = 1;
    PyGC_Enable(); /* not before: the first look at all that a start made takes a tenth of a short start */
    Py_RETURN_NONE;
}

static PyObject *wipe_what_is_freed(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    shim_wipe_what_is_freed();
    Py_RETURN_NONE;
}

static PyObject *forget_variable(PyObject *self, PyObject *name)
{
    Py_ssize_t length;
    char *text;

    PyObject *posix, *copy;
    int has;

    (void)self;
    if (PyBytes_AsStringAndSize(name, &text, &length) < 0)
        return NULL;
    shim_forget_variable(text, (size_t)length);
    /* The whole module has a copy, once something needed more of it than we use. To ask `sys` would make all of that. */
    posix = PyDict_GetItemString(PyImport_GetModuleDict(), "posix");
    copy = posix ? PyObject_GetAttrString(posix, "environ") : NULL;
    has = copy ? PyDict_Contains(copy, name) : 0;
    if (has > 0)
        has = PyDict_DelItem(copy, name);
    Py_XDECREF(copy);
    if (has < 0 || (posix != NULL && copy == NULL))
        return NULL;
    Py_RETURN_NONE;
}

void shim_before_long_sleep(void)
{
    if (!is_settled)
        return;
    is_settled = 0;
    PyGC_Collect(); /* values that only a circle of objects holds */
    shim_wipe_free_memory();
    malloc_trim(0);
    dl_iterate_phdr(drop_segment, NULL);
}

/* --- --mask -------------------------------------------------------------------------------------------------- */

struct patterns {
    uint64_t pairs[65536 / 64];  /* which two bytes some pattern starts with: nearly all text is sieved out here */
    int32_t first[256];          /* the longest pattern that starts with a byte; -1: none does */
    Py_ssize_t count;
    struct pattern {
        int32_t next; /* the next longest with the same first byte, or -1 */
        Py_ssize_t length;
        unsigned char *text;
    } all[];
};

static void free_patterns(PyObject *capsule)
{
    struct patterns *patterns = PyCapsule_GetPointer(capsule, NULL);

    for (Py_ssize_t i = 0; i < patterns->count; i++) {
        if (patterns->all[i].text != NULL)
            explicit_bzero(patterns->all[i].text, (size_t)patterns->all[i].length);
        PyMem_RawFree(patterns->all[i].text);
    }
    PyMem_RawFree(patterns);
}

static int longest_first(const void *one, const void *other)
{
    Py_ssize_t a = ((const struct pattern *)one)->length, b = ((const struct pattern *)other)->length;

    return a < b ? 1 : a > b ? -1 : 0;
}

static PyObject *mask_patterns(PyObject *self, PyObject *list)
{
    struct patterns *patterns;
    PyObject *capsule;
    Py_ssize_t count;

    (void)self;
    if (!PyList_Check(list)) {
        PyErr_SetString(PyExc_TypeError, "patterns are a list of bytes");
        return NULL;
    }
    count = PyList_GET_SIZE(list);
    patterns = PyMem_RawCalloc(1, sizeof *patterns + (size_t)count * sizeof *patterns->all);
    capsule = patterns ? PyCapsule_New(patterns, NULL, free_patterns) : PyErr_NoMemory();
    if (capsule == NULL)
        return NULL;
    for (patterns->count = 0; patterns->count < count; patterns->count++) {
        struct pattern *pattern = &patterns->all[patterns->count];
        char *text;

        if (PyBytes_AsStringAndSize(PyList_GET_ITEM(list, patterns->count), &text, &pattern->length) < 0 ||
            pattern->length == 0 || (pattern->text = PyMem_RawMalloc((size_t)pattern->length)) == NULL) {
            Py_DECREF(capsule);
            return PyErr_Occurred() ? NULL : PyErr_NoMemory();
        }
        memcpy(pattern->text, text, (size_t)pattern->length);
    }
    qsort(patterns->all, (size_t)count, sizeof *patterns->all, longest_first);
    memset(patterns->first, -1, sizeof patterns->first);
    for (Py_ssize_t i = count - 1; i >= 0; i--) { /* backwards: each goes before those that are shorter */
        struct pattern *pattern = &patterns->all[i];
        unsigned int start = pattern->text[0];

        pattern->next = patterns->first[start];
        patterns->first[start] = (int32_t)i;
        for (unsigned int second = 0; second < 256; second++) {
            unsigned int pair = start << 8 | second;

            if (pattern->length == 1 || pattern->text[1] == second)
                patterns->pairs[pair / 64] |= UINT64_C(1) << pair % 64;
        }
    }
    return capsule;
}

/* Append to `*out`, which grows. */
static int append(char **out, Py_ssize_t *length, Py_ssize_t *room, const void *text, Py_ssize_t count)
{
    if (*length + count > *room) {
        Py_ssize_t wanted = (*length + count) * 2;
        char *larger = PyMem_RawRealloc(*out, (size_t)wanted);

        if (larger == NULL)
            return -1;
        *out = larger;
        *room = wanted;
    }
    memcpy(*out + *length, text, (size_t)count);
    *length += count;
    return 0;
}

static PyObject *mask(PyObject *self, PyObject *arguments)
{
    PyObject *capsule, *data, *result, *shown;
    const struct patterns *patterns;
    const unsigned char *text;
    Py_ssize_t size, covered, at = 0, copied, end, length = 0, room = 0;
    int is_masked, is_last, failed = 0, is_untouched;
    char *out = NULL;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "OO!npp:mask", &capsule, &PyBytes_Type, &data, &covered, &is_masked, &is_last))
        return NULL;
    patterns = PyCapsule_GetPointer(capsule, NULL);
    if (patterns == NULL)
        return NULL;
    text = (const unsigned char *)PyBytes_AS_STRING(data);
    size = PyBytes_GET_SIZE(data);
    if (covered < 0 || covered > size) {
        PyErr_SetString(PyExc_ValueError, "no more can be covered than there is");
        return NULL;
    }
    copied = end = covered; /* what is before needs no output; `end` is where the match that is masked now ends */
    is_untouched = covered == 0;
    for (; at < size && !failed; at++) {
        Py_ssize_t left = size - at, longest = 0;
        int is_partial = 0;

        if (left > 1) {
            unsigned int pair = (unsigned int)text[at] << 8 | text[at + 1];

            if (!(patterns->pairs[pair / 64] >> pair % 64 & 1))
                continue;
        }
        for (int32_t i = patterns->first[text[at]]; i >= 0 && longest == 0; i = patterns->all[i].next) {
            const struct pattern *pattern = &patterns->all[i];

            if (pattern->length <= left) {
                if (memcmp(text + at, pattern->text, (size_t)pattern->length) == 0)
                    longest = pattern->length;
            } else if (!is_last && memcmp(text + at, pattern->text, (size_t)left) == 0) {
                is_partial = 1;
            }
        }
        if (is_partial)
            break;
        if (longest == 0)
            continue;
        is_untouched = 0;
        if (!is_masked || at >= end) { /* else it overlaps the one before, and is part of the same mask */
            if (copied < at)
                failed = append(&out, &length, &room, text + copied, at - copied);
            failed |= append(&out, &length, &room, "***", 3);
            is_masked = 1;
            end = 0;
        }
        if (at + longest > end)
            end = at + longest;
        if (end > copied)
            copied = end;
    }
    if (failed) {
        PyMem_RawFree(out);
        return PyErr_NoMemory();
    }
    if (is_untouched && at == size) {
        shown = Py_NewRef(data);
    } else {
        if (copied < at && append(&out, &length, &room, text + copied, at - copied) < 0) {
            PyMem_RawFree(out);
            return PyErr_NoMemory();
        }
        shown = PyBytes_FromStringAndSize(out, length);
    }
    PyMem_RawFree(out);
    covered = copied > at ? copied - at : 0;
    result = Py_BuildValue("NnnO", shown, at, covered, covered > 0 && is_masked ? Py_True : Py_False);
    return result;
}

/* --- processes ----------------------------------------------------------------------------------------------- */

static PyObject *fork_process(PyObject *self, PyObject *none)
{
    pid_t pid;
    int error;

    (void)self, (void)none;
    PyOS_BeforeFork();
    pid = fork();
    error = errno;
    if (pid == 0)
        PyOS_AfterFork_Child();
    else
        PyOS_AfterFork_Parent();
    errno = error;
    return number_or_error(pid);
}

/* Whether the service can be started before its init is made: its end must be told, it is not given a terminal, and its
 * orphans come to us, which is arranged here. No exception is made of ENXIO, the usual answer: that takes longer. */
static PyObject *can_start_at_once(PyObject *self, PyObject *none)
{
    struct sigaction children;
    int terminal;

    (void)self, (void)none;
    if (sigaction(SIGCHLD, NULL, &children) < 0 || children.sa_handler == SIG_IGN)
        Py_RETURN_FALSE;
    do
        terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    while (terminal < 0 && errno == EINTR);
    if (terminal >= 0)
        close(terminal);
    if (terminal >= 0 || errno != ENXIO)
        Py_RETURN_FALSE;
    return PyBool_FromLong(getpid() == 1 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
}

/* In the child of vfork(2): our memory is the parent's, so only system calls happen here, and in a frame of its
 * own, since the parent goes on with all that the child has changed. */
__attribute__((noinline, noreturn)) static void become(char **paths, char **arguments, char **environment, int ignores_children, volatile int *has_failed)
{
    setpgid(0, 0);
    if (ignores_children)
        signal(SIGCHLD, SIG_IGN);
    shim_set_mask(shim_birth_mask);
    for (; *paths != NULL; paths++) {
        execve(*paths, arguments, environment);
        if ((errno == ENOENT && access(*paths, F_OK) == 0) || (errno != ENOENT && errno != ENOTDIR && errno != EACCES))
            break;
    }
    *has_failed = 1;
    _exit(127);
}

/* Whether a variable names a process, as systemd's do: for the service, child.py has to change it. */
static int names_process(char **environment)
{
    for (; *environment != NULL; environment++)
        if (strncmp(*environment, "LISTEN_PID=", 11) == 0 || strncmp(*environment, "WATCHDOG_PID=", 13) == 0)
            return 1;
    return 0;
}

static PyObject *spawn(PyObject *self, PyObject *arguments)
{
    PyObject *path_list, *argument_list, *environment_list, *result = NULL;
    char **paths, **argument_strings = NULL, **environment_strings = NULL;
    volatile int has_failed = 0;
    int ignores_children;
    pid_t pid;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "O!O!O!p:spawn", &PyList_Type, &path_list, &PyList_Type, &argument_list,
                          &PyList_Type, &environment_list, &ignores_children))
        return NULL;
    paths = shim_strings(path_list);
    if (paths != NULL && (argument_strings = shim_strings(argument_list)) != NULL &&
        (environment_strings = shim_strings(environment_list)) != NULL) {
        pid = 0;
        if (!names_process(environment_strings) && (pid = vfork()) == 0)
            become(paths, argument_strings, environment_strings, ignores_children, &has_failed);
        if (has_failed) {
            while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
            pid = 0;
        }
        result = number_or_error(pid);
    }
    PyMem_RawFree(paths);
    PyMem_RawFree(argument_strings);
    PyMem_RawFree(environment_strings);
    return result;
}

/* Take all who have ended. Return the exit code of `child`, -1 when it was not among them. */
static int take_ended(pid_t child)
{
    int status, code = -1;
    pid_t ended;

    while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
        if (ended == child)
            code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return code;
}

/* The service runs: what it does not need of us goes. */
static void let_go(void)
{
    shim_close_range(3, ~0U);
    (void)!chdir("/");
    shim_give_up_reading();
    dl_iterate_phdr(drop_segment, NULL);
}

/* The first look is before anything is let go of: on a busy machine, the service has our processor until its end. */
static PyObject *first_moment(PyObject *self, PyObject *arguments)
{
    double deadline, seconds, left = 0;
    siginfo_t info;
    int child, number, code = -1, ends_too, has_let_go = 0;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "idp:first_moment", &child, &seconds, &ends_too))
        return NULL;
    deadline = now() + seconds;
    for (;;) {
        number = shim_next_signal(left, &info);
        if (number < 0)
            return PyErr_SetFromErrno(PyExc_OSError);
        if (number == SIGCHLD && info.si_code > 0) { /* else a process sent it: it is to be forwarded like any other */
            code = take_ended(child);
            if (code >= 0)
                break;
        } else if (number > 0 || has_let_go) {
            break;
        }
        if (!has_let_go)
            let_go();
        has_let_go = 1;
        left = deadline - now();
        if (left < 0)
            left = 0;
    }
    if (code < 0 && !has_let_go)
        let_go();
    if (code >= 0 && getpid() != 1)
        kill(-child, SIGTERM); /* what it left in its group; as PID 1 our own end is theirs */
    if (code >= 0 && ends_too)
        _exit(code);
    return Py_BuildValue("iN", code, code < 0 && number > 0 ? shim_signal(&info) : Py_NewRef(Py_None));
}

static PyObject *own_pid(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    return PyLong_FromLong(getpid());
}

static PyObject *parent_pid(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    return PyLong_FromLong(getppid());
}

static PyObject *own_group(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    return PyLong_FromLong(getpgrp());
}

static PyObject *change_folder(PyObject *self, PyObject *path)
{
    char *text;

    (void)self;
    if (PyBytes_AsStringAndSize(path, &text, NULL) < 0)
        return NULL;
    if (chdir(text) < 0)
        return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
    Py_RETURN_NONE;
}

static PyObject *send_signal(PyObject *self, PyObject *arguments)
{
    int pid, number;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "ii:kill", &pid, &number))
        return NULL;
    if (kill(pid, number) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *set_group(PyObject *self, PyObject *arguments)
{
    int pid, group;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "ii:setpgid", &pid, &group))
        return NULL;
    if (setpgid(pid, group) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *wait_for(PyObject *self, PyObject *arguments)
{
    int pid, options, status = 0;
    pid_t ended;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "ii:waitpid", &pid, &options))
        return NULL;
    do
        ended = waitpid(pid, &status, options);
    while (ended < 0 && errno == EINTR);
    return ended < 0 ? PyErr_SetFromErrno(PyExc_OSError) : Py_BuildValue("ii", (int)ended, status);
}

static PyObject *open_file(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"path", "flags", "mode", "dir_fd", NULL};
    PyObject *path;
    int flags, mode = 0777, folder = AT_FDCWD, descriptor;
    char *text;

    (void)self;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "Oi|i$i:open", names, &path, &flags, &mode, &folder) ||
        PyBytes_AsStringAndSize(path, &text, NULL) < 0)
        return NULL;
    do
        descriptor = openat(folder, text, flags | O_CLOEXEC, mode);
    while (descriptor < 0 && errno == EINTR);
    if (descriptor < 0)
        return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
    return PyLong_FromLong(descriptor);
}

static PyObject *close_file(PyObject *self, PyObject *descriptor)
{
    int number = (int)PyLong_AsLong(descriptor);

    (void)self;
    if (PyErr_Occurred())
        return NULL;
    if (close(number) < 0 && errno != EINTR)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyMethodDef kernel_functions[] = {
    {"signal_descriptor", signal_descriptor, METH_NOARGS, NULL},
    {"can_start_at_once", can_start_at_once, METH_NOARGS, NULL},
    {"spawn", spawn, METH_VARARGS, NULL},
    {"first_moment", first_moment, METH_VARARGS, NULL},
    {"inotify_open", inotify_open, METH_NOARGS, NULL},
    {"inotify_watch", inotify_watch, METH_VARARGS, NULL},
    {"monotonic", monotonic, METH_NOARGS, NULL},
    {"settle", settle, METH_NOARGS, NULL},
    {"wipe_what_is_freed", wipe_what_is_freed, METH_NOARGS, NULL},
    {"forget_variable", forget_variable, METH_O, NULL},
    {"mask_patterns", mask_patterns, METH_O, NULL},
    {"mask", mask, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef posix_functions[] = {
    {"fork", fork_process, METH_NOARGS, NULL},
    {"getpid", own_pid, METH_NOARGS, NULL},
    {"getppid", parent_pid, METH_NOARGS, NULL},
    {"getpgrp", own_group, METH_NOARGS, NULL},
    {"chdir", change_folder, METH_O, NULL},
    {"kill", send_signal, METH_VARARGS, NULL},
    {"setpgid", set_group, METH_VARARGS, NULL},
    {"waitpid", wait_for, METH_VARARGS, NULL},
    {"open", (PyCFunction)(void (*)(void))open_file, METH_VARARGS | METH_KEYWORDS, NULL},
    {"close", close_file, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

int shim_add_staying(PyObject *kernel, PyObject *posix)
{
    if (PyModule_AddFunctions(kernel, kernel_functions) < 0)
        return -1;
    return PyModule_AddFunctions(posix, posix_functions);
}
