/* An interpreter that begins where another one had got to, with all of naja loaded. Saves 10 / 17 / 15 ms of
 * state / run / exec (make bench-start).
 *
 * Linked with native/interpreter.c, this keeps whatever Python allocates in one place. Once naja is loaded, the
 * program writes its memory out (`dump`), and runtime/startup/dump.py makes that the data of a new program: its
 * processes begin with everything in place, and only what a process has of its own is made anew (`wake`).
 *
 * The program is linked to fixed addresses, its libraries are not: nothing in the dump may point into them, nor to a stack.
 * dump.py looks at every word of it.
 */

#include <Python.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ROOM = 96 << 20, PAGE = 4096 };

/* What Python has allocated, at the end of the program's data: a section of zeroes, which takes the assembler's word for
 * it, with the compiler's own behind a comment sign. */
#ifdef __aarch64__
#define ZEROES ".arena,\"aw\",%nobits//"
#else
#define ZEROES ".arena,\"aw\",@nobits#"
#endif
static char arena[ROOM] __attribute__((aligned(PAGE), section(ZEROES)));
static size_t used;

/* Python as it was when it was dumped; NULL in a process that is about to be. */
static PyThreadState *asleep;

extern char __data_start[];
extern void forget_addresses(void);
extern int _PySignal_Init(int install_signal_handlers);

static int is_dumped(const void *place)
{
    return (const char *)place >= arena && (const char *)place < arena + used;
}

static void *take(size_t size, size_t grain)
{
    size_t start = (used + grain - 1) & ~(grain - 1);
    if (size > ROOM - start)
        return NULL;
    used = start + size;
    return arena + start;
}

/* What malloc of the C library becomes for Python (ld's --wrap). A process that was woken uses the library's. */
void *__real_malloc(size_t), *__real_calloc(size_t, size_t), *__real_realloc(void *, size_t);
void __real_free(void *);

/* Stands before each allocation in the arena. What is freed there is not used again: nobody reads its pages. */
struct block { size_t size, unused; };

void *__wrap_malloc(size_t size)
{
    if (asleep)
        return __real_malloc(size);
    struct block *made = take(sizeof *made + size, sizeof *made);
    if (made)
        made->size = size;
    return made ? made + 1 : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    if (asleep)
        return __real_calloc(count, size);
    return size && count > ROOM / size ? NULL : __wrap_malloc(count * size); /* It is zero, as never used before. */
}

void __wrap_free(void *place)
{
    if (!is_dumped(place))
        __real_free(place);
    else if (!asleep)
        memset(place, 0, ((struct block *)place)[-1].size); /* Nothing that it pointed to shall be in the dump. */
}

void *__wrap_realloc(void *place, size_t size)
{
    if (asleep && !is_dumped(place))
        return __real_realloc(place, size);
    size_t old = is_dumped(place) ? ((struct block *)place)[-1].size : 0;
    void *new = old && size <= old ? place : __wrap_malloc(size);
    if (new && new != place) {
        memcpy(new, place, old);
        __wrap_free(place);
    }
    return new;
}

/* The same for the larger pieces in which Python keeps small objects. */
static void *take_pages(void *context, size_t size)
{
    (void)context;
    if (!asleep)
        return take(size, PAGE);
    void *place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return place == MAP_FAILED ? NULL : place;
}

static void free_pages(void *context, void *place, size_t size)
{
    (void)context;
    if (!is_dumped(place))
        munmap(place, size);
    else if (!asleep && (char *)place + size == arena + used)
        used = (char *)memset(place, 0, size) - arena;
}

/* Overwrite what small objects have left behind: take all the room that is free, and give it back. */
static void scrub(void)
{
    enum { STEP = 16, MOST = 512 };
    void **all = NULL;
    const char *end = arena + used;
    for (size_t size = STEP; size <= MOST; size += STEP)
        for (const char *place = arena; place < end;) {
            void **block = PyObject_Malloc(size);
            if (!block)
                break;
            memset(block, 0, size);
            *block = all;
            all = block;
            place = (const char *)block;
        }
    while (all) {
        void **next = *all;
        PyObject_Free(all);
        all = next;
    }
}

static int write_all(const char *place, const char *end)
{
    ssize_t count = 0;
    for (; count >= 0 && place < end; place += count)
        count = write(STDOUT_FILENO, place, end - place);
    return count < 0;
}

/* Write to stdout where the memory begins, and the memory. */
int dump(void)
{
    const char *start = __data_start;
    forget_addresses();
    scrub();
    asleep = PyEval_SaveThread();
    asleep->thread_id = 0;
    /* The linker gives each process its own of these. */
    environ = NULL;
    stdin = stdout = stderr = NULL;
    return write_all((const char *)&start, (const char *)(&start + 1)) || write_all(start, arena + used);
}

/* Have naja take over what is this process's own (startup/dumped.py): the environment, and which signals are ignored. */
static int tell_naja(void)
{
    unsigned long long ignored = 0;
    struct sigaction action;
    for (int number = 1; number < NSIG; number++)
        if (!sigaction(number, NULL, &action) && action.sa_handler == SIG_IGN)
            ignored |= 1ULL << (number - 1);
    PyObject *module = PyImport_ImportModule("naja.startup.dumped"), *variables = PyList_New(0);
    for (char **word = environ; variables && *word; word++) {
        PyObject *variable = PyBytes_FromString(*word);
        if (!variable || PyList_Append(variables, variable))
            return -1;
        Py_DECREF(variable);
    }
    PyObject *done = module ? PyObject_CallMethod(module, "wake", "NK", variables, ignored) : NULL;
    return done ? 0 : -1;
}

/* Go on where the dump was made: 1, or -1 with a Python exception. In a program that is none yet, prepare for it: 0. */
int wake(void)
{
    if (!asleep) {
        PyObjectArenaAllocator allocator = {NULL, take_pages, free_pages};
        PyObject_SetArenaAllocator(&allocator);
        return 0;
    }
    PyThreadState *state = asleep;
    PyEval_RestoreThread(state);
    /* Since then there is another process, with one thread: as after a fork. */
    PyOS_AfterFork_Child();
    state->thread_id = PyThread_get_thread_ident();
    return _PySignal_Init(1) || tell_naja() ? -1 : 1;
}
