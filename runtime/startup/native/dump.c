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

#ifdef OWN_STATE
#define Py_BUILD_CORE
#include <Python.h>
#include <internal/pycore_runtime.h>
#endif
#include <Python.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ROOM = 96 << 20, PAGE = 4096 };

/* What Python has allocated, at the end of the program's data: a section of zeroes, which takes the assembler's word for
 * it, with the compiler's own on a line that is a comment. */
#define ZEROES ".arena,\"aw\",%nobits\n#"
static char arena[ROOM] __attribute__((aligned(PAGE), section(ZEROES)));

/* The kernel brings in sixteen pages where a process reads one. So what the verbs use is close together, in the first part
 * of the arena, and all else in the second: how much of either is used, and which is being filled. */
enum { FIRST = 6 << 20, GRAIN = 16, LISTS = 1 << 10 };
static size_t used[2] = {GRAIN, FIRST + GRAIN}, part;

/* Python as it was when it was dumped; NULL in a process that is about to be. */
static PyThreadState *asleep;

extern char __data_start[];
extern void forget_addresses(void);
extern int _PySignal_Init(int install_signal_handlers);

static int is_dumped(const void *place)
{
    return (const char *)place >= arena && (const char *)place < arena + used[1];
}

/* Allocations are whole grains, with their size before them. Those that were freed stand in lists, by part and size; large
 * ones, which are all in the second part, are not used again. */
static void *freed[2][LISTS];

/* Called by startup/layout.py, which part is to be filled; by 2 or 3 not in its gaps. */
long fill(long which)
{
    part = which & 1;
    memset(freed[part], 0, which & 2 ? sizeof freed[part] : 0);
    return 0;
}

static void give_back(void *place, size_t grains)
{
    void **list = &freed[(char *)place >= arena + FIRST][grains];
    ((size_t *)place)[-1] = grains * GRAIN;
    *(void **)place = *list;
    *list = place;
}

/* What malloc of the C library becomes for Python (ld's --wrap). A process that was woken uses the library's. */
void *__real_malloc(size_t), *__real_calloc(size_t, size_t), *__real_realloc(void *, size_t);
void __real_free(void *);

void *__wrap_malloc(size_t size)
{
    if (asleep)
        return __real_malloc(size);
    size_t grains = size / GRAIN + 1 + (size % GRAIN > GRAIN - sizeof size);
    size_t wide = grains, which = grains < LISTS ? part : 1;
    while (wide < LISTS && !freed[which][wide])
        wide++;
    void **made = wide < LISTS ? freed[which][wide] : NULL;
    if (made) {
        freed[which][wide] = *made;
        *made = NULL;
        if (wide > grains)
            give_back((char *)made + grains * GRAIN, wide - grains);
    } else {
        which |= used[which] + grains * GRAIN > FIRST;
        if (grains >= (ROOM - used[which]) / GRAIN)
            return NULL;
        made = (void **)(arena + used[which]);
        used[which] += grains * GRAIN;
    }
    ((size_t *)made)[-1] = grains * GRAIN;
    return made;
}

void *__wrap_calloc(size_t count, size_t size)
{
    if (asleep)
        return __real_calloc(count, size);
    return size && count > ROOM / size ? NULL : __wrap_malloc(count * size); /* It is zero, used before or not. */
}

void __wrap_free(void *place)
{
    if (!is_dumped(place)) {
        __real_free(place);
    } else if (!asleep) {
        size_t grains = ((size_t *)place)[-1] / GRAIN;
        memset(place, 0, grains * GRAIN - sizeof grains); /* Nothing that it pointed to shall be in the dump. */
        if (grains < LISTS)
            give_back(place, grains);
    }
}

void *__wrap_realloc(void *place, size_t size)
{
    if (asleep && !is_dumped(place))
        return __real_realloc(place, size);
    size_t old = is_dumped(place) ? ((size_t *)place)[-1] - sizeof old : 0;
    void *new = old && size <= old ? place : __wrap_malloc(size);
    if (new && new != place) {
        memcpy(new, place, old);
        __wrap_free(place);
    }
    return new;
}

/* The same for Python's own allocators, of small objects and of frames, which only a process uses that was woken: what it
 * allocates is close together, too. */
static void *take(void *none, size_t size) { return none ? NULL : __wrap_malloc(size); }
static void *take_zeroes(void *none, size_t count, size_t size) { return none ? NULL : __wrap_calloc(count, size); }
static void *resize(void *none, void *place, size_t size) { return none ? NULL : __wrap_realloc(place, size); }
static void leave(void *none, void *place) { if (!none) __wrap_free(place); }
static void leave_pages(void *none, void *place, size_t size) { if (size) leave(none, place); }

static PyMemAllocatorEx objects, ours = {NULL, take, take_zeroes, resize, leave};
static PyObjectArenaAllocator pages, our_pages = {NULL, take, leave_pages};

static void allocate_by(PyMemAllocatorEx *allocator, PyObjectArenaAllocator *of_pages)
{
    PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, allocator);
    PyMem_SetAllocator(PYMEM_DOMAIN_MEM, allocator);
    PyObject_SetArenaAllocator(of_pages);
}

/* Python 3.11 has modules in its static data, and makes all of their strings those that equal ones share (interns them), which
 * are a few to a page. Without that, naja's own are these, and close together. */
int __wrap__Py_Deepfreeze_Init(void) { return 0; }

/* Write to stdout where the memory begins, and the memory. */
int dump(void)
{
    const char *start = __data_start;
    FILE *file = stdout;
    forget_addresses();
    allocate_by(&objects, &pages);
    asleep = PyEval_SaveThread();
    asleep->thread_id = 0;
    /* The linker gives each process its own of these. */
    environ = NULL;
    stdin = stdout = stderr = NULL;
    size_t length = arena + used[1] - start;
    return fwrite(&start, sizeof start, 1, file) != 1 || fwrite(start, 1, length, file) != length || fflush(file);
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
    return module && PyObject_CallMethod(module, "wake", "NK", variables, ignored) ? 0 : -1;
}

/* Go on where the dump was made: 1, or -1 with a Python exception. In a program that is none yet, prepare for it: 0. */
int wake(void)
{
    if (!asleep) {
        PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &objects);
        PyObject_GetArenaAllocator(&pages);
        allocate_by(&ours, &our_pages);
        return 0;
    }
    /* With this little before it a table of 128 KB, which Python takes next, gets pages of its own and is not cleared. */
    __real_malloc(2 * PAGE);
    PyEval_RestoreThread(asleep);
    /* Since then there is another process, with one thread: as after a fork. */
    PyOS_AfterFork_Child();
    asleep->thread_id = PyThread_get_thread_ident();
#ifdef OWN_STATE /* Where Python keeps which state is this thread's, for who calls back from C (PyGILState_Ensure). */
    PyThread_tss_set(&_PyRuntime.OWN_STATE, asleep);
#endif
    return _PySignal_Init(1) || tell_naja() ? -1 : 1;
}

/* Called by startup/pages.py, for parts of the program's data, while there is one thread and signals are blocked: nobody
 * writes to them meanwhile.
 *
 * Put a part into a file, which is mapped in its place: forks share it, each page until they write to it. */
long put_into_file(char *start, size_t length, int file, off_t place)
{
    if (pwrite(file, start, length, place) != (ssize_t)length)
        return -1;
    return mmap(start, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, place) == start ? 0 : -1;
}

/* Give copies of pages back that are like their originals in the file: what is read there next is the original. */
long give_back_pages(char *const (*page)[2], size_t count)
{
    for (; count--; page++)
        if (!memcmp((*page)[0], (*page)[1], PAGE))
            madvise((*page)[0], PAGE, MADV_DONTNEED);
    return 0;
}
