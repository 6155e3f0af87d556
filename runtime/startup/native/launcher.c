/* The command `naja`, for machines with a C compiler: it seals Python before Python starts.
 *
 * Saves 0 / 20 / 25 ms of state / run / exec against a script (make bench-start): the second start.
 *
 * runtime/startup/seal.py tells why a process that enters a container must not run from a file that
 * the container could write to. Sealed by this program, naja is so from its first instruction, and
 * starts Python once. Whatever fails here is left to Python, which seals by itself and starts anew.
 *
 * Defined by runtime/startup/launcher.py are PYTHON (its real path), DIRECTORY and NAME (the two parts of that path),
 * USUAL (a directory with a python3, for when PYTHON is gone), SIZE and CHANGED (of that file), OWN (where these are),
 * EARLY (native/interpreter.c, compiled) and WARM (native/dump.c's program), PACKAGE and SOURCES (its modules), SUM (what
 * tells whether they are as WARM has them, and FACTOR how), LOWER (a directory in it), LENDERS (what the paths of the
 * sockets begin with where shims lend themselves), WARM_UP and SEAL (steps of startup/steps.py) and BODY (what Python is
 * to run); BARE asks for a program without a C library, whose start would take longer than all that is done here.
 */

#define _GNU_SOURCE
#include "steps.h"
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { SIGNALS = 8 /* bytes of the kernel's signal sets */, PATH_ONLY = 010000000, NOFOLLOW = 0x100, EMPTY_PATH = 0x1000 };
/* Bytes that Python takes until it can say what it lacks, and with all of naja loaded. */
enum { LEAST_AS = 16 << 20, LEAST_DATA = 6 << 20, WARM_AS = 48 << 20, WARM_DATA = 32 << 20 };

static long run(int count, char **words, char **environment);

#ifndef BARE

#include <unistd.h>

long kernel_of(const long *of)
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

long kernel_of(const long *of)
{
    long result;
    register long fourth __asm__("r10") = of[4], fifth __asm__("r8") = of[5];
    __asm__ volatile("syscall" : "=a"(result) : "a"(of[0]), "D"(of[1]), "S"(of[2]), "d"(of[3]), "r"(fourth), "r"(fifth)
                     : "rcx", "r11", "memory");
    return result;
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");

#elif defined __aarch64__

long kernel_of(const long *of)
{
    register long number __asm__("x8") = of[0], first __asm__("x0") = of[1], second __asm__("x1") = of[2];
    register long third __asm__("x2") = of[3], fourth __asm__("x3") = of[4], fifth __asm__("x4") = of[5];
    __asm__ volatile("svc #0" : "+r"(first) : "r"(number), "r"(second), "r"(third), "r"(fourth), "r"(fifth) : "memory");
    return first;
}

__asm__(".globl _start\n_start: mov x0, sp\n bl begin\n");

#else
#error "no system calls without a C library on this machine"
#endif

/* The kernel leaves on the stack: the number of arguments, them, a null, the environment. */
__attribute__((used, noreturn)) void begin(long *stack)
{
    char **words = (char **)(stack + 1);
    for (;;)
        kernel(SYS_exit_group, run((int)*stack, words, words + *stack + 1));
}

#endif

const char *after(const char *text, const char *start)
{
    while (*start && *text == *start)
        text++, start++;
    return *start ? 0 : text;
}

int same(const char *one, const char *other)
{
    one = after(one, other);
    return one && !*one;
}

int has(const char *text, const char *part)
{
    while (*text && !after(text, part))
        text++;
    return *text;
}

long length(const char *text)
{
    long end = 0;
    while (text[end])
        end++;
    return end;
}

/* Tell whether a word is a verb that makes a process in a container. */
static int launches(const char *word)
{
    return same(word, "create") || same(word, "run") || same(word, "exec") || same(word, "restore")
        || same(word, "resident");
}

/* Layers and name are the two parts of the path, the first with LOWER. */
struct python { const char *path, *layers, *name; };

static const struct python warm = {OWN "/" WARM, OWN ":" LOWER, WARM};
static const struct python early = {OWN "/" EARLY, OWN ":" LOWER, EARLY};
static const struct python ordinary = {PYTHON, DIRECTORY ":" LOWER, NAME};
/* Where that is gone. */
static const struct python usual = {USUAL "/python3", USUAL ":" LOWER, "python3"};

static const char *const sources[] = {SOURCES 0}; /* below PACKAGE */

int look(long directory, const char *path, struct statx *status)
{
    return kernel(SYS_statx, directory, (long)path, NOFOLLOW | EMPTY_PATH, STATX_BASIC_STATS, (long)status) == 0;
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
    unsigned long sum = 0;
    for (const char *const *each = sources; *each && look(package, *each, &now); each++)
        sum = ((sum * FACTOR + now.stx_size) * FACTOR + now.stx_mtime.tv_sec) * FACTOR + now.stx_mtime.tv_nsec;
    kernel(SYS_close, package);
    return sum && sum == SUM;
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

/* Put the null device in the place of a directory: Python does not start with one as a standard stream, and a
 * container would find its way through it. Tell whether there is no such stream. */
static int close_directory(long stream)
{
    long inside = kernel(SYS_openat, stream, (long)".", PATH_ONLY | O_CLOEXEC);
    if (inside < 0 && inside != -EACCES)
        return inside == -EBADF; /* ENOTDIR; or nothing can be said. */
    kernel(SYS_close, inside);
    kernel(SYS_close, stream);
    long null = kernel(SYS_openat, AT_FDCWD, (long)"/dev/null", O_RDWR);
    if (null >= 0 && null != stream) {
        kernel(SYS_dup3, null, stream, 0);
        kernel(SYS_close, null);
    }
    return 0;
}

/* Have a shim that is there do what this one was called for: a fork of it has all of naja loaded. It says when it is
 * ready, and after a byte from here what the exit status is; words and streams it finds by itself (shim/lending.py).
 * Saves 10 ms of `start` and of `delete`. Returns -1 where there is none, or it gives no answer: then all is done the
 * ordinary way, which finds done what was. */
static long borrow(int count, char **words)
{
    const struct timeval patience = {2, 0};
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
    append(place.sun_path, (long)(hash >> 1));
    long lender = kernel(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC), answered = 0;
    unsigned char answer = 0, asked = (unsigned char)count;
    for (int limit = SO_RCVTIMEO; limit <= SO_SNDTIMEO; limit++)
        kernel(SYS_setsockopt, lender, SOL_SOCKET, limit, (long)&patience, sizeof patience);
    if (!kernel(SYS_connect, lender, (long)&place, sizeof place) && kernel(SYS_read, lender, (long)&answer, 1) == 1
        && kernel(SYS_sendto, lender, (long)&asked, 1, MSG_NOSIGNAL) == 1)
        while ((answered = kernel(SYS_read, lender, (long)&answer, 1)) == -EAGAIN)
            ;
    kernel(SYS_close, lender);
    return answered == 1 ? answer : -1;
}

static int fail(const char *text)
{
    kernel(SYS_write, 2, (long)text, length(text));
    return 1;
}

void append(char *text, long number)
{
    if (number > 9)
        append(text, number / 10);
    text += length(text);
    *text++ = '0' + (char)(number % 10);
    *text = 0;
}

static long run(int count, char **words, char **environment)
{
    char *arguments[count + 7];
    static char *const first[] = {PYTHON, "-IS", "-c", BODY};
    for (int word = 0; word < count + 7; word++)
        arguments[word] = word < 4 ? first[word] : word < count + 4 ? words[word - 4] : 0;

    /* Containerd's shim is a link to this; it stays, and makes many. */
    int closed = 0, makes = 0, stays = count && has(words[0], "containerd-shim-");
    for (long stream = 0; stream < 3; stream++)
        closed |= close_directory(stream);
    for (int word = 1; word < count; word++)
        makes |= launches(words[word]);
    long status = stays                      ? borrow(count, words)
                : makes || closed || !count ? -1
                                             : take_steps(arguments + 4, environment, count);
    if (status >= 0)
        return status;

    const struct python *python = choose();
    if (python == &usual)
        arguments[0] = (char *)usual.path;
    if (is_below(RLIMIT_AS, LEAST_AS) || is_below(RLIMIT_DATA, LEAST_DATA))
        return fail("naja: cannot start: the limit of memory is too low: raise it (ulimit -v, ulimit -d)\n");
    /* Ctrl-C while Python starts would end in a traceback; runtime/cli/main.py lets it through. */
    const unsigned long interrupt[SIGNALS / sizeof(long)] = {1UL << (SIGINT - 1)};
    kernel(SYS_rt_sigprocmask, SIG_BLOCK, (long)interrupt, 0, SIGNALS);
    long values[VALUES] = {(long)python->layers, (long)python->name};
    if (makes)
        follow(WARM_UP, values, 0);
    if (makes || stays) {
        long file = follow(SEAL, values, 0);
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
