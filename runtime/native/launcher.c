/* The command `naja`, for machines with a C compiler: it seals Python before Python starts.
 *
 * runtime/process/seal.py tells why a process that enters a container must not run from a file that
 * the container could write to. Sealed by this program, naja is so from its first instruction, and
 * has no second interpreter to start: the container's process is forked from the first. Whatever
 * fails here is left to Python, which seals by itself.
 *
 * PYTHON (its real path), DIRECTORY and NAME (the two parts of that path), LOWER (a directory of
 * naja's own) and BODY (what Python is to run) are defined by runtime/launcher.py.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

/* These are the same on all machines; the C library may be older than they are. */
enum { FSOPEN = 430, FSCONFIG = 431, FSMOUNT = 432, CLOSE_RANGE = 436 };
enum { SET_STRING = 1, CMD_CREATE = 6, CLOEXEC = 1, RDONLY_NODEV = 0x1 | 0x4 };

/* Verbs that make a process in a container. */
static const char *const verbs[] = {"create", "run", "exec", "restore"};

static int makes_a_process(int count, char **words)
{
    for (int word = 1; word < count; word++)
        for (size_t verb = 0; verb < sizeof verbs / sizeof *verbs; verb++)
            if (!strcmp(words[word], verbs[verb]))
                return 1;
    return 0;
}

/* Open the interpreter below a detached overlay that has no upper layer; -1 where that fails. */
static int sealed_python(void)
{
    int filesystem = syscall(FSOPEN, "overlay", CLOEXEC);
    if (filesystem < 0)
        return -1;
    int mount = -1;
    if (!syscall(FSCONFIG, filesystem, SET_STRING, "lowerdir", DIRECTORY ":" LOWER, 0)
        && !syscall(FSCONFIG, filesystem, CMD_CREATE, NULL, NULL, 0))
        mount = syscall(FSMOUNT, filesystem, CLOEXEC, RDONLY_NODEV);
    close(filesystem);
    /* The mount is not closed: execve does that, and whoever closes it waits for the kernel. */
    return mount < 0 ? -1 : openat(mount, NAME, O_PATH | O_CLOEXEC);
}

/* Pay early for the first move into a cgroup: runtime/cgroups/warmup.py tells what for. A process of no
 * further use moves again and again for as long as a container takes to make, and ends; no signal
 * tells of its end, for nobody waits for it. */
static void warm_up(void)
{
    static const char *const files[] = {
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/unified/cgroup.procs",
        "/sys/fs/cgroup/systemd/cgroup.procs",
        "/sys/fs/cgroup/pids/cgroup.procs",
    };
    if (syscall(SYS_clone, 0, 0, 0, 0, 0))
        return;
    int procs = -1;
    for (size_t file = 0; procs < 0 && file < sizeof files / sizeof *files; file++)
        procs = open(files[file], O_WRONLY);
    /* Nobody shall wait for an end of the caller's pipes because of this. */
    if (procs < 0 || dup2(procs, 0) < 0 || syscall(CLOSE_RANGE, 1, ~0U, 0))
        _exit(1);
    for (int times = 0; times < 12 && write(0, "0", 1) == 1; times++)
        usleep(4000);
    _exit(0);
}

int main(int count, char **words)
{
    char **arguments = calloc(count + 5, sizeof *arguments);
    if (!arguments)
        return 1;
    arguments[0] = PYTHON;
    arguments[1] = "-IS";
    arguments[2] = "-c";
    arguments[3] = BODY;
    memcpy(arguments + 4, words, count * sizeof *words);

    int python = -1;
    if (makes_a_process(count, words)) {
        warm_up();
        python = sealed_python();
    }
    if (python >= 0) {
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", python);
        execv(path, arguments);
    }
    execv(PYTHON, arguments);
    perror("naja: " PYTHON);
    return 1;
}
