/* The command `naja`, for machines with a C compiler: it seals Python before Python starts.
 *
 * Saves 0 / 20 / 25 ms of state / run / exec against a script (make bench-start): the second interpreter.
 *
 * runtime/startup/seal.py tells why a process that enters a container must not run from a file that
 * the container could write to. Sealed by this program, naja is so from its first instruction, and
 * has no second interpreter to start: the container's process is forked from the first. Whatever
 * fails here is left to Python, which seals by itself.
 *
 * Defined by runtime/startup/launcher.py are PYTHON (its real path), DIRECTORY and NAME (the two parts of that path),
 * USUAL (a directory with a python3, for when PYTHON is gone), SIZE and CHANGED (of that file), OWN (where these are),
 * EARLY (native/interpreter.c, compiled) and WARM (native/dump.c's program), PACKAGE and SOURCES (its modules as WARM
 * has them), LOWER (a directory in it), LENDERS (what the paths of the sockets begin with where shims lend themselves)
 * and BODY (what Python is to run); BARE asks for a program without a C library, whose start would take longer than all
 * that is done here.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

/* These are the same on all machines; the headers may be older than they are. */
enum { FSOPEN = 430, FSCONFIG = 431, FSMOUNT = 432, CLOSE_RANGE = 436 };
enum { CGROUP = 0x27E0EB, CGROUP2 = 0x63677270 }; /* statfs(2) */
enum { SIGNALS = 8 }; /* bytes of the kernel's signal sets */
enum { LEAST_AS = 16 << 20, LEAST_DATA = 6 << 20 }; /* bytes that Python takes until it can say what it lacks */
enum { WARM_AS = 48 << 20, WARM_DATA = 32 << 20 };  /* and with all of naja loaded */
enum { SET_STRING = 1, CMD_CREATE = 6, CLOEXEC = 1, RDONLY_NODEV = 0x1 | 0x4, PATH_ONLY = 010000000, NOFOLLOW = 0x100 };

static long run(int count, char **words, char **environment);

/* Make a system call, and return what the kernel returns: an error is negative. */
#define kernel(...) kernel_of((const long[6]){__VA_ARGS__})

#ifndef BARE

#include <unistd.h>

static long kernel_of(const long *of)
{
    long result = syscall(of[0], of[1], of[2], of[3], of[4], of[5]);
    return result < 0 ? -errno : result;
}

int main(int count, char **words)
{
    return run(count, words, environ);
}

#else
#if defined __x86_64__

static long kernel_of(const long *of)
{
    long result;
    register long fourth __asm__("r10") = of[4], fifth __asm__("r8") = of[5];
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(of[0]), "D"(of[1]), "S"(of[2]), "d"(of[3]), "r"(fourth), "r"(fifth)
                     : "rcx", "r11", "memory");
    return result;
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");

#elif defined __aarch64__

static long kernel_of(const long *of)
{
    register long number __asm__("x8") = of[0], first __asm__("x0") = of[1], second __asm__("x1") = of[2];
    register long third __asm__("x2") = of[3], fourth __asm__("x3") = of[4], fifth __asm__("x4") = of[5];
    __asm__ volatile("svc #0"
                     : "+r"(first)
                     : "r"(number), "r"(second), "r"(third), "r"(fourth), "r"(fifth)
                     : "memory");
    return first;
}

__asm__(".globl _start\n_start: mov x0, sp\n bl begin\n");

#else
#error "no system calls without a C library on this machine"
#endif

/* The kernel leaves on the stack: the number of arguments, them, a null, the environment. */
__attribute__((used, noreturn)) void begin(long *stack)
{
    int count = (int)stack[0];
    char **words = (char **)(stack + 1);
    long status = run(count, words, words + count + 1);
    for (;;)
        kernel(SYS_exit_group, status);
}

#endif

static int same(const char *one, const char *other)
{
    while (*one && *one == *other)
        one++, other++;
    return *one == *other;
}

static long length(const char *text)
{
    long end = 0;
    while (text[end])
        end++;
    return end;
}

/* Verbs that make a process in a container. */
static const char *const verbs[] = {"create", "run", "exec", "restore", "resident"};

/* Tell whether this is the link that is containerd's shim, which stays and makes many. */
static int is_shim(const char *word)
{
    static const char shim[] = "containerd-shim-";
    const char *name = word;
    for (const char *each = word; *each; each++)
        if (*each == '/')
            name = each + 1;
    for (unsigned place = 0; place < sizeof shim - 1; place++)
        if (name[place] != shim[place])
            return 0;
    return 1;
}

static int makes_a_process(int count, char **words)
{
    for (int word = 1; word < count; word++)
        for (unsigned verb = 0; verb < sizeof verbs / sizeof *verbs; verb++)
            if (same(words[word], verbs[verb]))
                return 1;
    return 0;
}

struct python {
    const char *path, *layers, *name; /* the two parts of the path, the first with LOWER */
};

static const struct python warm = {OWN "/" WARM, OWN ":" LOWER, WARM};
static const struct python early = {OWN "/" EARLY, OWN ":" LOWER, EARLY};
static const struct python ordinary = {PYTHON, DIRECTORY ":" LOWER, NAME};
/* Where that is gone. */
static const struct python usual = {USUAL "/python3", USUAL ":" LOWER, "python3"};

static const struct source {
    const char *path; /* below PACKAGE */
    unsigned long size;
    long seconds;
    unsigned nanoseconds; /* when it was changed */
} sources[] = {SOURCES{0}};

static int look(long directory, const char *path, struct statx *status)
{
    return kernel(SYS_statx, directory, (long)path, NOFOLLOW, STATX_BASIC_STATS, (long)status) == 0;
}

/* Tell whether an interpreter that was compiled is there, as an ordinary file of the package's owner that nobody
 * else may write to. */
static int is_ours(const struct python *python)
{
    struct statx file, package;
    return look(AT_FDCWD, python->path, &file) && look(AT_FDCWD, LOWER, &package)
        && (file.stx_mode & 0170122) == 0100100 && file.stx_uid == package.stx_uid;
}

/* Tell whether all modules are as they were when they were put into WARM. */
static int are_the_same(void)
{
    struct statx now;
    long package = kernel(SYS_openat, AT_FDCWD, (long)PACKAGE, PATH_ONLY | O_CLOEXEC);
    int same = package >= 0 && sources->path;
    for (const struct source *each = sources; same && each->path; each++)
        same = look(package, each->path, &now) && now.stx_size == each->size
            && now.stx_mtime.tv_sec == each->seconds && now.stx_mtime.tv_nsec == each->nanoseconds;
    kernel(SYS_close, package);
    return same;
}

/* Tell whether a limit of memory is too low for Python to start, or to say so. */
static int is_below(long kind, unsigned long long least)
{
    unsigned long long limits[2] = {0}; /* struct rlimit64 */
    return !kernel(SYS_prlimit64, 0, kind, 0, (long)limits) && limits[0] < least;
}

/* Choose the interpreter: our own where it was linked from the very Python that is there now. */
static const struct python *choose(void)
{
    struct statx now;
    if (!look(AT_FDCWD, PYTHON, &now))
        return &usual;
    if (now.stx_size != SIZE || now.stx_mtime.tv_sec != CHANGED)
        return &ordinary;
    if (is_ours(&warm) && are_the_same() && !is_below(RLIMIT_AS, WARM_AS) && !is_below(RLIMIT_DATA, WARM_DATA))
        return &warm;
    return is_ours(&early) ? &early : &ordinary;
}

/* Open an interpreter below a detached overlay that has no upper layer; negative where that fails. */
static long sealed(const struct python *python)
{
    long filesystem = kernel(FSOPEN, (long)"overlay", CLOEXEC);
    if (filesystem < 0)
        return filesystem;
    long mount = -1;
    if (!kernel(FSCONFIG, filesystem, SET_STRING, (long)"lowerdir", (long)python->layers)
        && !kernel(FSCONFIG, filesystem, CMD_CREATE))
        mount = kernel(FSMOUNT, filesystem, CLOEXEC, RDONLY_NODEV);
    kernel(SYS_close, filesystem);
    /* The mount is not closed: execve does that, and whoever closes it waits for the kernel. */
    return mount < 0 ? mount : kernel(SYS_openat, mount, (long)python->name, PATH_ONLY | O_CLOEXEC);
}

/* Tell whether a descriptor is of a cgroup tree: where one was unmounted, somebody may have left a file. */
static int is_of_cgroups(long descriptor)
{
    long status[32] = {0}; /* struct statfs begins with the type */
    return !kernel(SYS_fstatfs, descriptor, (long)status) && (status[0] == CGROUP || status[0] == CGROUP2);
}

/* Pay early for the first move into a cgroup: runtime/startup/warmup.py tells what for. A process of no
 * further use moves again and again for as long as a container takes to make, and ends, at the latest
 * with this one; no signal tells of its end, for nobody waits for it. */
static void warm_up(void)
{
    static const char *const files[] = {
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/unified/cgroup.procs",
        "/sys/fs/cgroup/systemd/cgroup.procs",
        "/sys/fs/cgroup/pids/cgroup.procs",
    };
    const struct timespec pause = {.tv_nsec = 4000000};
    long procs = -1, parent = kernel(SYS_getpid);
    if (kernel(SYS_clone, 0))
        return;
    kernel(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
    if (kernel(SYS_getppid) != parent)
        kernel(SYS_exit_group, 0);
    for (unsigned file = 0; !is_of_cgroups(procs) && file < sizeof files / sizeof *files; file++)
        procs = kernel(SYS_openat, AT_FDCWD, (long)files[file], O_WRONLY);
    /* Nobody shall wait for an end of the caller's pipes because of this. */
    if (is_of_cgroups(procs) && kernel(SYS_dup3, procs, 0, 0) == 0 && !kernel(CLOSE_RANGE, 1, 0xFFFFFFFF))
        for (int times = 0; times < 12 && kernel(SYS_write, 0, (long)"0", 1) == 1; times++)
            kernel(SYS_nanosleep, (long)&pause);
    for (;;)
        kernel(SYS_exit_group, 0);
}

/* Put the null device in the place of a directory: Python does not start with one as a standard stream, and a
 * container would find its way through it. */
static void close_directory(long stream)
{
    long inside = kernel(SYS_openat, stream, (long)".", PATH_ONLY | O_CLOEXEC);
    if (inside < 0 && inside != -EACCES)
        return; /* ENOTDIR; or nothing can be said. */
    kernel(SYS_close, inside);
    kernel(SYS_close, stream);
    long null = kernel(SYS_openat, AT_FDCWD, (long)"/dev/null", O_RDWR);
    if (null >= 0 && null != stream) {
        kernel(SYS_dup3, null, stream, 0);
        kernel(SYS_close, null);
    }
}

/* Have a shim that is there do what this one was called for: a fork of it has all of naja loaded. It says when it is
 * ready, and after a byte from here what the exit status is; words and streams it finds by itself (shim/lending.py).
 * Saves 10 ms of `start` and of `delete`. Returns -1 where there is none, or it gives no answer: then all is done the
 * ordinary way, which finds done what was. */
static long borrow(int count, char **words)
{
    enum { SECONDS = 2 };
    const struct timeval patience = {SECONDS, 0};
    const char *address = "";
    for (int word = 1; word < count; word++)
        if (same(words[word - 1], "-address"))
            address = words[word];
    if (!*address || count > 255 || (!same(words[count - 1], "start") && !same(words[count - 1], "delete")))
        return -1;
    unsigned long long hash = 0xCBF29CE484222325; /* FNV-1a, 64 bits */
    for (const char *each = address; *each; each++)
        hash = (hash ^ (unsigned char)*each) * 0x100000001B3;
    struct sockaddr_un place = {AF_UNIX, LENDERS};
    for (int digit = 0; digit < 16; digit++)
        place.sun_path[sizeof LENDERS - 1 + digit] = "0123456789abcdef"[hash >> 4 * digit & 15];
    long lender = kernel(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC), answered = 0;
    unsigned char answer = 0, words_wanted = (unsigned char)count;
    kernel(SYS_setsockopt, lender, SOL_SOCKET, SO_SNDTIMEO, (long)&patience, sizeof patience);
    kernel(SYS_setsockopt, lender, SOL_SOCKET, SO_RCVTIMEO, (long)&patience, sizeof patience);
    if (!kernel(SYS_connect, lender, (long)&place, sizeof place) && kernel(SYS_read, lender, (long)&answer, 1) == 1
        && kernel(SYS_sendto, lender, (long)&words_wanted, 1, MSG_NOSIGNAL) == 1)
        do
            answered = kernel(SYS_read, lender, (long)&answer, 1);
        while (answered == -EAGAIN);
    kernel(SYS_close, lender);
    return answered == 1 ? answer : -1;
}

static int fail(const char *text)
{
    kernel(SYS_write, 2, (long)text, length(text));
    return 1;
}

/* Append a descriptor to a path. */
static void append(char *path, long number)
{
    long end = length(path), digits = 1;
    for (long rest = number; rest > 9; rest /= 10)
        digits++;
    path[end + digits] = 0;
    for (; digits--; number /= 10)
        path[end + digits] = '0' + (char)(number % 10);
}

static long run(int count, char **words, char **environment)
{
    const struct python *python = choose();
    char *arguments[count + 5];
    arguments[0] = python == &usual ? (char *)usual.path : PYTHON;
    arguments[1] = "-IS";
    arguments[2] = "-c";
    arguments[3] = BODY;
    for (int word = 0; word <= count; word++)
        arguments[4 + word] = words[word];

    if (is_below(RLIMIT_AS, LEAST_AS) || is_below(RLIMIT_DATA, LEAST_DATA))
        return fail("naja: cannot start: the limit of memory is too low: raise it (ulimit -v, ulimit -d)\n");

    /* Ctrl-C while Python starts would end in a traceback; runtime/cli/main.py lets it through. */
    const unsigned long interrupt[SIGNALS / sizeof(long)] = {1UL << (SIGINT - 1)};
    kernel(SYS_rt_sigprocmask, SIG_BLOCK, (long)interrupt, 0, SIGNALS);
    for (long stream = 0; stream < 3; stream++)
        close_directory(stream);
    const int shim = count && is_shim(words[0]);
    if (shim) {
        const long status = borrow(count, words);
        if (status >= 0)
            return status;
    }
    const int launches = makes_a_process(count, words);
    if (launches)
        warm_up();
    if (launches || shim) {
        long file = sealed(python);
        if (file >= 0) {
            char path[32] = "/proc/self/fd/";
            append(path, file);
            kernel(SYS_execve, (long)path, (long)arguments, (long)environment);
        }
    }
    kernel(SYS_execve, (long)python->path, (long)arguments, (long)environment);
    if (python == &usual)
        return fail("naja: cannot start: its Python is gone, " PYTHON ", and there is no " USUAL "/python3\n");
    return fail("naja: cannot execute " PYTHON "\n");
}
