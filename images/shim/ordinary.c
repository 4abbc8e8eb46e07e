/* What is ordinary among pointers, names and files, in one pass each; the rest is left to Python.
 *
 * Ordinary is what nearly all containers have: `KEY_FILE=/run/secrets/name` in upper case, a key that is none of
 * the protected names, a file that simply lies there with one short line in it. Whatever this does not take, it leaves as it
 * was, and sources.py and resolve.py decide; whatever it takes, they would take in the same way. tests/sanitized compares the
 * two. The tables are theirs (protected.py and resolve.py), so that each name is written in one place.
 */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "start.h"

#define LONGEST_KEY 255

struct text {
    const char *start;
    size_t length;
};

/* Return the bytes of ASCII text; of all else, of which no key is made, none. */
static inline struct text text_of(PyObject *string)
{
    if (!PyUnicode_Check(string) || !PyUnicode_IS_ASCII(string))
        return (struct text){"", 0};
    return (struct text){(const char *)PyUnicode_1BYTE_DATA(string), (size_t)PyUnicode_GET_LENGTH(string)};
}

static struct text bytes_of(PyObject *bytes)
{
    return (struct text){PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes)};
}

/* Return a string of ASCII text. */
static PyObject *string_of(struct text text)
{
    PyObject *string;

    if (text.length < 2) /* CPython has these */
        return PyUnicode_FromStringAndSize(text.start, (Py_ssize_t)text.length);
    string = PyUnicode_New((Py_ssize_t)text.length, 127);
    if (string != NULL)
        memcpy(PyUnicode_1BYTE_DATA(string), text.start, text.length);
    return string;
}

static int is_same(struct text one, struct text other)
{
    return one.length == other.length && memcmp(one.start, other.start, one.length) == 0;
}

static int begins_with(struct text text, struct text start)
{
    return text.length >= start.length && text.start[0] == start.start[0] &&
           memcmp(text.start, start.start, start.length) == 0;
}

static int ends_with(struct text text, struct text end)
{
    return text.length >= end.length && text.start[text.length - 1] == end.start[end.length - 1] &&
           memcmp(text.start + text.length - end.length, end.start, end.length) == 0;
}

/* Which pairs of characters a table's entries begin or end with, nearly: most texts have none of them. */
struct pairs {
    uint64_t seen[4];
    int has_short; /* an entry of less than two characters, or of another kind: the table is to be looked through */
};

static unsigned pair_of(const char *two)
{
    return ((unsigned char)two[0] * 31U + (unsigned char)two[1]) % 256;
}

static void add_pair(struct pairs *pairs, struct text text, size_t at)
{
    unsigned pair;

    if (text.length < 2) {
        pairs->has_short = 1;
        return;
    }
    pair = pair_of(text.start + at);
    pairs->seen[pair / 64] |= UINT64_C(1) << pair % 64;
}

/* Whether no entry of the table begins, or ends, with these two characters. */
static inline int none_has(const struct pairs *pairs, const char *two)
{
    unsigned pair = pair_of(two);

    return !pairs->has_short && !(pairs->seen[pair / 64] >> pair % 64 & 1);
}

struct texts {
    PyObject *all;
    struct pairs pairs;
};

static struct texts ends_of(PyObject *texts)
{
    struct texts ends = {texts, {{0}, 0}};

    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(texts); i++) {
        struct text text = text_of(PyTuple_GET_ITEM(texts, i));

        add_pair(&ends.pairs, text, text.length - 2);
    }
    return ends;
}

static inline int ends_with_any(struct text text, const struct texts *ends)
{
    if (text.length >= 2 && none_has(&ends->pairs, text.start + text.length - 2))
        return 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(ends->all); i++)
        if (ends_with(text, text_of(PyTuple_GET_ITEM(ends->all, i))))
            return 1;
    return 0;
}

/* Whether `row`, words with a space on either side of each, holds this one. */
static int has_word(struct text row, struct text word)
{
    const char *at = row.start, *end = row.start + row.length;

    while ((at = memmem(at, (size_t)(end - at), word.start, word.length)) != NULL) {
        if (at > row.start && at[-1] == ' ' && at + word.length < end && at[word.length] == ' ')
            return 1;
        at++;
    }
    return 0;
}

/* The tables of protected.py: rows, pairs, starts and ends. */
struct tables {
    PyObject *rows, *pairs, *starts;
    struct texts ends;
    struct pairs seconds[26]; /* what `pairs` has for a first letter, once a key began with it */
    uint32_t has_seconds;
};

static int tables_of(PyObject *tuple, struct tables *tables)
{
    PyObject *ends;

    if (!PyArg_ParseTuple(tuple, "O!O!O!O!:tables", &PyTuple_Type, &tables->rows, &PyTuple_Type, &tables->pairs,
                          &PyTuple_Type, &tables->starts, &PyTuple_Type, &ends))
        return 0;
    tables->ends = ends_of(ends);
    tables->has_seconds = 0;
    return 1;
}

/* Whether two characters surely follow that first letter in no entry. */
static int none_follows(struct tables *tables, Py_ssize_t first, struct text row, const char *two)
{
    struct pairs *seconds = &tables->seconds[first];

    if (!(tables->has_seconds >> first & 1)) {
        *seconds = (struct pairs){{0}, 0};
        for (size_t at = 0; at + 2 <= row.length; at++)
            add_pair(seconds, row, at);
        tables->has_seconds |= UINT32_C(1) << first;
    }
    return none_has(seconds, two);
}

/* Whether a key is upper case, begins with a letter, names no file, and is surely not protected. */
static int is_ordinary_key(struct text key, struct tables *tables)
{
    const struct text file = {"_FILE", 5}, in_front = {"FILE__", 6};
    struct text row, pair, family = key;
    const char *underscore;
    Py_ssize_t first;

    if (key.length < 3 || key.length > LONGEST_KEY || key.start[0] < 'A' || key.start[0] > 'Z')
        return 0;
    for (size_t i = 1; i < key.length; i++)
        if (!((key.start[i] >= 'A' && key.start[i] <= 'Z') || (key.start[i] >= '0' && key.start[i] <= '9') ||
              key.start[i] == '_'))
            return 0;
    if (key.start[key.length - 1] == '_' || ends_with(key, file) || begins_with(key, in_front) ||
        ends_with_any(key, &tables->ends))
        return 0;
    first = key.start[0] - 'A';
    if (first >= PyTuple_GET_SIZE(tables->rows) || first >= PyTuple_GET_SIZE(tables->pairs))
        return 0;
    pair = text_of(PyTuple_GET_ITEM(tables->pairs, first));
    if (key.start[1] != '_' && (none_follows(tables, first, pair, key.start + 1) ||
                                memmem(pair.start, pair.length, key.start + 1, 2) == NULL))
        return 1;
    row = text_of(PyTuple_GET_ITEM(tables->rows, first));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tables->starts); i++)
        if (begins_with(key, text_of(PyTuple_GET_ITEM(tables->starts, i))))
            return 0;
    underscore = memchr(key.start, '_', key.length);
    if (underscore != NULL)
        family.length = (size_t)(underscore - key.start) + 1;
    return !has_word(row, key) && (underscore == NULL || !has_word(row, family));
}

/* Return the root that a path names a file of, as a borrowed reference; NULL when it is not simply one. */
static PyObject *root_of(struct text path, PyObject *roots)
{
    const char *slash = memrchr(path.start, '/', path.length);
    struct text folder = {path.start, slash ? (size_t)(slash - path.start) : 0};
    struct text name = {slash ? slash + 1 : path.start, slash ? path.length - folder.length - 1 : 0};

    if (name.length == 0 || folder.length == 0 || (path.start[0] != '/' && path.start[0] != '.') ||
        name.start[0] == '.' || strchr(" \t\r\n", name.start[name.length - 1]) != NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(roots); i++)
        if (PyBytes_Check(PyList_GET_ITEM(roots, i)) && is_same(folder, bytes_of(PyList_GET_ITEM(roots, i))))
            return PyList_GET_ITEM(roots, i);
    return NULL;
}

/* Whether programs read the variable of a key as a path, or may. */
static int is_path(struct text variable, struct text key, PyObject *paths, const struct texts *documents)
{
    char with_underscore[LONGEST_KEY + 1] = "_";

    if (PyTuple_GET_SIZE(paths) != 26)
        return 1;
    memcpy(with_underscore + 1, key.start, key.length);
    return (key.start[0] == 'K' && key.start[1] == 'C') ||
           ends_with_any((struct text){with_underscore, key.length + 1}, documents) ||
           has_word(text_of(PyTuple_GET_ITEM(paths, key.start[0] - 'A')), variable);
}

/* Return path and root of a variable that is an ordinary pointer, and NULL for all else, perhaps with an exception. */
static PyObject *place_of(PyObject *name, PyObject *environment, PyObject *roots, struct tables *tables,
                          PyObject *paths, const struct texts *documents)
{
    PyObject *path = PyDict_GetItemWithError(environment, name), *root;
    struct text variable = text_of(name), key = variable;

    if (path == NULL || !PyBytes_Check(path) || !ends_with(variable, (struct text){"_FILE", 5}))
        return NULL;
    root = root_of(bytes_of(path), roots);
    key.length -= 5;
    if (root == NULL || !is_ordinary_key(key, tables) || is_path(variable, key, paths, documents))
        return NULL;
    return PyTuple_Pack(2, path, root);
}

static int take_pointer(PyObject *taken, PyObject *name, PyObject *place)
{
    struct text variable = text_of(name);
    PyObject *key = string_of((struct text){variable.start, variable.length - 5});
    int failed = key == NULL || PyDict_SetItem(taken, key, place) < 0;

    Py_XDECREF(key);
    return failed ? -1 : 0;
}

static PyObject *ordinary_pointers(PyObject *self, PyObject *arguments)
{
    PyObject *environment, *names, *roots, *tuple, *paths, *texts, *taken, *left = PyList_New(0);
    struct tables tables;
    struct texts documents;
    int failed = left == NULL || !PyArg_ParseTuple(arguments, "O!O!O!O!O!O!O!:ordinary_pointers", &PyDict_Type,
                                                   &environment, &PyList_Type, &names, &PyList_Type, &roots,
                                                   &PyTuple_Type, &tuple, &PyTuple_Type, &paths, &PyTuple_Type,
                                                   &texts, &PyDict_Type, &taken) ||
                 !tables_of(tuple, &tables);

    (void)self;
    if (!failed)
        documents = ends_of(texts);
    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(names); i++) {
        PyObject *name = PyList_GET_ITEM(names, i);
        PyObject *place = place_of(name, environment, roots, &tables, paths, &documents);

        failed = PyErr_Occurred() != NULL;
        if (!failed && place != NULL && PyList_GET_SIZE(left) == 0)
            failed = take_pointer(taken, name, place) < 0;
        else if (!failed)
            failed = PyList_Append(left, place ? place : Py_None) < 0;
        Py_XDECREF(place);
    }
    if (failed)
        Py_CLEAR(left);
    return left;
}

/* Whether a pointer's place is this file, and is spelled like it. */
static int leads_to(PyObject *place, struct text root, struct text name)
{
    struct text path;

    if (!PyTuple_Check(place) || PyTuple_GET_SIZE(place) != 2 || !PyBytes_Check(PyTuple_GET_ITEM(place, 0)) ||
        !PyBytes_Check(PyTuple_GET_ITEM(place, 1)) || !is_same(bytes_of(PyTuple_GET_ITEM(place, 1)), root))
        return 0;
    path = bytes_of(PyTuple_GET_ITEM(place, 0));
    return path.length == root.length + 1 + name.length && path.start[root.length] == '/' && begins_with(path, root) &&
           memcmp(path.start + root.length + 1, name.start, name.length) == 0;
}

static PyObject *path_below(PyObject *root, PyObject *name)
{
    struct text folder = bytes_of(root), file = bytes_of(name);
    PyObject *path = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(folder.length + 1 + file.length));
    char *start = path ? PyBytes_AS_STRING(path) : NULL;

    if (path == NULL)
        return NULL;
    memcpy(start, folder.start, folder.length);
    start[folder.length] = '/';
    memcpy(start + folder.length + 1, file.start, file.length);
    return path;
}

/* Return path and root of a file in a root. */
static PyObject *place_below(PyObject *root, PyObject *name)
{
    PyObject *path = path_below(root, name), *place = path ? PyTuple_Pack(2, path, root) : NULL;

    Py_XDECREF(path);
    return place;
}

/* Return the key that a file's name gives, where it is of letters, digits, "-" and "_" alone and no other program's; NULL,
 * perhaps without an exception. */
static PyObject *key_of(struct text name)
{
    char key[LONGEST_KEY];

    if (name.length == 0 || name.length > sizeof key || begins_with(name, (struct text){"README", 6}) ||
        is_same(name, (struct text){"rhsm", 4}) || is_same(name, (struct text){"etc-pki-entitlement", 19}))
        return NULL;
    for (size_t i = 0; i < name.length; i++) {
        char character = name.start[i];

        if (character >= 'a' && character <= 'z')
            key[i] = (char)(character - 'a' + 'A');
        else if ((character >= 'A' && character <= 'Z') || character == '_' ||
                 (character >= '0' && character <= '9' && i > 0))
            key[i] = character;
        else if (character == '-')
            key[i] = '_';
        else
            return NULL;
    }
    return string_of((struct text){key, name.length});
}

static PyObject *ordinary_names(PyObject *self, PyObject *arguments)
{
    PyObject *names, *root, *pointers, *places, *tuple, *left;
    struct tables tables;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "O!SO!O!O!:ordinary_names", &PyList_Type, &names, &root, &PyDict_Type, &pointers,
                          &PyDict_Type, &places, &PyTuple_Type, &tuple) ||
        !tables_of(tuple, &tables))
        return NULL;
    left = PyList_New(0);
    for (Py_ssize_t i = 0; left != NULL && i < PyList_GET_SIZE(names); i++) {
        PyObject *name = PyList_GET_ITEM(names, i), *key = PyBytes_Check(name) ? key_of(bytes_of(name)) : NULL;
        PyObject *place = key ? PyDict_GetItemWithError(pointers, key) : NULL;
        int failed = PyErr_Occurred() != NULL, is_taken = 0;

        if (place != NULL && leads_to(place, bytes_of(root), bytes_of(name)))
            Py_INCREF(place);
        else
            place = !failed && key != NULL && is_ordinary_key(text_of(key), &tables) ? place_below(root, name) : NULL;
        if (place != NULL) {
            int is_second = PyDict_SetDefaultRef(places, key, place, NULL);

            is_taken = is_second == 0;
            failed = is_second < 0;
        }
        if (!failed && !is_taken)
            failed = PyErr_Occurred() || PyList_Append(left, name) < 0;
        Py_XDECREF(place);
        Py_XDECREF(key);
        if (failed)
            Py_CLEAR(left);
    }
    return left;
}

static struct texts starts_of(PyObject *texts)
{
    struct texts starts = {texts, {{0}, 0}};

    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(texts); i++) {
        PyObject *start = PyTuple_GET_ITEM(texts, i);

        add_pair(&starts.pairs, PyBytes_Check(start) ? bytes_of(start) : (struct text){"", 0}, 0);
    }
    return starts;
}

/* Whether a value is one short line of which no question arises: resolve.py, `_is_doubtful`, and pointed.py ask them. */
static int is_ordinary_value(struct text value, size_t key_length, const struct texts *doubtful)
{
    const char *equals;

    if (value.length == 0 || strchr("\"'/. \t\r[{", value.start[0]) != NULL ||
        strchr(" \t\r", value.start[value.length - 1]) != NULL || memchr(value.start, '\n', value.length) != NULL ||
        memchr(value.start, '{', value.length) != NULL || memchr(value.start, '\0', value.length) != NULL)
        return 0;
    if (value.length > key_length + 1 && value.start[key_length] == ':' && value.start[key_length + 1] == ' ')
        return 0;
    equals = memchr(value.start, '=', value.length);
    if (equals != NULL &&
        ((size_t)(equals - value.start) == key_length || begins_with(value, (struct text){"export ", 7})))
        return 0;
    if (value.length >= 2 && none_has(&doubtful->pairs, value.start))
        return 1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(doubtful->all); i++) {
        PyObject *start = PyTuple_GET_ITEM(doubtful->all, i);

        if (!PyBytes_Check(start) || begins_with(value, bytes_of(start)))
            return 0;
    }
    return 1;
}

static PyObject *value_name, *file_name; /* secret.py: of what a Secret holds */
static PyObject *names_of_resolved[4], *from_pointer, *from_root; /* resolution.py */

static int make_names(void)
{
    static const char *const names[] = {"key", "secret", "origin", "path"};

    value_name = PyUnicode_InternFromString("_value");
    file_name = PyUnicode_InternFromString("_file");
    from_pointer = PyUnicode_InternFromString("file");
    from_root = PyUnicode_InternFromString("root");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        names_of_resolved[i] = PyUnicode_InternFromString(names[i]);
    return PyErr_Occurred() ? -1 : 0;
}

/* Return Secret(value, file), without a call. */
static PyObject *secret_of(PyTypeObject *type, PyObject *both)
{
    PyObject *secret = PyType_GenericAlloc(type, 0);

    if (secret != NULL && (PyObject_GenericSetAttr(secret, value_name, PyTuple_GET_ITEM(both, 0)) < 0 ||
                           PyObject_GenericSetAttr(secret, file_name, PyTuple_GET_ITEM(both, 1)) < 0))
        Py_CLEAR(secret);
    return secret;
}

/* Return Resolved(key, secret, origin, path), without a call: it is delivered as the class says. Takes the secret. */
static PyObject *resolved_of(PyTypeObject *type, PyObject *key, PyObject *secret, PyObject *origin, PyObject *path)
{
    PyObject *const values[] = {key, secret, origin, path};
    PyObject *resolved = secret ? PyType_GenericAlloc(type, 0) : NULL;

    for (size_t i = 0; resolved != NULL && i < sizeof values / sizeof *values; i++)
        if (PyObject_GenericSetAttr(resolved, names_of_resolved[i], values[i]) < 0)
            Py_CLEAR(resolved);
    Py_XDECREF(secret);
    return resolved;
}

struct reading {
    PyObject *environment, *folders;
    struct texts doubtful;
    PyTypeObject *secret, *resolved;
    Py_ssize_t bytes; /* of all values so far */
};

/* Return what is in the file of a key, if it is ordinary and nothing else gives the key a value; NULL, often without an
 * exception, for all else. */
static PyObject *read_one(struct reading *reading, PyObject *key, PyObject *place, PyObject *origin)
{
    PyObject *given = PyDict_GetItemWithError(reading->environment, key), *path, *root, *number, *both;
    PyObject *resolved = NULL;
    struct text value;
    long descriptor;

    if (PyErr_Occurred() || !PyTuple_Check(place) || PyTuple_GET_SIZE(place) != 2)
        return NULL;
    path = PyTuple_GET_ITEM(place, 0);
    root = PyTuple_GET_ITEM(place, 1);
    number = PyDict_GetItemWithError(reading->folders, root);
    if (number == NULL || (given != NULL && PyObject_IsTrue(given)) || !PyBytes_Check(path) || !PyBytes_Check(root) ||
        PyBytes_GET_SIZE(path) <= PyBytes_GET_SIZE(root) + 1)
        return NULL;
    descriptor = PyLong_AsLong(number);
    if (descriptor < 0 || descriptor > INT_MAX)
        return NULL;
    both = shim_read_short((int)descriptor, PyBytes_AS_STRING(path) + PyBytes_GET_SIZE(root) + 1);
    if (both == NULL)
        return NULL;
    if (PyTuple_GET_ITEM(both, 0) != Py_None) {
        value = bytes_of(PyTuple_GET_ITEM(both, 0));
        if (is_ordinary_value(value, (size_t)PyUnicode_GET_LENGTH(key), &reading->doubtful)) {
            resolved = resolved_of(reading->resolved, key, secret_of(reading->secret, both), origin, path);
            reading->bytes += (Py_ssize_t)value.length;
        }
    }
    Py_DECREF(both);
    return resolved;
}

static int append_left(PyObject *left, PyObject *key, Py_ssize_t bytes)
{
    PyObject *both = Py_BuildValue("On", key, bytes);
    int failed = both == NULL || PyList_Append(left, both) < 0;

    Py_XDECREF(both);
    return failed ? -1 : 0;
}

static PyObject *read_ordinary(PyObject *self, PyObject *arguments)
{
    PyObject *keys, *unusual, *pointers, *places, *starts, *secret, *resolved, *found, *left, *key, *value;
    struct reading reading = {0};
    Py_ssize_t at = 0;
    int failed;

    (void)self;
    if (!PyArg_ParseTuple(arguments, "O!O!O!O!O!O!O!O!O!:read_ordinary", &PyDict_Type, &keys, &PySet_Type, &unusual,
                          &PyDict_Type, &pointers, &PyDict_Type, &places, &PyDict_Type, &reading.environment,
                          &PyDict_Type, &reading.folders, &PyTuple_Type, &starts, &PyType_Type, &secret, &PyType_Type,
                          &resolved) ||
        (value_name == NULL && make_names() < 0))
        return NULL;
    reading.secret = (PyTypeObject *)secret;
    reading.resolved = (PyTypeObject *)resolved;
    reading.doubtful = starts_of(starts);
    found = PyDict_New();
    left = PyList_New(0);
    failed = found == NULL || left == NULL;
    while (!failed && PyDict_Next(keys, &at, &key, &value)) {
        PyObject *place = PyDict_GetItemWithError(pointers, key), *origin = from_pointer, *one = NULL;
        int is_unusual = !PyUnicode_Check(key) || (PySet_GET_SIZE(unusual) > 0 && PySet_Contains(unusual, key));

        if (place == NULL && !PyErr_Occurred()) {
            place = PyDict_GetItemWithError(places, key);
            origin = from_root;
        }
        if (place != NULL && !is_unusual && !PyErr_Occurred())
            one = read_one(&reading, key, place, origin);
        failed = PyErr_Occurred() || PyDict_SetItem(found, key, one ? one : Py_None) < 0 ||
                 (one == NULL && append_left(left, key, reading.bytes) < 0);
        Py_XDECREF(one);
    }
    if (!failed)
        return Py_BuildValue("NNn", found, left, reading.bytes);
    Py_XDECREF(found);
    Py_XDECREF(left);
    return NULL;
}

static PyObject *assignments(PyObject *self, PyObject *values)
{
    PyObject *list = PyDict_Check(values) ? PyList_New(0) : PyErr_NoMemory(), *key, *value;
    Py_ssize_t at = 0;

    (void)self;
    while (list != NULL && PyDict_Next(values, &at, &key, &value)) {
        PyObject *encoded = NULL, *entry = NULL;
        struct text name = text_of(key);

        if (name.length == 0) {
            encoded = PyUnicode_AsEncodedString(key, "utf-8", "surrogateescape");
            name = encoded ? bytes_of(encoded) : name;
        }
        if (!PyErr_Occurred() && PyBytes_Check(value))
            entry = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)name.length + 1 + PyBytes_GET_SIZE(value));
        if (entry != NULL) {
            char *start = PyBytes_AS_STRING(entry);

            memcpy(start, name.start, name.length);
            start[name.length] = '=';
            memcpy(start + name.length + 1, PyBytes_AS_STRING(value), (size_t)PyBytes_GET_SIZE(value));
        }
        if (entry == NULL || PyList_Append(list, entry) < 0)
            Py_CLEAR(list);
        Py_XDECREF(entry);
        Py_XDECREF(encoded);
    }
    if (list == NULL && !PyErr_Occurred())
        PyErr_SetString(PyExc_TypeError, "a value is bytes");
    return list;
}

static PyMethodDef functions[] = {
    {"assignments", assignments, METH_O, NULL},
    {"ordinary_pointers", ordinary_pointers, METH_VARARGS, NULL},
    {"ordinary_names", ordinary_names, METH_VARARGS, NULL},
    {"read_ordinary", read_ordinary, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int shim_add_ordinary(PyObject *kernel)
{
    return PyModule_AddFunctions(kernel, functions);
}
