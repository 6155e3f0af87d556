/* The door to the kernel for machines with a C compiler. It does what runtime/linux/foreign.py does with
 * _ctypes elsewhere, which takes half a millisecond to load, and what only C can do: a birth without a
 * copy of the memory. Saves 0 / 6 / 1 ms of state / run / exec (make bench-start), 5 of them by that birth.
 *
 * What is used of Python is part of its stable ABI and declared here, for the headers are rarely installed.
 * runtime/startup/launcher.py compiles this, and runtime/linux/libc.py loads it.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

typedef struct { ssize_t references; void *type; } Object;

typedef Object *Fast(Object *module, Object *const *values, ssize_t count);
typedef struct { const char *name; Fast *function; int flags; const char *documentation; } Method;

typedef struct {
    Object object; void *initialization, *index, *copy; const char *name, *documentation; ssize_t size;
    Method *methods; void *slots, *traverse, *clear, *free;
} Definition;

typedef struct interpreter Interpreter;
typedef struct state State;
typedef unsigned long Word;

enum { FASTCALL = 0x80, ABI_VERSION = 3 };
extern Object PyBytes_Type, PyByteArray_Type, _Py_NoneStruct, *PyExc_OSError, *PyExc_TypeError;

Object *PyModule_Create2(Definition *, int);
Object *PyErr_Occurred(void), *PyErr_SetFromErrno(Object *);
void PyErr_SetString(Object *, const char *);
Object *PyLong_FromLong(long), *PyLong_FromUnsignedLong(Word);
unsigned long PyLong_AsUnsignedLongMask(Object *);
char *PyBytes_AsString(Object *), *PyByteArray_AsString(Object *);
Object *PyObject_CallFunctionObjArgs(Object *, ...);
State *PyEval_SaveThread(void);
void PyEval_RestoreThread(State *);
State *PyThreadState_Get(void), *PyThreadState_New(Interpreter *), *PyThreadState_Swap(State *);
Interpreter *PyThreadState_GetInterpreter(State *);
void PyThreadState_Clear(State *), PyThreadState_Delete(State *);
void PyOS_BeforeFork(void), PyOS_AfterFork_Parent(void), PyOS_AfterFork_Child(void);

/* What syscall(2) takes: a number and six arguments. */
enum { MOST = 7, MOST_KNOWN = 48 };
typedef long Function(Word, Word, Word, Word, Word, Word, Word);

/* Make what C understands: an int is itself, a bytes or bytearray its address, None a null pointer. */
static int words(Object *const *values, ssize_t count, ssize_t least, ssize_t most, Word *result)
{
    if (count < least || count > most) {
        PyErr_SetString(PyExc_TypeError, "wrong number of arguments");
        return 0;
    }
    for (ssize_t index = 0; index < count; index++) {
        Object *value = values[index];
        result[index] = value->type == &PyBytes_Type     ? (Word)PyBytes_AsString(value)
                      : value->type == &PyByteArray_Type ? (Word)PyByteArray_AsString(value)
                      : value == &_Py_NoneStruct         ? 0
                                                         : PyLong_AsUnsignedLongMask(value);
    }
    return !PyErr_Occurred();
}

static Object *failed(int reason)
{
    errno = reason;
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* The functions of libc that were asked for: where it lies is another place in each process, also in one that goes
 * on from the dump of another (dump.c). */
static struct known { char name[24]; Function *function; } known[MOST_KNOWN];

void forget_addresses(void)
{
    for (int place = 0; place < MOST_KNOWN; place++)
        known[place].function = NULL;
}

/* find(name: bytes) -> int: a number that stands for a function of libc. Raises OSError. */
static Object *find(Object *module, Object *const *values, ssize_t count)
{
    (void)module;
    Word given;
    if (!words(values, count, 1, 1, &given))
        return NULL;
    const char *name = (const char *)given;
    if (!dlsym(RTLD_DEFAULT, name))
        return failed(ENOSYS);
    for (int place = 0; place < MOST_KNOWN; place++) {
        if (!known[place].name[0] && strlen(name) < sizeof known->name)
            strcpy(known[place].name, name);
        if (!strcmp(known[place].name, name))
            return PyLong_FromLong(place);
    }
    return failed(ENOMEM);
}

/* address(buffer: bytes | bytearray) -> int */
static Object *address(Object *module, Object *const *values, ssize_t count)
{
    (void)module;
    Word result;
    return words(values, count, 1, 1, &result) ? PyLong_FromUnsignedLong(result) : NULL;
}

/* call(number: int, *arguments) -> int: call what `find` has found. Raises OSError where that returns -1. */
static Object *call(Object *module, Object *const *values, ssize_t count)
{
    (void)module;
    Word given[1 + MOST] = {0}, *a = given + 1;
    if (!words(values, count, 1, 1 + MOST, given))
        return NULL;
    struct known *which = known + given[0] % MOST_KNOWN;
    if (!which->function)
        which->function = (Function *)dlsym(RTLD_DEFAULT, which->name);
    Function *function = which->function;
    State *own = PyEval_SaveThread();
    long result = function(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
    int reason = errno;
    PyEval_RestoreThread(own);
    /* A C int's -1 need not fill the upper half of the register. */
    return result == -1 || result == 0xFFFFFFFF ? failed(reason) : PyLong_FromLong(result);
}

/* clone(arguments: bytes) -> int: clone3(2) without a shared memory, as os.fork does it. Raises OSError. */
static Object *clone_copy(Object *module, Object *const *values, ssize_t count)
{
    (void)module;
    enum { CLONE3 = 435, SIZE = 88 };
    Word arguments;
    if (!words(values, count, 1, 1, &arguments))
        return NULL;
    PyOS_BeforeFork();
    long pid = syscall(CLONE3, arguments, SIZE);
    int reason = errno;
    if (pid)
        PyOS_AfterFork_Parent();
    else
        PyOS_AfterFork_Child();
    return pid < 0 ? failed(reason) : PyLong_FromLong(pid);
}

/* The stack of a child that shares our memory: calls among Python functions take no room on it. */
enum { STACK = 512 << 10 };

struct life { Object *function; State *state; };

static int live(void *argument)
{
    struct life *life = argument;
    /* The parent's handlers would write to descriptors that are no longer what they were. */
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
        if (!sigaction(number, NULL, &action) && action.sa_handler != SIG_IGN && action.sa_handler != SIG_DFL)
            signal(number, SIG_DFL);
    }
    PyThreadState_Swap(life->state);
    PyObject_CallFunctionObjArgs(life->function, NULL);
    _exit(1); /* It should not have returned. */
}

/* birth(life: Callable[[], NoReturn], flags: int) -> int
 *
 * Give birth to a process that calls life() in this very memory (CLONE_VM), while the caller stands still until
 * it has become a program or ended (CLONE_VFORK). So there is one thread of execution at any time, and the
 * child may go on in the same interpreter; all that it needs is a stack and a thread state of its own. What it
 * changes in memory stays changed. Signals are blocked in both meanwhile; the child has none but default
 * handlers. Returns the pid. Raises OSError. The caller has looked whether there is room on the stack. */
static Object *birth(Object *module, Object *const *values, ssize_t count)
{
    (void)module;
    /* A part of this thread's own stack: newer Pythons look whether they are still on it. */
    char stack[STACK] __attribute__((aligned(16)));
    Word flags;
    if (!words(values + 1, count - 1, 1, 1, &flags))
        return NULL;
    State *own = PyThreadState_Get();
    struct life life = {values[0], PyThreadState_New(PyThreadState_GetInterpreter(own))};
    if (!life.state)
        return failed(ENOMEM);
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    int pid = clone(live, stack + sizeof stack, (int)flags | CLONE_VM | CLONE_VFORK | SIGCHLD, &life);
    int reason = errno;
    if (pid < 0) {
        PyThreadState_Clear(life.state);
        PyThreadState_Delete(life.state);
    } else if (!PyThreadState_Swap(own)) {
        /* Killed in a system call or on its way there, the child has left the interpreter's lock to nobody;
         * or has it still. A forked child has this repaired, whose parent's other threads are gone. Not so
         * where the swap itself waits for the lock (3.12), for ever if the child was just taking it. */
        PyOS_BeforeFork();
        PyOS_AfterFork_Child();
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return pid < 0 ? failed(reason) : PyLong_FromLong(pid);
}

static Method methods[] = {
    {"find", find, FASTCALL, NULL}, {"address", address, FASTCALL, NULL}, {"call", call, FASTCALL, NULL},
    {"clone", clone_copy, FASTCALL, NULL}, {"birth", birth, FASTCALL, NULL}, {NULL, NULL, 0, NULL},
};

static Definition definition = {.object = {1, NULL}, .name = "kernel", .size = -1, .methods = methods};

Object *PyInit_kernel(void)
{
    return PyModule_Create2(&definition, ABI_VERSION);
}
