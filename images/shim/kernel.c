/* The module `_kernel`: what the way to exec needs of Linux and CPython's own modules cannot do exactly.
 *
 * argv and environment are lists of bytes as the kernel laid them down, so that duplicates, entries without "=" and
 * bytes that are not text pass through. Signals are handled by raw system calls: libc keeps two of the 64 for itself.
 * typing/_kernel.pyi says what each function promises.
 */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "hot.h"
#include "start.h"
#include "staying.h"

#define LAST_SIGNAL 64
#define BIT(number) (UINT64_C(1) << ((number) - 1))
#define ALL_SIGNALS (~UINT64_C(0))

/* --- signals ------------------------------------------------------------------------------------------------ */

/* rt_sigaction(2) as the kernel takes it, the same on x86-64 and arm64. */
struct action {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

/* Their default action ends no process (signal(7)), or they are of our own making: a fault is delivered even while it
 * is blocked, and a write of ours that fails (PIPE, XFSZ) must not end the start. */
#define NEVER_ENDS_THE_START                                                                                           \
    (BIT(SIGKILL) | BIT(SIGSTOP) | BIT(SIGCHLD) | BIT(SIGCONT) | BIT(SIGTSTP) | BIT(SIGTTIN) | BIT(SIGTTOU) |          \
     BIT(SIGURG) | BIT(SIGWINCH) | BIT(SIGPIPE) | BIT(SIGXFSZ) | BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGILL) |            \
     BIT(SIGFPE) | BIT(SIGTRAP) | BIT(SIGSYS))

static uint64_t ending_signals; /* those that have our handler */

static int change_action(int number, const struct action *wanted, struct action *before)
{
    return (int)syscall(SYS_rt_sigaction, number, wanted, before, sizeof(uint64_t));
}

static void end_the_start(int number)
{
    _exit(128 + number);
}

static void never_returns(void)
{
}

static PyObject *end_on_stop_signals(PyObject *self, PyObject *none)
{
    /* x86-64 refuses to deliver without SA_RESTORER (0x04000000); where to return to does not matter, nobody does. */
    struct action ours = {end_the_start, 0x04000000UL, never_returns, ALL_SIGNALS};
    struct action before;

    (void)self, (void)none;
    for (int number = 1; number <= LAST_SIGNAL; number++) {
        if (NEVER_ENDS_THE_START & BIT(number))
            continue;
        /* All are blocked, so that nothing happens between these two calls. A signal that some layer below keeps for
         * itself (valgrind does) stays blocked until the service has it. */
        if (change_action(number, &ours, &before) < 0)
            continue;
        if (before.handler == end_the_start || before.handler == SIG_DFL)
            ending_signals |= BIT(number);
        else if (change_action(number, &before, NULL) < 0)
            return PyErr_SetFromErrno(PyExc_OSError);
    }
    shim_set_mask(ALL_SIGNALS & ~(ending_signals & ~shim_birth_mask));
    Py_RETURN_NONE;
}

static PyObject *block_signals(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    shim_set_mask(ALL_SIGNALS);
    Py_RETURN_NONE;
}

static PyObject *restore_signals(PyObject *self, PyObject *none)
{
    const struct action plain = {SIG_DFL, 0, NULL, 0};

    (void)self, (void)none;
    for (int number = 1; ending_signals != 0 && number <= LAST_SIGNAL; number++) {
        if (!(ending_signals & BIT(number)))
            continue;
        if (change_action(number, &plain, NULL) < 0)
            return PyErr_SetFromErrno(PyExc_OSError);
        ending_signals &= ~BIT(number);
    }
    shim_set_mask(shim_birth_mask);
    Py_RETURN_NONE;
}

static PyObject *set_mask(PyObject *self, PyObject *mask)
{
    uint64_t wanted = PyLong_AsUnsignedLongLong(mask);

    (void)self;
    if (PyErr_Occurred())
        return NULL;
    return PyLong_FromUnsignedLongLong(shim_set_mask(wanted));
}

static PyObject *disposition(PyObject *self, PyObject *argument)
{
    int number = (int)PyLong_AsLong(argument);
    struct action now;

    (void)self;
    if (PyErr_Occurred())
        return NULL;
    if (change_action(number, NULL, &now) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromLong(now.handler == SIG_DFL ? 0 : now.handler == SIG_IGN ? 1 : 2);
}

static PyObject *set_disposition(PyObject *self, PyObject *arguments)
{
    struct action wanted = {SIG_DFL, 0, NULL, 0};
    int number, kind;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "ii:set_disposition", &number, &kind))
        return NULL;
    if (kind != 0 && kind != 1) {
        PyErr_SetString(PyExc_ValueError, "a disposition is 0 (default) or 1 (ignored)");
        return NULL;
    }
    wanted.handler = kind ? SIG_IGN : SIG_DFL;
    if (change_action(number, &wanted, NULL) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    if (number >= 1 && number <= LAST_SIGNAL)
        ending_signals &= ~BIT(number);
    Py_RETURN_NONE;
}

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int shim_next_signal(double seconds, siginfo_t *info)
{
    const uint64_t all = ALL_SIGNALS;
    double deadline = seconds < 0 ? 0 : seconds_now() + seconds;
    long number;

    for (;;) {
        struct timespec left = {(time_t)(seconds > 1e9 ? 1e9 : seconds), 0};

        left.tv_nsec = seconds > 1e9 ? 0 : (long)((seconds - (double)left.tv_sec) * 1e9);
        number = syscall(SYS_rt_sigtimedwait, &all, info, deadline == 0 ? NULL : &left, sizeof all);
        if (number > 0)
            return (int)number;
        if (errno == EAGAIN)
            return 0;
        if (errno != EINTR)
            return -1;
        if (deadline != 0 && (seconds = deadline - seconds_now()) < 0)
            seconds = 0;
    }
}

PyObject *shim_signal(const siginfo_t *info)
{
    return Py_BuildValue("iiIIik", info->si_signo, info->si_code, (unsigned)info->si_pid, (unsigned)info->si_uid,
                         info->si_status, (unsigned long)info->si_value.sival_ptr);
}

static PyObject *wait_signal(PyObject *self, PyObject *timeout)
{
    double seconds = PyFloat_AsDouble(timeout);
    siginfo_t info;
    int number;

    (void)self;
    if (PyErr_Occurred())
        return NULL;
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "a timeout is a number of seconds");
        return NULL;
    }
    if (seconds < 0)
        shim_before_long_sleep();
    number = shim_next_signal(seconds, &info);
    if (number == 0)
        Py_RETURN_NONE;
    return number < 0 ? PyErr_SetFromErrno(PyExc_OSError) : shim_signal(&info);
}

static PyObject *queue_signal(PyObject *self, PyObject *arguments)
{
    union sigval value;
    unsigned long bits;
    int pid, number;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "iik:sigqueue", &pid, &number, &bits))
        return NULL;
    value.sival_ptr = (void *)bits;
    if (sigqueue(pid, number, value) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

/* --- exec ---------------------------------------------------------------------------------------------------- */

char **shim_strings(PyObject *list)
{
    Py_ssize_t count = PyList_GET_SIZE(list);
    char **all = PyMem_RawCalloc((size_t)count + 1, sizeof *all);

    if (all == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        /* With no length asked for, a NUL byte inside is refused. */
        if (PyBytes_AsStringAndSize(PyList_GET_ITEM(list, i), &all[i], NULL) < 0) {
            PyMem_RawFree(all);
            return NULL;
        }
    }
    return all;
}

static PyObject *replace_process(PyObject *self, PyObject *arguments)
{
    PyObject *argument_list, *environment_list;
    char **argument_strings, **environment_strings;
    const char *path;
    int error;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "yO!O!:execve", &path, &PyList_Type, &argument_list, &PyList_Type,
                          &environment_list))
        return NULL;
    argument_strings = shim_strings(argument_list);
    if (argument_strings == NULL)
        return NULL;
    environment_strings = shim_strings(environment_list);
    if (environment_strings == NULL) {
        PyMem_RawFree(argument_strings);
        return NULL;
    }
    shim_set_mask(shim_birth_mask);
    execve(path, argument_strings, environment_strings);
    error = errno;
    shim_set_mask(ALL_SIGNALS);
    PyMem_RawFree(argument_strings);
    PyMem_RawFree(environment_strings);
    errno = error;
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* --- the environment ----------------------------------------------------------------------------------------- */

static int is_pointer(const char *name, Py_ssize_t length)
{
    return (length >= 5 && memcmp(name + length - 5, "_FILE", 5) == 0) ||
           (length >= 6 && memcmp(name, "FILE__", 6) == 0);
}

static PyObject *variables(PyObject *self, PyObject *environ)
{
    PyObject *all = PyDict_New(), *pointers = PyList_New(0);
    int failed = all == NULL || pointers == NULL || !PyList_Check(environ);

    (void)self;
    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(environ); i++) {
        PyObject *name, *value = NULL, *entry = PyList_GET_ITEM(environ, i);
        const char *text, *equals;
        Py_ssize_t length;

        if (!PyBytes_Check(entry)) {
            failed = 1;
            break;
        }
        text = PyBytes_AS_STRING(entry);
        length = PyBytes_GET_SIZE(entry);
        equals = memchr(text, '=', (size_t)length);
        if (equals == NULL || equals == text)
            continue;
        name = PyUnicode_DecodeUTF8(text, equals - text, "surrogateescape");
        value = PyBytes_FromStringAndSize(equals + 1, text + length - equals - 1);
        failed = name == NULL || value == NULL;
        if (!failed) {
            int is_second = PyDict_SetDefaultRef(all, name, value, NULL); /* getenv(3) takes the first of duplicates */

            failed = is_second < 0 ||
                     (!is_second && is_pointer(text, equals - text) && PyList_Append(pointers, name) < 0);
        }
        Py_XDECREF(value);
        Py_XDECREF(name);
    }
    if (failed) {
        Py_XDECREF(all);
        Py_XDECREF(pointers);
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "an environment is a list of bytes");
        return NULL;
    }
    return Py_BuildValue("NN", all, pointers);
}

/* Whether `name` is the text of `length` bytes. Names are ASCII, nearly always. */
static int is_name(PyObject *name, const char *text, Py_ssize_t length)
{
    return PyUnicode_IS_ASCII(name) && PyUnicode_GET_LENGTH(name) == length &&
           memcmp(PyUnicode_1BYTE_DATA(name), text, (size_t)length) == 0;
}

/* The names in `all` are those of the environment, in its order: one that is there need not be made, nor hashed, again. */
static PyObject *environ_without(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    PyObject *left = PyList_New(0), *next = NULL;
    Py_ssize_t at = 0;
    int failed = left == NULL || count != 3 || !PyList_Check(arguments[0]) || !PySet_Check(arguments[1]) ||
                 !PyDict_Check(arguments[2]);

    (void)self;
    if (!failed && (!PyDict_Next(arguments[2], &at, &next, NULL) || !PyUnicode_Check(next)))
        next = NULL;
    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(arguments[0]); i++) {
        PyObject *name, *entry = PyList_GET_ITEM(arguments[0], i);
        const char *text = PyBytes_Check(entry) ? PyBytes_AS_STRING(entry) : NULL;
        const char *equals = text ? memchr(text, '=', (size_t)PyBytes_GET_SIZE(entry)) : NULL;
        int is_dropped = 0;

        failed = text == NULL;
        if (equals != NULL) {
            int is_next = next != NULL && is_name(next, text, equals - text);

            name = is_next ? Py_NewRef(next) : PyUnicode_DecodeUTF8(text, equals - text, "surrogateescape");
            is_dropped = name ? PySet_Contains(arguments[1], name) : -1;
            failed = is_dropped < 0;
            if (!failed && next != NULL && (is_next || PyUnicode_Compare(name, next) == 0) &&
                (!PyDict_Next(arguments[2], &at, &next, NULL) || !PyUnicode_Check(next)))
                next = NULL;
            Py_XDECREF(name);
        }
        if (!failed && !is_dropped && strncmp(text, "SHIM_", 5) != 0)
            failed = PyList_Append(left, entry) < 0;
    }
    if (!failed)
        return left;
    Py_XDECREF(left);
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_TypeError, "this takes an environment, a list of bytes, a set of names, and the variables");
    return NULL;
}

/* --- files --------------------------------------------------------------------------------------------------- */

#define LARGEST_LIMIT (1 << 30) /* nobody wants more of one file, and no sum of two such numbers overflows */

/* Read at most `wanted` bytes, from 1 to LARGEST_LIMIT + 1, of an open regular file into a new bytes object. */
static PyObject *contents(int descriptor, off_t size, Py_ssize_t wanted)
{
    char small[4096];
    /* The size is the file system's word: it may be any number. More than we ask for is not to be expected. */
    Py_ssize_t expected = size < 0 ? 0 : size > wanted ? wanted : (Py_ssize_t)size;
    Py_ssize_t room = expected < (Py_ssize_t)sizeof small ? (Py_ssize_t)sizeof small : expected + 1;
    Py_ssize_t length = 0;
    PyObject *data = NULL;
    char *place = small;

    if (room > wanted)
        room = wanted;
    if (room > (Py_ssize_t)sizeof small) {
        data = PyBytes_FromStringAndSize(NULL, room);
        if (data == NULL)
            return NULL;
        place = PyBytes_AS_STRING(data);
    }
    for (;;) {
        ssize_t got = read(descriptor, place + length, (size_t)(room - length));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            Py_XDECREF(data);
            explicit_bzero(small, sizeof small);
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        length += got;
        /* As long as the file said it is: the end. Longer or shorter than that, it changes while we read. */
        if (got == 0 || length == wanted || (length == expected && expected > 0))
            break;
        if (length == room) {
            room = room > wanted / 2 ? wanted : room * 2;
            if (data == NULL) {
                data = PyBytes_FromStringAndSize(NULL, room);
                if (data == NULL)
                    return NULL;
                memcpy(PyBytes_AS_STRING(data), small, (size_t)length);
            } else if (_PyBytes_Resize(&data, room) < 0) {
                return NULL;
            }
            place = PyBytes_AS_STRING(data);
        }
    }
    if (data == NULL) {
        data = PyBytes_FromStringAndSize(small, length);
        explicit_bzero(small, (size_t)length); /* it was a value, and this stack is used again */
        return data;
    }
    return _PyBytes_Resize(&data, length) < 0 ? NULL : data;
}

static int is_limit(Py_ssize_t limit)
{
    if (limit >= 0 && limit <= LARGEST_LIMIT)
        return 1;
    PyErr_SetString(PyExc_ValueError, "a limit is a number of bytes");
    return 0;
}

/* Return the bytes of what is open, at most limit + 1 and none unless it is a regular file; fill `status`. */
static PyObject *contents_of(int descriptor, Py_ssize_t limit, struct stat *status)
{
    if (fstat(descriptor, status) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    if (!S_ISREG(status->st_mode))
        return PyBytes_FromStringAndSize(NULL, 0);
    return contents(descriptor, status->st_size, limit + 1);
}

/* O_NONBLOCK: a FIFO or a device would let us wait forever. */
#define TO_READ (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

static int open_to_read(int folder, const char *path, int flags)
{
    int descriptor;

    do
        descriptor = openat(folder, path, flags);
    while (descriptor < 0 && errno == EINTR);
    if (descriptor < 0)
        PyErr_SetFromErrno(PyExc_OSError);
    return descriptor;
}

static PyObject *read_file(PyObject *self, PyObject *arguments)
{
    PyObject *data;
    Py_ssize_t limit;
    struct stat status;
    int follow, descriptor;
    const char *path;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "ynp:read_file", &path, &limit, &follow) || !is_limit(limit))
        return NULL;
    descriptor = open_to_read(AT_FDCWD, path, TO_READ | (follow ? 0 : O_NOFOLLOW));
    if (descriptor < 0)
        return NULL;
    data = contents_of(descriptor, limit, &status);
    close(descriptor);
    if (data == NULL)
        return NULL;
    return Py_BuildValue("ILN", (unsigned)status.st_mode, (long long)status.st_size, data);
}

/* --- what lies in a folder that is open (folder.py) ----------------------------------------------------------- */

static PyObject *descriptor_or_error(int descriptor)
{
    return descriptor < 0 ? NULL : PyLong_FromLong(descriptor);
}

static PyObject *open_folder(PyObject *self, PyObject *arguments)
{
    const char *path;
    int follow;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "yp:open_folder", &path, &follow))
        return NULL;
    return descriptor_or_error(open_to_read(AT_FDCWD, path, TO_READ | O_DIRECTORY | (follow ? 0 : O_NOFOLLOW)));
}

static PyObject *open_path(PyObject *self, PyObject *arguments)
{
    const char *path;
    int folder;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "iy:open_path", &folder, &path))
        return NULL;
    return descriptor_or_error(open_to_read(folder, path, O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

/* getdents64(2) as the kernel lays it down. */
struct entry {
    uint64_t inode;
    int64_t next;
    unsigned short length;
    unsigned char type;
    char name[];
};

static PyObject *list_folder(PyObject *self, PyObject *argument)
{
    int descriptor = (int)PyLong_AsLong(argument);
    _Alignas(struct entry) char buffer[8192];
    PyObject *names;
    long got;

    (void)self;
    if (PyErr_Occurred())
        return NULL;
    if (lseek(descriptor, 0, SEEK_SET) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    names = PyList_New(0);
    while (names != NULL && (got = syscall(SYS_getdents64, descriptor, buffer, sizeof buffer)) != 0) {
        if (got < 0) {
            Py_DECREF(names);
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        for (long at = 0; names != NULL && at < got;) {
            const struct entry *entry = (const struct entry *)(buffer + at);
            PyObject *name;

            at += entry->length;
            if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
                continue;
            name = PyBytes_FromString(entry->name);
            if (name == NULL || PyList_Append(names, name) < 0)
                Py_CLEAR(names);
            Py_XDECREF(name);
        }
    }
    return names;
}

static PyObject *status_of(PyObject *self, PyObject *argument)
{
    int descriptor = (int)PyLong_AsLong(argument);
    struct stat status;

    (void)self;
    if (PyErr_Occurred())
        return NULL;
    if (fstat(descriptor, &status) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("II", (unsigned)status.st_mode, (unsigned)status.st_uid);
}

static PyObject *status_at(PyObject *self, PyObject *arguments)
{
    struct stat status;
    const char *name;
    int folder;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "iy:status_at", &folder, &name))
        return NULL;
    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("II", (unsigned)status.st_mode, (unsigned)status.st_uid);
}

static PyObject *mode_owner_and_data(int descriptor, Py_ssize_t limit)
{
    struct stat status;
    PyObject *data = contents_of(descriptor, limit, &status);

    if (data == NULL)
        return NULL;
    return Py_BuildValue("IILN", (unsigned)status.st_mode, (unsigned)status.st_uid, (long long)status.st_size, data);
}

static PyObject *read_open(PyObject *self, PyObject *arguments)
{
    Py_ssize_t limit;
    int descriptor;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "in:read_open", &descriptor, &limit) || !is_limit(limit))
        return NULL;
    return mode_owner_and_data(descriptor, limit);
}

/* Called once for each secret: its arguments are taken apart by hand. */
static int folder_name_and_limit(PyObject *const *arguments, Py_ssize_t count, int *folder, char **name,
                                 Py_ssize_t *limit)
{
    long number;

    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "this takes a descriptor, a name and a limit");
        return 0;
    }
    number = PyLong_AsLong(arguments[0]);
    if (number == -1 && PyErr_Occurred())
        return 0;
    *folder = (int)number;
    if (number != *folder) {
        PyErr_SetString(PyExc_OverflowError, "a descriptor is an int");
        return 0;
    }
    if (PyBytes_AsStringAndSize(arguments[1], name, NULL) < 0)
        return 0;
    *limit = PyLong_AsSsize_t(arguments[2]);
    return (*limit != -1 || !PyErr_Occurred()) && is_limit(*limit);
}

static PyObject *read_at(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    PyObject *result;
    Py_ssize_t limit;
    char *name;
    int folder, descriptor;

    (void)self;
    if (!folder_name_and_limit(arguments, count, &folder, &name, &limit))
        return NULL;
    descriptor = open_to_read(folder, name, TO_READ | O_NOFOLLOW);
    if (descriptor < 0)
        return NULL;
    result = mode_owner_and_data(descriptor, limit);
    close(descriptor);
    return result;
}

/* Return the value in a file's bytes, where no more than one line end is to be dropped, and the bytes. */
static PyObject *value_and_data(PyObject *data)
{
    const unsigned char *bytes = (const unsigned char *)PyBytes_AS_STRING(data);
    Py_ssize_t length = PyBytes_GET_SIZE(data);
    PyObject *value, *both;

    if (length > 0 && bytes[0] >= 0xef)
        value = Py_NewRef(Py_None);
    else if (length == 0 || bytes[length - 1] != '\n')
        value = Py_NewRef(data);
    else if (length > 1 && (bytes[length - 2] == '\n' || bytes[length - 2] == '\r'))
        value = Py_NewRef(Py_None);
    else
        value = PyBytes_FromStringAndSize((const char *)bytes, length - 1);
    both = value ? PyTuple_Pack(2, value, data) : NULL;
    Py_XDECREF(value);
    Py_DECREF(data);
    return both;
}

static PyObject *plain_file(int folder, const char *name, Py_ssize_t limit)
{
    PyObject *data = NULL;
    struct stat status;
    int descriptor = strchr(name, '/') ? -1 : openat(folder, name, TO_READ | O_NOFOLLOW);

    if (descriptor < 0)
        return NULL;
    if (fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) && status.st_size <= limit)
        data = contents(descriptor, status.st_size, limit + 1);
    close(descriptor);
    if (data != NULL && PyBytes_GET_SIZE(data) == status.st_size)
        return value_and_data(data);
    Py_XDECREF(data);
    PyErr_Clear();
    return NULL;
}

static PyObject *read_plain(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    PyObject *both;
    Py_ssize_t limit;
    char *name;
    int folder;

    (void)self;
    if (!folder_name_and_limit(arguments, count, &folder, &name, &limit))
        return NULL;
    both = plain_file(folder, name, limit);
    return both || PyErr_Occurred() ? both : Py_NewRef(Py_None);
}

PyObject *shim_read_short(int folder, const char *name)
{
    return plain_file(folder, name, 4095); /* what contents() reads in one go */
}

static PyObject *open_at(PyObject *self, PyObject *arguments)
{
    const char *name;
    int folder, is_folder;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "iyp:open_at", &folder, &name, &is_folder))
        return NULL;
    return descriptor_or_error(open_to_read(folder, name, TO_READ | O_NOFOLLOW | (is_folder ? O_DIRECTORY : 0)));
}

static PyObject *read_link_at(PyObject *self, PyObject *arguments)
{
    char target[4096]; /* PATH_MAX: no link holds more */
    const char *name;
    ssize_t length;
    int folder;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "iy:read_link_at", &folder, &name))
        return NULL;
    length = readlinkat(folder, name, target, sizeof target);
    return length < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyBytes_FromStringAndSize(target, length);
}

/* Nearly nothing on the way to a file is a link, and an exception for each folder takes longer than all else. */
static PyObject *link_target(PyObject *self, PyObject *path)
{
    char target[4096];
    ssize_t length;

    (void)self;
    if (!PyBytes_Check(path) || strlen(PyBytes_AS_STRING(path)) != (size_t)PyBytes_GET_SIZE(path))
        Py_RETURN_NONE;
    length = readlink(PyBytes_AS_STRING(path), target, sizeof target);
    if (length < 0)
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize(target, length);
}

static PyObject *open_beneath(PyObject *self, PyObject *arguments)
{
    /* openat2(2): struct open_how, with RESOLVE_NO_MAGICLINKS and RESOLVE_BENEATH */
    const struct {
        uint64_t flags, mode, resolve;
    } how = {TO_READ, 0, 0x02 | 0x08};
    const char *path;
    int folder;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "iy:open_beneath", &folder, &path))
        return NULL;
    for (;;) {
        long descriptor = syscall(437, folder, path, &how, sizeof how);

        if (descriptor >= 0)
            return PyLong_FromLong(descriptor);
        if (errno != EINTR)
            return PyErr_SetFromErrno(PyExc_OSError);
    }
}

/* --- the process and its limits ------------------------------------------------------------------------------- */

static PyObject *control_process(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    unsigned long numbers[5] = {0, 0, 0, 0, 0};
    int answer;

    (void)self;
    if (count < 1 || count > 5) {
        PyErr_SetString(PyExc_TypeError, "prctl takes an option and up to four numbers");
        return NULL;
    }
    for (Py_ssize_t at = 0; at < count; at++) {
        numbers[at] = PyLong_AsUnsignedLongMask(arguments[at]);
        if (numbers[at] == (unsigned long)-1 && PyErr_Occurred())
            return NULL;
    }
    answer = prctl((int)numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]);
    return answer < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(answer);
}

/* capget(2) and capset(2), version 3: two words of 32 bits for each set. */
struct capability_sets {
    uint32_t effective, permitted, inheritable;
};

static PyObject *capabilities(PyObject *self, PyObject *none)
{
    struct {
        uint32_t version;
        int pid;
    } header = {0x20080522, 0};
    struct capability_sets sets[2];

    (void)self, (void)none;
    if (syscall(SYS_capget, &header, sets) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("KKK", (unsigned long long)sets[1].effective << 32 | sets[0].effective,
                         (unsigned long long)sets[1].permitted << 32 | sets[0].permitted,
                         (unsigned long long)sets[1].inheritable << 32 | sets[0].inheritable);
}

static PyObject *set_capabilities(PyObject *self, PyObject *arguments)
{
    struct {
        uint32_t version;
        int pid;
    } header = {0x20080522, 0};
    unsigned long long effective, permitted, inheritable;
    struct capability_sets sets[2];

    (void)self;
    if (!PyArg_ParseTuple(arguments, "KKK:set_capabilities", &effective, &permitted, &inheritable))
        return NULL;
    for (int word = 0; word < 2; word++)
        sets[word] = (struct capability_sets){(uint32_t)(effective >> 32 * word), (uint32_t)(permitted >> 32 * word),
                                              (uint32_t)(inheritable >> 32 * word)};
    if (syscall(SYS_capset, &header, sets) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

#define DAC_CAPABILITIES (1U << 1 | 1U << 2) /* CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH */

void shim_give_up_reading(void)
{
    struct {
        uint32_t version;
        int pid;
    } header = {0x20080522, 0};
    struct capability_sets sets[2];

    if (geteuid() != 0) /* what another user was given is the service's, which would lose it with us */
        return;
    if (syscall(SYS_capget, &header, sets) < 0 || !(sets[0].permitted & DAC_CAPABILITIES))
        return;
    sets[0].effective &= ~DAC_CAPABILITIES;
    sets[0].permitted &= ~DAC_CAPABILITIES;
    syscall(SYS_capset, &header, sets); /* the service runs already: a filter (systemd's ~@privileged) must not end it */
}

static PyObject *give_up_reading(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    shim_give_up_reading();
    Py_RETURN_NONE;
}

static PyObject *set_limit(PyObject *self, PyObject *arguments)
{
    struct rlimit limit;
    unsigned long soft, hard;
    int resource;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "ikk:setrlimit", &resource, &soft, &hard)) /* k: -1 is RLIM_INFINITY */
        return NULL;
    limit.rlim_cur = soft;
    limit.rlim_max = hard;
    if (setrlimit(resource, &limit) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *filesystem_type(PyObject *self, PyObject *argument)
{
    struct statfs status;
    char *path = NULL;
    int descriptor = PyLong_Check(argument) ? (int)PyLong_AsLong(argument) : -1;

    (void)self;
    if (PyErr_Occurred() || (!PyLong_Check(argument) && PyBytes_AsStringAndSize(argument, &path, NULL) < 0))
        return NULL;
    if ((path ? statfs(path, &status) : fstatfs(descriptor, &status)) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromUnsignedLong((unsigned long)status.f_type & 0xffffffffUL);
}

int shim_close_range(unsigned int first, unsigned int last)
{
    struct rlimit limit;

    if (syscall(SYS_close_range, first, last, 0) == 0)
        return 0;
    if (errno != ENOSYS && errno != EPERM) /* before Linux 5.9; some engines' filters answer EPERM instead */
        return -1;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max != RLIM_INFINITY && last >= limit.rlim_max)
        last = (unsigned int)limit.rlim_max;
    for (unsigned int descriptor = first; descriptor <= last && descriptor != ~0U; descriptor++)
        close((int)descriptor);
    return 0;
}

static PyObject *close_descriptors(PyObject *self, PyObject *arguments)
{
    unsigned int first, last;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "II:close_range", &first, &last))
        return NULL;
    if (shim_close_range(first, last) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

/* --- the module ---------------------------------------------------------------------------------------------- */

static PyMethodDef functions[] = {
    {"end_on_stop_signals", end_on_stop_signals, METH_NOARGS, NULL},
    {"block_signals", block_signals, METH_NOARGS, NULL},
    {"restore_signals", restore_signals, METH_NOARGS, NULL},
    {"execve", replace_process, METH_VARARGS, NULL},
    {"read_file", read_file, METH_VARARGS, NULL},
    {"open_folder", open_folder, METH_VARARGS, NULL},
    {"open_path", open_path, METH_VARARGS, NULL},
    {"list_folder", list_folder, METH_O, NULL},
    {"status", status_of, METH_O, NULL},
    {"status_at", status_at, METH_VARARGS, NULL},
    {"read_open", read_open, METH_VARARGS, NULL},
    {"read_at", (PyCFunction)(void (*)(void))read_at, METH_FASTCALL, NULL},
    {"environ_without", (PyCFunction)(void (*)(void))environ_without, METH_FASTCALL, NULL},
    {"variables", variables, METH_O, NULL},
    {"read_plain", (PyCFunction)(void (*)(void))read_plain, METH_FASTCALL, NULL},
    {"open_at", open_at, METH_VARARGS, NULL},
    {"read_link_at", read_link_at, METH_VARARGS, NULL},
    {"link_target", link_target, METH_O, NULL},
    {"open_beneath", open_beneath, METH_VARARGS, NULL},
    {"prctl", (PyCFunction)(void (*)(void))control_process, METH_FASTCALL, NULL},
    {"capabilities", capabilities, METH_NOARGS, NULL},
    {"set_capabilities", set_capabilities, METH_VARARGS, NULL},
    {"give_up_reading", give_up_reading, METH_NOARGS, NULL},
    {"setrlimit", set_limit, METH_VARARGS, NULL},
    {"filesystem_type", filesystem_type, METH_O, NULL},
    {"close_range", close_descriptors, METH_VARARGS, NULL},
    {"wait_signal", wait_signal, METH_O, NULL},
    {"disposition", disposition, METH_O, NULL},
    {"set_disposition", set_disposition, METH_VARARGS, NULL},
    {"set_mask", set_mask, METH_O, NULL},
    {"sigqueue", queue_signal, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_kernel", .m_size = -1, .m_methods = functions};

static PyObject *bytes_of(char **all)
{
    PyObject *list = PyList_New(0);

    for (; list != NULL && *all != NULL; all++) {
        PyObject *item = PyBytes_FromString(*all);

        if (item == NULL || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

static int add(PyObject *module, const char *name, PyObject *value)
{
    int failed = value == NULL || PyModule_AddObjectRef(module, name, value) < 0;

    Py_XDECREF(value);
    return failed;
}

PyObject *shim_kernel_module(void)
{
    PyObject *module = PyModule_Create(&definition);

    if (module == NULL || add(module, "argv", bytes_of(shim_argv)) || add(module, "environ", bytes_of(shim_environ)) ||
        add(module, "birth_mask", PyLong_FromUnsignedLongLong(shim_birth_mask)))
        Py_CLEAR(module);
    return module;
}
