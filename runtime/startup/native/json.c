/* JSON as it mostly is: ASCII or Latin-1, well-formed, without escapes, with whole numbers. Anything else is left to
 * Python's own _json, a library that takes half a millisecond to load (runtime/config/json.py). Linked with interpreter.c.
 */

#include <Python.h>

enum { DEEPEST = 100, LONGEST = 18 /* digits that always fit */, KNOWN = 500 };

/* Names that were met, so that each is there once. Python has a table of such (sys.intern), but a large one: after some
 * looks here and there most of it is in memory. */
static PyObject *names;

struct text { const char *place, *end; int depth; };

/* Each of these returns NULL for what it does not know, without an exception. */
static PyObject *value(struct text *text);

static int next(struct text *text)
{
    while (text->place < text->end && *text->place && strchr(" \t\n\r", *text->place))
        text->place++;
    return text->place < text->end ? *text->place : 0;
}

static int take(struct text *text, char wanted)
{
    if (next(text) != wanted)
        return 0;
    text->place++;
    return 1;
}

/* What stands after a quotation mark; escapes are not known. */
static PyObject *string(struct text *text)
{
    const char *start = text->place;
    while (text->place < text->end && *text->place != '"' && *text->place != '\\' && (unsigned char)*text->place >= ' ')
        text->place++;
    if (text->place == text->end || *text->place != '"')
        return NULL;
    return PyUnicode_DecodeLatin1(start, text->place++ - start, NULL);
}

static PyObject *number(struct text *text)
{
    const char *start = text->place, *digits = start + (*start == '-');
    for (text->place = digits; text->place < text->end && *text->place >= '0' && *text->place <= '9';)
        text->place++;
    long length = text->place - digits;
    if (!length || length > LONGEST || (length > 1 && *digits == '0')
        || (text->place < text->end && *text->place && strchr(".eE", *text->place)))
        return NULL;
    return PyLong_FromLong(strtol(start, NULL, 10));
}

static PyObject *word(struct text *text, const char *name, PyObject *meaning)
{
    size_t length = strlen(name);
    if ((size_t)(text->end - text->place) < length || memcmp(text->place, name, length))
        return NULL;
    text->place += length;
    return Py_NewRef(meaning);
}

/* Give back a name for another one of it. */
static PyObject *known(PyObject *name)
{
    PyObject *same = Py_XNewRef(name ? PyDict_SetDefault(names, name, name) : NULL);
    Py_XDECREF(name);
    return same;
}

/* An object or an array, what stands after its opening bracket. */
static PyObject *several(struct text *text, PyObject *all, char end)
{
    text->depth++;
    int named = end == '}', whole = all && text->depth < DEEPEST;
    for (int more = whole && !take(text, end); more; more = whole && !take(text, end)) {
        PyObject *name = named && take(text, '"') ? known(string(text)) : NULL, *content = NULL;
        if (!named || (name && take(text, ':')))
            content = value(text);
        whole = content && !(named ? PyDict_SetItem(all, name, content) : PyList_Append(all, content));
        Py_XDECREF(name);
        Py_XDECREF(content);
        if (whole && next(text) != end)
            whole = take(text, ',') && next(text) != end;
    }
    text->depth--;
    if (!whole)
        Py_CLEAR(all);
    return all;
}

static PyObject *value(struct text *text)
{
    switch (next(text)) {
    case '"': text->place++; return string(text);
    case '{': text->place++; return several(text, PyDict_New(), '}');
    case '[': text->place++; return several(text, PyList_New(0), ']');
    case 't': return word(text, "true", Py_True);
    case 'f': return word(text, "false", Py_False);
    case 'n': return word(text, "null", Py_None);
    default: return number(text);
    }
}

/* scan(text: str, start: int) -> tuple[Any, int] | None: the value that begins there, and where it ends; None where
 * that is for _json to say. */
static PyObject *scan(PyObject *module, PyObject *arguments)
{
    PyObject *given, *result = NULL;
    Py_ssize_t start;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "Un", &given, &start))
        return NULL;
    if (PyDict_Size(names) > KNOWN)
        PyDict_Clear(names);
    if (PyUnicode_KIND(given) == PyUnicode_1BYTE_KIND && start >= 0 && start < PyUnicode_GET_LENGTH(given)) {
        const char *data = PyUnicode_DATA(given);
        struct text text = {data + start, data + PyUnicode_GET_LENGTH(given), 0};
        PyObject *found = value(&text);
        if (found)
            result = Py_BuildValue("Nn", found, (Py_ssize_t)(text.place - data));
    }
    PyErr_Clear();
    return result ? result : Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {{"scan", scan, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_scan", .m_size = -1, .m_methods = methods};

PyObject *PyInit_scan(void)
{
    names = PyDict_New();
    return names ? PyModule_Create(&definition) : NULL;
}
