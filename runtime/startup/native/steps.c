/* Does what start, state, kill and delete have to do for a container that is as it was when it was made.
 *
 * Saves 5 ms of each. runtime/startup/steps.py says what that is, in STEPS: system calls with their arguments, what each
 * has to return, and which step follows where it does not. Here they are taken one by one, and not a word is known of
 * containers: what is true of one (its process, its cgroups) stands in the file of facts beside its record. Whatever is
 * not as it was foreseen is left to Python, which does the whole verb.
 *
 * Defined by runtime/startup/launcher.py are STEPS, the TEXTS that they speak of, the KEYS by which they are found, FACTS
 * (that file's name), MAGIC (its beginning), how many NUMBERS and PLACES there are in it, the LARGEST size that it has, and
 * how many values are GIVEN by what was typed.
 */

#define _GNU_SOURCE
#include "steps.h"

enum { ROOM = 64 << 10, PATIENCE = 1000 /* steps */ };

/* The system calls that a step may make, and what it may do beside them, in the order of steps.py. */
static const short calls[] = {
    SYS_openat, SYS_read, SYS_write, SYS_flock, SYS_statx, SYS_unlinkat, SYS_renameat2, 434 /* pidfd_open */,
    424 /* pidfd_send_signal */, SYS_fgetxattr, SYS_socket, SYS_connect, SYS_sendto, SYS_recvfrom, SYS_setsockopt,
    SYS_getpid, SYS_readlinkat, SYS_nanosleep, SYS_rt_sigaction, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait,
    SYS_fcntl, SYS_fallocate, 430 /* fsopen */, 431 /* fsconfig */, 432 /* fsmount */, 436 /* close_range */,
    SYS_close, SYS_clone, SYS_prctl, SYS_getppid, SYS_fstatfs, SYS_dup3, SYS_exit_group, SYS_getdents64,
};
enum { END = sizeof calls / sizeof *calls, VALUE, MINUS, AFTER, LENGTH, FIELD, NEXT, LETTER, NUMBER, PUT, SAY };

/* What a word of a step is. */
enum { A_NUMBER, A_TEXT, A_PLACE, A_VALUE };

static const struct step { int call, of[5], into; long least, most; int otherwise; } steps[] = {STEPS};
static char texts[] = TEXTS;
static const struct { const char *verb, *more; int first, number; } keys[] = {KEYS};

static union {
    struct { char magic[8]; unsigned long sum; int numbers[NUMBERS], places[PLACES]; } head;
    char text[ROOM];
    unsigned long words[ROOM / sizeof(long)];
} file;

/* Return a field of proc_pid_stat(5), counted from the program's name on. */
static long field(const char *line, long number)
{
    const char *place = line + length(line);
    while (place > line && *--place != ')')
        ;
    for (; number >= 0 && *place; place++)
        number -= *place == ' ';
    return (long)place;
}

static void put(char *place, const char *text)
{
    for (place += length(place); (*place = *text); place++, text++)
        ;
}

/* Take one step after the other; return the exit status, or -1 where it is left to Python. */
long follow(int at, long *values, char **words)
{
    for (int left = PATIENCE; at >= 0 && left--;) {
        const struct step *step = steps + at;
        long of[6] = {0}, result = 0;
        for (int word = 0; word < 5; word++) {
            long number = step->of[word] >> 2;
            int kind = step->of[word] & 3;
            of[word + 1] = kind == A_TEXT    ? (long)(texts + number)
                         : kind == A_PLACE ? (long)(file.text + file.head.places[number])
                         : kind == A_VALUE ? values[number]
                                           : number;
        }
        char *text = (char *)of[1];
        switch (step->call) {
        case END: return of[1];
        case VALUE: result = of[1]; break;
        case MINUS: result = of[1] - of[2]; break;
        case AFTER: result = (long)after(text, (char *)of[2]); break;
        case LENGTH: result = length(text); break;
        case FIELD: result = field(text, of[2]); break;
        case NEXT: result = of[1] + length(text) + 1; break;
        case LETTER: result = (unsigned char)text[of[2]]; break;
        case NUMBER: append(text, of[2]); break;
        case PUT: put(text, (char *)of[2]); break;
        case SAY: words[of[1] + of[2]] = (char *)of[3]; break;
        default: of[0] = calls[step->call], result = kernel_of(of);
        }
        values[step->into] = result;
        at = step->least <= result && result <= step->most ? at + 1 : step->otherwise;
    }
    return -1;
}

/* Tell whether something is the caller's own, and nobody else may write to it. */
static int is_mine(long descriptor, int kind)
{
    struct statx status;
    return look(descriptor, "", &status) && (status.stx_mode & 0170022) == kind
        && status.stx_uid == kernel(SYS_geteuid);
}

/* Read the facts; tell whether they are there as they were written. */
static int learn(long descriptor, long *values)
{
    unsigned long sum = 0;
    long size = kernel(SYS_read, descriptor, (long)file.text, LARGEST);
    for (long place = 2; place < size / (long)sizeof(long); place++)
        sum += file.words[place], sum += sum < file.words[place];
    for (int number = 0; number < NUMBERS; number++)
        values[GIVEN + number] = file.head.numbers[number];
    return size < LARGEST && size % sizeof(long) == 0 && after(file.text, MAGIC) && sum == file.head.sum;
}

/* Return the value of an option where it is this one: behind an equals sign, or the next word. */
static const char *given(char ***words, const char *option)
{
    const char *rest = after(**words, option);
    if (!rest || (*rest && *rest != '='))
        return 0;
    return *rest ? rest + 1 : (*words)[1] ? *++*words : 0;
}

/* Do what the words ask for; return the exit status, or -1 where it is left to Python: with other words, maybe. There is
 * room for two more behind the last. */
long take_steps(char **words, char **environment, int count)
{
    enum { FOLDER = O_RDONLY | O_DIRECTORY | O_CLOEXEC, READ = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC };
    const char *root = 0, *log = "", *id = 0, *more = "", *value;
    char **each = words + 1, **verb;
    for (; *each && **each == '-'; each++)
        if ((value = given(&each, "--root")))
            root = value;
        else if ((value = given(&each, "--log")))
            log = value;
        else if ((value = given(&each, "--log-format")) ? !same(value, "json") && !same(value, "text")
                                                        : !same(*each, "--systemd-cgroup"))
            return -1;
    for (char **variable = environment; *variable; variable++)
        if (after(*variable, "_NAJA_COMPLETE=")
            || (!root && (value = after(*variable, "XDG_RUNTIME_DIR=")) && *value))
            return -1;
    for (verb = each; *each && *++each;)
        if (!id && **each != '-')
            id = *each;
        else if (*more || !**each)
            return -1;
        else
            more = *each;
    root = root ? root : "/run/naja";
    if (!id || *id == '.' || has(id, "/") || has(root, ".."))
        return -1;
    unsigned key = 0, last = sizeof keys / sizeof *keys;
    while (key < last && !(same(*verb, keys[key].verb) && same(more, keys[key].more)))
        key++;
    if (key == last)
        return -1;
    long above = kernel(SYS_openat, AT_FDCWD, (long)root, FOLDER);
    long directory = kernel(SYS_openat, above, (long)id, FOLDER | O_NOFOLLOW);
    long facts = kernel(SYS_openat, directory, (long)FACTS, READ);
    long values[VALUES] = {directory, keys[key].number, above, verb - words, count};
    if (!is_mine(directory, 0040000) || !is_mine(facts, 0100000) || !learn(facts, values))
        return -1;
    if (*log && !same(log, "/dev/stderr")
        && kernel(SYS_openat, AT_FDCWD, (long)log, O_CREAT | O_WRONLY | O_APPEND | O_SYNC | O_CLOEXEC, 0644) < 0)
        return -1;
    return follow(keys[key].first, values, words);
}
