/* Python, begun only as far as a container's verbs need it: no standard streams, no codecs, no search for
 * modules (the "core" phase of PEP 587). Saves 3 / 3 / 3 ms of state / run / exec (make bench-start).
 *
 * It holds CPython itself, linked from libpython's static archive, and takes the place of PYTHON for
 * native/launcher.c, with the same arguments: -IS -c BODY, and naja's own. What is missing is made up for by
 * runtime/startup/early.py, which also finishes the start (`complete`) for whoever asks for more.
 *
 * The door to the kernel (kernel.c) is linked in, and the usual BODY compiled (CODE): loading the one and compiling the
 * other would take 0.2 ms each. These, PYTHON and the directories of its modules (HOME, STDLIB, EXTENSIONS) are
 * defined by runtime/startup/launcher.py, which tries the result before it is used.
 */

#include <Python.h>
#include <marshal.h>

/* Not in Python's headers, but in its archive: the handling of signals, which belongs to the second phase. */
extern int _PySignal_Init(int install_signal_handlers);
extern PyStatus _Py_InitializeMain(void);

extern PyObject *PyInit_kernel(void), *PyInit_scan(void);

/* Of dump.c, where that is linked in. */
extern int wake(void) __attribute__((weak)), dump(void) __attribute__((weak));

/* Of what stands before naja's own words (PYTHON, -IS, -c, BODY) the last. */
enum { LAST = 3 };

static PyObject *complete(PyObject *module, PyObject *none)
{
    (void)module, (void)none;
    PyStatus status = _Py_InitializeMain();
    return PyStatus_Exception(status) ? PyErr_Format(PyExc_RuntimeError, "Python does not start: %s", status.err_msg)
                                      : Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {{"complete", complete, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_early", .m_size = -1, .m_methods = methods};

static PyObject *make_module(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module
        && (PyModule_AddObject(module, "python", PyUnicode_FromWideChar(PYTHON, -1))
            || PyModule_AddObject(module, "stdlib", PyUnicode_FromWideChar(STDLIB, -1))
            || PyModule_AddObject(module, "extensions", PyUnicode_FromWideChar(EXTENSIONS, -1))))
        return NULL;
    return module;
}

/* As -I and -S do it; text is UTF-8 wherever it comes from, as it is in config.json. */
static PyStatus initialize(void)
{
    PyPreConfig before;
    PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1;
    PyStatus status = Py_PreInitialize(&before);
    if (PyStatus_Exception(status))
        return status;

    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config._init_main = 0;
    config.site_import = 0;
    config.write_bytecode = 0;
    config.install_signal_handlers = 1;
    config.module_search_paths_set = 1;
    wchar_t **const texts[] = {
        &config.program_name, &config.executable, &config.base_executable, &config.prefix, &config.exec_prefix,
        &config.base_prefix, &config.base_exec_prefix, &config.stdlib_dir,
    };
    for (int text = 0; !PyStatus_Exception(status) && text < 8; text++)
        status = PyConfig_SetString(&config, texts[text], text < 3 ? PYTHON : text < 7 ? HOME : STDLIB);
    if (!PyStatus_Exception(status))
        status = PyWideStringList_Append(&config.module_search_paths, STDLIB);
    if (!PyStatus_Exception(status))
        status = PyWideStringList_Append(&config.module_search_paths, EXTENSIONS);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    return status;
}

/* What each process needs; it is in the dump, too: sys.argv, the names of __main__, and CODE. */
static PyObject *arguments, *names, *code;

static int prepare(void)
{
    PyObject *module = PyImport_AddModule("__main__");
    names = module ? PyModule_GetDict(module) : NULL;
    arguments = PyList_New(0);
    code = PyMarshal_ReadObjectFromString(CODE, sizeof CODE - 1);
    return !names || !arguments || !code || PySys_SetObject("argv", arguments)
        || PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins());
}

/* Make sys.argv as after -c, of which nothing is known yet. */
static int set_arguments(int count, char **words)
{
    int failed = PyList_SetSlice(arguments, 0, PY_SSIZE_T_MAX, NULL);
    for (int word = LAST; !failed && word < count; word++) {
        PyObject *text = PyUnicode_DecodeFSDefault(word == LAST ? "-c" : words[word]);
        failed = !text || PyList_Append(arguments, text);
        Py_XDECREF(text);
    }
    return failed;
}

static int start(void)
{
    if (PyImport_AppendInittab("_early", make_module) || PyImport_AppendInittab("_kernel", PyInit_kernel)
        || PyImport_AppendInittab("_scan", PyInit_scan))
        return -1;
    PyStatus status = initialize();
    if (PyStatus_Exception(status))
        fprintf(stderr, "naja: Python does not start: %s\n", status.err_msg);
    return PyStatus_Exception(status) ? -1 : _PySignal_Init(1);
}

int main(int count, char **words)
{
    int woken = wake ? wake() : 0;
    if (count <= LAST || (!woken && start()))
        return 1;
    const char *body = words[LAST];
    int usual = !strcmp(body, BODY), failed = woken < 0 || (!woken && prepare()) || set_arguments(count, words);
    if (failed || !(usual ? PyEval_EvalCode(code, names, names) : PyRun_String(body, Py_file_input, names, names))) {
        PyErr_Print(); /* By sys.excepthook; SystemExit ends here. */
        return 1;
    }
    return !woken && dump && dump();
}
