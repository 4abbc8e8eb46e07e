/* What is ordinary in a schema and in the values that it asks for, in one pass each; the rest is left to Python.
 *
 * Ordinary is what nearly all schemas hold: comments, decorators without escapes, `KEY=` and `KEY=value`. A decorator
 * that is not goes back as its text, and a text whose assignments are not goes back whole: only schema_lines.py knows how
 * it is read, and every mistake in it; only json_text.py knows whether what is not ordinary is JSON. tests/sanitized
 * compares each with its twin.
 */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>
#include <string.h>

#include "start.h"

#define MAX_LINE 16384 /* schema_lines.py refuses what is longer */

struct span {
    const char *start, *end;
};

struct reading {
    long line;
    PyObject *blocks, *decorators, *words; /* the last two: what has gathered for the next key, or NULL */
};

enum outcome { FAILED = -1, UNUSUAL = 0, DONE = 1 };

static int is_blank(char character)
{
    return character == ' ' || character == '\t' || character == '\r';
}

static int is_digit(char character)
{
    return character >= '0' && character <= '9';
}

static int is_hexadecimal(char character)
{
    return is_digit(character) || (character >= 'a' && character <= 'f') || (character >= 'A' && character <= 'F');
}

static int is_word(char character)
{
    return is_digit(character) || (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
           character == '_';
}

static struct span stripped(struct span text)
{
    while (text.start < text.end && is_blank(*text.start))
        text.start++;
    while (text.start < text.end && is_blank(text.end[-1]))
        text.end--;
    return text;
}

static int begins_with(struct span text, const char *word, size_t length)
{
    return (size_t)(text.end - text.start) >= length && memcmp(text.start, word, length) == 0;
}

static PyObject *text_of(struct span text)
{
    return PyUnicode_DecodeUTF8(text.start, text.end - text.start, "surrogateescape");
}

/* Append `item`, a new reference or NULL, to `*list`, which is made when there is none. */
static enum outcome append(PyObject **list, PyObject *item)
{
    int failed = item == NULL || (*list == NULL && (*list = PyList_New(0)) == NULL) || PyList_Append(*list, item) < 0;

    Py_XDECREF(item);
    return failed ? FAILED : DONE;
}

/* Make a tuple of new references, which are gone when one of them is NULL. */
static PyObject *tuple_of(PyObject **items, Py_ssize_t count)
{
    PyObject *tuple = PyTuple_New(count);
    int is_whole = tuple != NULL;

    for (Py_ssize_t i = 0; i < count; i++) {
        is_whole = is_whole && items[i] != NULL;
        if (tuple != NULL)
            PyTuple_SET_ITEM(tuple, i, items[i]);
        else
            Py_XDECREF(items[i]);
    }
    if (!is_whole)
        Py_CLEAR(tuple);
    return tuple;
}

/* What has gathered belongs to `key`, or to none: then only what concerns the whole file takes effect. */
static enum outcome end_block(struct reading *reading, PyObject *key, PyObject *value)
{
    PyObject *items[] = {PyLong_FromLong(reading->line), key, value,
                         reading->words ? PyList_AsTuple(reading->words) : PyTuple_New(0),
                         reading->decorators ? reading->decorators : PyTuple_New(0)};

    reading->decorators = NULL;
    Py_CLEAR(reading->words);
    return append(&reading->blocks, tuple_of(items, 5));
}

static enum outcome drop(struct reading *reading)
{
    if (reading->decorators != NULL)
        return end_block(reading, PyUnicode_New(0, 0), Py_NewRef(Py_None));
    Py_CLEAR(reading->words);
    return DONE;
}

/* Take the value that begins at value->start, whose end is not known yet; return what is behind it, NULL: it is unusual. */
static const char *after_value(struct span *value, const char *end)
{
    const char *at = value->start;
    int is_inside = 0;

    if (at < end && strchr("'\"`", *at)) {
        const char *closing = memchr(at + 1, *at, (size_t)(end - at - 1));

        if (closing == NULL || (*at == '"' && memchr(at, '\\', (size_t)(closing - at))))
            return NULL;
        value->start = at + 1;
        value->end = closing;
        return closing + 1;
    }
    for (; at < end && (is_inside || *at != ' '); at++) {
        if (strchr("'\"`", *at) || (*at == '(' && is_inside) || (*at == ')' && !is_inside))
            return NULL;
        if (*at == '(')
            is_inside = 1;
        if (*at == ')') {
            at++;
            is_inside = 0;
            if (at < end && *at != ' ')
                return NULL;
            break;
        }
    }
    value->end = at;
    return is_inside ? NULL : at;
}

static enum outcome take_decorators(struct reading *reading, struct span comment, int is_plain)
{
    const char *at = comment.start, *end = comment.end;

    while (at < end && *at == '@') {
        struct span name = {at + 1, at + 1}, value;
        const char *after = NULL;

        while (is_plain && name.end < end && (is_word(*name.end) || *name.end == '-'))
            name.end++;
        value.start = value.end = name.end;
        if (name.end > name.start && (name.end == end || *name.end != '(')) {
            after = name.end;
            if (after < end && *after == '=') {
                value.start = after + 1;
                after = after_value(&value, end);
            }
        }
        if (after == NULL) {
            PyObject *items[] = {PyLong_FromLong(reading->line), PyUnicode_FromString("@"),
                                 text_of((struct span){at, end})};

            return append(&reading->decorators, tuple_of(items, 3));
        }
        PyObject *items[] = {PyLong_FromLong(reading->line), text_of(name), text_of(value)};

        if (append(&reading->decorators, tuple_of(items, 3)) == FAILED)
            return FAILED;
        for (at = after; at < end && (*at == ' ' || *at == ','); at++)
            ;
    }
    return DONE;
}

static enum outcome take_comment(struct reading *reading, struct span comment, int is_plain, int is_ascii)
{
    const char *at;
    PyObject *text, *bare;
    Py_ssize_t length;

    comment = stripped(comment);
    if (begins_with(comment, "shim:", 5)) {
        comment.start += 5;
        comment = stripped(comment);
    }
    if (comment.start < comment.end && *comment.start == '@') {
        /* What else is blank in Unicode, at the end of the line, is known to Python. */
        return comment.end[-1] & 0x80 ? UNUSUAL : take_decorators(reading, comment, is_plain);
    }
    for (at = comment.start; at < comment.end && (*at == '-' || *at == '='); at++)
        ;
    if (at == comment.end && comment.start < comment.end)
        return drop(reading); /* a divider */
    text = text_of(comment);
    if (text == NULL || is_ascii)
        return append(&reading->words, text);
    length = PyUnicode_GET_LENGTH(text);
    bare = PyObject_CallMethod(text, "strip", NULL);
    Py_DECREF(text);
    if (bare != NULL && PyUnicode_GET_LENGTH(bare) != length) {
        Py_DECREF(bare);
        return UNUSUAL;
    }
    return append(&reading->words, bare);
}

static enum outcome take_assignment(struct reading *reading, struct span text)
{
    const char *equals, *at;
    struct span name, value;

    if (begins_with(text, "export ", 7)) {
        text.start += 7;
        text = stripped(text);
    }
    equals = memchr(text.start, '=', (size_t)(text.end - text.start));
    if (equals == NULL)
        return UNUSUAL;
    name = stripped((struct span){text.start, equals});
    value = stripped((struct span){equals + 1, text.end});
    for (at = name.start; at < name.end && is_word(*at); at++)
        ;
    if (at < name.end || at == name.start || is_digit(*name.start))
        return UNUSUAL;
    if (value.start < value.end && strchr("'\"`#", *value.start))
        return UNUSUAL;
    for (at = value.start; at < value.end; at++) {
        if (*at == '$')
            return UNUSUAL; /* other tools would evaluate it */
        if (*at == ' ' && at[1] == '#') {
            struct span comment = stripped((struct span){at + 2, value.end});

            if (comment.start < comment.end && *comment.start == '@')
                return UNUSUAL;
            value = stripped((struct span){value.start, at});
            break;
        }
    }
    if (value.start < value.end && value.end[-1] == ')')
        return UNUSUAL;
    if (value.end - value.start == 9 && memcmp(value.start, "undefined", 9) == 0)
        return UNUSUAL;
    return end_block(reading, text_of(name),
                     value.start < value.end ? PyBytes_FromStringAndSize(value.start, value.end - value.start)
                                             : Py_NewRef(Py_None));
}

static enum outcome take_line(struct reading *reading, struct span line)
{
    int has_tab = 0, is_ascii = 1;

    line = stripped(line);
    if (line.start == line.end)
        return drop(reading);
    if (line.end - line.start > MAX_LINE)
        return UNUSUAL;
    for (const char *at = line.start; at < line.end; at++) {
        unsigned char byte = (unsigned char)*at;

        if (byte >= 32 && byte < 127)
            continue;
        if (byte == '\t')
            has_tab = 1;
        else if (byte >= 128)
            is_ascii = 0;
        else
            return UNUSUAL;
    }
    if (*line.start == '#')
        return take_comment(reading, (struct span){line.start + 1, line.end}, is_ascii && !has_tab, is_ascii);
    return is_ascii && !has_tab ? take_assignment(reading, line) : UNUSUAL;
}

static PyObject *ordinary_blocks(PyObject *self, PyObject *bytes)
{
    struct reading reading = {0, PyList_New(0), NULL, NULL};
    enum outcome outcome = DONE;
    struct span text, line;
    Py_ssize_t length;
    char *start;

    (void)self;
    if (reading.blocks == NULL || PyBytes_AsStringAndSize(bytes, &start, &length) < 0) {
        Py_XDECREF(reading.blocks);
        return NULL;
    }
    text = (struct span){start, start + length};
    for (; outcome == DONE && text.start <= text.end; text.start = line.end + 1) {
        line.start = text.start;
        line.end = memchr(text.start, '\n', (size_t)(text.end - text.start));
        if (line.end == NULL)
            line.end = text.end;
        reading.line++;
        outcome = take_line(&reading, line);
    }
    if (outcome == DONE)
        outcome = drop(&reading);
    Py_XDECREF(reading.decorators);
    Py_XDECREF(reading.words);
    if (outcome == DONE)
        return reading.blocks;
    Py_DECREF(reading.blocks);
    return outcome == FAILED ? NULL : Py_NewRef(Py_None);
}

/* --- JSON (RFC 8259) ------------------------------------------------------------------------------------------ */

#define DEEPEST 64 /* arrays and objects in one another */

static const char *after_blank(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

static const char *after_digits(const char *at, const char *end)
{
    while (at < end && is_digit(*at))
        at++;
    return at;
}

/* These return where what begins at `at` ends, NULL when nothing ordinary does. */

static const char *after_number(const char *at, const char *end)
{
    const char *start = at < end && *at == '-' ? at + 1 : at;

    at = after_digits(start, end);
    if (at == start || (*start == '0' && at > start + 1))
        return NULL;
    if (at < end && *at == '.') {
        start = at + 1;
        at = after_digits(start, end);
        if (at == start)
            return NULL;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        start = at + 1;
        if (start < end && (*start == '+' || *start == '-'))
            start++;
        at = after_digits(start, end);
        if (at == start)
            return NULL;
    }
    return at;
}

static const char *after_string(const char *at, const char *end)
{
    if (at == end || *at++ != '"')
        return NULL;
    for (; at < end && *at != '"'; at++) {
        if ((unsigned char)*at < 32 || *at & 0x80)
            return NULL;
        if (*at != '\\')
            continue;
        at++;
        if (at == end)
            return NULL;
        if (*at == 'u') {
            if (end - at < 5)
                return NULL;
            for (int i = 1; i <= 4; i++)
                if (!is_hexadecimal(at[i]))
                    return NULL;
            at += 4;
        } else if (*at == '\0' || !strchr("\"\\/bfnrt", *at)) {
            return NULL;
        }
    }
    return at < end ? at + 1 : NULL;
}

static const char *after_scalar(const char *at, const char *end)
{
    static const char *const words[] = {"true", "false", "null"};

    if (at < end && *at == '"')
        return after_string(at, end);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (begins_with((struct span){at, end}, words[i], strlen(words[i])))
            return at + strlen(words[i]);
    return after_number(at, end);
}

static const char *after_name(const char *at, const char *end)
{
    at = after_string(after_blank(at, end), end);
    if (at == NULL)
        return NULL;
    at = after_blank(at, end);
    return at < end && *at == ':' ? at + 1 : NULL;
}

static int is_json(const char *at, const char *end)
{
    char closers[DEEPEST];
    int depth = 0;

    for (;;) { /* a value begins */
        at = after_blank(at, end);
        if (at < end && (*at == '{' || *at == '[')) {
            char closer = *at == '{' ? '}' : ']';

            at = after_blank(at + 1, end);
            if (at == end || *at != closer) {
                if (depth == DEEPEST)
                    return 0;
                closers[depth++] = closer;
                if (closer == '}' && (at = after_name(at, end)) == NULL)
                    return 0;
                continue;
            }
            at++;
        } else if ((at = after_scalar(at, end)) == NULL) {
            return 0;
        }
        for (;;) { /* a value has ended */
            at = after_blank(at, end);
            if (depth == 0 || at == end)
                return depth == 0 && at == end;
            if (*at++ == closers[depth - 1])
                depth--;
            else if (at[-1] == ',')
                break;
            else
                return 0;
        }
        if (closers[depth - 1] == '}' && (at = after_name(at, end)) == NULL)
            return 0;
    }
}

static PyObject *is_ordinary_json(PyObject *self, PyObject *bytes)
{
    Py_ssize_t length;
    char *start;

    (void)self;
    if (PyBytes_AsStringAndSize(bytes, &start, &length) < 0)
        return NULL;
    return PyBool_FromLong(is_json(start, start + length));
}

static PyMethodDef functions[] = {
    {"is_ordinary_json", is_ordinary_json, METH_O, NULL},
    {"ordinary_blocks", ordinary_blocks, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

int shim_add_schema(PyObject *kernel)
{
    return PyModule_AddFunctions(kernel, functions);
}
