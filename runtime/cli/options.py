"""All verbs and options, declared once: for the parser, the help, man pages and shell completion.

Names, aliases and meanings are runc's; what only naja has is said in the help. An option is given
as ``--name VALUE``, ``--name=VALUE`` or with a single dash, before or after the other arguments.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The kinds of values: true or false, text, an integer, text that may be given several times, and a
#: span of time ("1m30s").
FLAG, TEXT, NUMBER, TEXTS, DURATION = "flag", "text", "number", "texts", "duration"


#: What a value names, for help and completion; other texts are the words that may stand there.
FILE, DIRECTORY, CAPABILITY = "<file>", "<directory>", "<capability>"


class Option:
    """An option: ``names``, long one first, without dashes; what it takes, and where it is not given.

    ``takes`` says what its value names, "" for what nobody can guess.
    """

    __slots__ = ("default", "help", "kind", "name", "names", "takes")

    def __init__(
        self, names: str, help: str, kind: str = TEXT, default: Any = None, *, takes: str = ""
    ) -> None:
        self.takes = takes
        self.names = names.split()
        self.name = self.names[0]
        self.help = help
        self.kind = kind
        if default is None:
            default = {FLAG: False, TEXT: "", NUMBER: 0, TEXTS: (), DURATION: 0.0}[kind]
        self.default = default


class Verb:
    """A command: what it is called with, and the function (in naja.cli.verbs) that does it.

    ``least`` and ``most`` bound the number of arguments, ``most`` of -1 not at all. Where ``greedy``,
    all that follows the container's ID belongs to another program, dashes and all. ``failure`` is the
    exit status where the verb fails; wrong usage is always 1. A verb that ``launches`` makes a process in
    a container.
    """

    __slots__ = (
        "arguments",
        "failure",
        "function",
        "greedy",
        "launches",
        "least",
        "module",
        "most",
        "options",
        "summary",
    )

    def __init__(
        self,
        function: str,
        summary: str,
        arguments: str,
        least: int,
        most: int,
        *options: Option,
        greedy: bool = False,
        failure: int = 1,
        launches: bool = False,
    ) -> None:
        module, _, name = function.partition(".")
        self.module = "naja.cli.verbs." + module
        self.function = name
        self.summary = summary
        self.arguments = arguments
        self.least = least
        self.most = most
        self.options = options
        self.greedy = greedy
        self.failure = failure
        self.launches = launches


HELP = Option("help h", "show help", FLAG)

GLOBAL_OPTIONS = (
    Option("debug", "tell every operation, and where an error arose, as a traceback", FLAG),
    Option("log", "append errors and warnings to this file; an error is shown on stderr as well", takes=FILE),
    Option("log-format", "format of the log: text or json", default="text", takes="text json"),
    Option("root", "directory where the state of containers is kept; should be on a tmpfs", takes=DIRECTORY),
    Option("systemd-cgroup", "let systemd make the cgroup; cgroupsPath is slice:prefix:name then", FLAG),
    Option(
        "rootless",
        "do without what only root may do on cgroups: true, false or auto",
        default="auto",
        takes="true false auto",
    ),
    Option("version v", "print the version", FLAG),
    HELP,
)

_BUNDLE = Option("bundle b", "the bundle's directory (default: the current one)", takes=DIRECTORY)
_CONSOLE = Option("console-socket", "unix socket that the terminal's master end is sent to", takes=FILE)
_PID_FILE = Option("pid-file", "file to write the process's pid to", takes=FILE)
_PIDFD = Option("pidfd-socket", "unix socket that a pidfd of the process is sent to", takes=FILE)
_NO_PIVOT = Option(
    "no-pivot", "move the root with MS_MOVE and chroot instead of pivot_root (for a ramdisk)", FLAG
)
_NO_KEYRING = Option("no-new-keyring", "keep the caller's session keyring", FLAG)
_PRESERVE = Option("preserve-fds", "pass N file descriptors on, beside stdio and $LISTEN_FDS", NUMBER)
_DETACH = Option("detach d", "do not wait for the process", FLAG)
_NO_SUBREAPER = Option("no-subreaper", "do not become the reaper of orphaned processes", FLAG)
_FORMAT = Option("format f", "table or json", default="table", takes="table json")
_DIFF = Option("diff", "tell what changes with another bundle, config.json or container", takes=DIRECTORY)
_MAKING = (_BUNDLE, _CONSOLE, _PIDFD, _PID_FILE, _NO_PIVOT, _NO_KEYRING, _PRESERVE)

_EXEC = (
    _CONSOLE,
    _PIDFD,
    _PID_FILE,
    _DETACH,
    _PRESERVE,
    Option("process p", "file that holds the process as JSON, as in config.json", takes=FILE),
    Option("tty t", "give the process a terminal", FLAG),
    Option("cwd", "working directory in the container"),
    Option("env e", "set an environment variable, NAME=VALUE; may be repeated", TEXTS),
    Option("user u", "run as UID or UID:GID, or by the container's /etc/passwd as NAME or NAME:GROUP"),
    Option("additional-gids g", "a supplementary group ID; may be repeated", TEXTS),
    Option("process-label", "SELinux label of the process"),
    Option("apparmor", "AppArmor profile of the process"),
    Option("no-new-privs", "set no_new_privs", FLAG),
    Option("cap c", "add a capability; may be repeated", TEXTS, takes=CAPABILITY),
    Option(
        "cgroup",
        "run in this existing cgroup below the container's, [CONTROLLER:]PATH; may be repeated",
        TEXTS,
    ),
    Option(
        "limit",
        "limit this process and its children: memory=SIZE, pids=N, cpus=N, cpuset=LIST; may be repeated",
        TEXTS,
    ),
    Option("ignore-paused", "do not refuse a paused container", FLAG),
)

_UPDATE = (
    Option("resources r", "file that holds the limits as JSON (linux.resources), - for stdin", takes=FILE),
    Option("blkio-weight", "weight of block I/O, 10 to 1000", NUMBER),
    Option("cpu-period", "CFS period in µs"),
    Option("cpu-quota", "CPU time in each period, in µs"),
    Option("cpu-burst", "CPU time that may be saved up for a later period, in µs"),
    Option("cpu-share", "relative weight of CPU time"),
    Option("cpu-rt-period", "period of real-time scheduling in µs"),
    Option("cpu-rt-runtime", "real-time CPU time in each period, in µs"),
    Option("cpu-idle", "1: run only where no one else wants to; 0: as usual", takes="0 1"),
    Option("cpuset-cpus", "CPUs that may be used, as 0-3,7"),
    Option("cpuset-mems", "memory nodes that may be used, as 0-1"),
    Option("memory", "memory limit in bytes, or with k, m, g; -1 for none"),
    Option("memory-reservation", "soft memory limit"),
    Option("memory-swap", "limit of memory and swap together; -1 for none"),
    Option("kernel-memory", "kernel memory limit (obsolete)"),
    Option("kernel-memory-tcp", "limit of TCP buffers (cgroup v1)"),
    Option("pids-limit", "number of processes; -1 for no limit", TEXT),
    Option("l3-cache-schema", "Intel RDT: L3 cache schema"),
    Option("mem-bw-schema", "Intel RDT: memory bandwidth schema"),
)

_CRIU = (
    Option("image-path", "directory of the images", takes=DIRECTORY),
    Option("work-path", "directory of work files and logs", takes=DIRECTORY),
    Option("tcp-established", "allow open TCP connections", FLAG),
    Option("ext-unix-sk", "allow connections to unix sockets outside of the container", FLAG),
    Option("shell-job", "allow a terminal that is shared with the outside", FLAG),
    Option("lazy-pages", "let memory pages follow by userfaultfd", FLAG),
    Option("file-locks", "handle file locks", FLAG),
    Option(
        "manage-cgroups-mode",
        "what to do with cgroups: ignore, soft, full or strict",
        takes="ignore soft full strict",
    ),
    Option(
        "empty-ns",
        "make this namespace but do not restore its properties; may be repeated",
        TEXTS,
        takes="network",
    ),
    Option("auto-dedup", "drop pages of a parent image once they are newer here", FLAG),
)
_CHECKPOINT = (
    *_CRIU,
    Option("parent-path", "directory of an earlier image, relative to this one", takes=DIRECTORY),
    Option("leave-running", "let the container run on", FLAG),
    Option("status-fd", "descriptor to write a zero byte to once pages can be served", NUMBER, -1),
    Option("page-server", "ADDRESS:PORT of the page server"),
    Option("pre-dump", "dump the memory only, and let the container run on", FLAG),
    Option("link-remap", "allow open files that were deleted", FLAG),
    Option("tcp-skip-in-flight", "leave out TCP connections that are not established yet", FLAG),
)
_RESTORE = (
    *_CRIU,
    Option("parent-path", "directory of the earlier image that this one builds on", takes=DIRECTORY),
    _BUNDLE,
    _CONSOLE,
    _PID_FILE,
    _DETACH,
    _NO_SUBREAPER,
    _NO_PIVOT,
    Option("tcp-close", "restore TCP connections as closed", FLAG),
    Option("lsm-profile", "LSM profile, TYPE:NAME"),
    Option("lsm-mount-context", "SELinux context of the mounts"),
)

_ID = "<container-id>"

#: What is for programs only, and no part of the help.
SERVICES = {
    "hear": Verb("lifecycle.hear", "go on with a start that the launcher has begun", "", 3, 3),
    "ids": Verb("listing.ids", "print the IDs of all containers, for shells to complete", "", 0, 0),
    "traced": Verb(
        "tracing.traced",
        "run a container for trace",
        "run <descriptor> <bundle> <container-id>",
        4,
        4,
        _NO_PIVOT,
        _NO_KEYRING,
        _PRESERVE,
    ),
    "resident": Verb(
        "resident.resident",
        "keep containers for the program on standard input",
        "",
        0,
        0,
        Option("background", "go on as nobody's child", FLAG),
    ),
}

VERBS = {
    "audit": Verb(
        "insight.audit",
        "tell what a container could do to the host, with a score (naja's own)",
        "[bundle | container-id]",
        0,
        1,
        _NO_PIVOT,
        _NO_KEYRING,
        _PRESERVE,
        _DIFF,
        Option("json", "tell it as JSON", FLAG),
        Option("fail-above", "exit with status 2 where the score, from 0 to 10, is above this"),
    ),
    "checkpoint": Verb("checkpoint.checkpoint", "save a running container to files", _ID, 1, 1, *_CHECKPOINT),
    "completion": Verb(
        "people.completion",
        "print what makes a shell complete naja's words (naja's own)",
        "bash|zsh|fish",
        1,
        1,
    ),
    "create": Verb("lifecycle.create", "create a container", _ID, 1, 1, *_MAKING, launches=True),
    "delete": Verb(
        "lifecycle.delete",
        "remove what a stopped container leaves",
        _ID,
        1,
        1,
        Option("force f", "kill it first if it runs; an unknown ID is no error", FLAG),
    ),
    "doctor": Verb(
        "insight.doctor",
        "tell what this host lets you do, and what keeps a bundle from running (naja's own)",
        "[bundle]",
        0,
        1,
        Option("json", "tell it as JSON", FLAG),
    ),
    "events": Verb(
        "resources.events",
        "print statistics and out-of-memory events of one container or all, a JSON object a line",
        f"[{_ID}]",
        0,
        1,
        Option("interval", "time between statistics", DURATION, 5.0),
        Option("stats", "print the statistics once", FLAG),
    ),
    "exec": Verb(
        "execute.execute",
        "run another process in a container",
        _ID + " <command> [arguments...] | -p FILE " + _ID,
        1,
        -1,
        *_EXEC,
        greedy=True,
        failure=255,
        launches=True,
    ),
    "features": Verb("people.features", "print what this naja supports, as JSON", "", 0, 0),
    "kill": Verb(
        "lifecycle.kill",
        "send a signal (default: SIGTERM) to the container's process",
        _ID + " [signal]",
        1,
        2,
        Option("all a", "send it to all processes of the container", FLAG),
    ),
    "list": Verb(
        "listing.list_",
        "list the containers below the state root",
        "",
        0,
        0,
        _FORMAT,
        Option("quiet q", "print IDs only", FLAG),
    ),
    "mount": Verb(
        "mounting.mount",
        "mount a file or directory of the host, or a file system, in a running container (naja's own)",
        _ID + " <source> <destination>",
        3,
        3,
        Option(
            "type t",
            "bind, or the type of a new file system such as tmpfs",
            default="bind",
            takes="bind tmpfs",
        ),
        Option("option o", "an option as mounts in config.json have them: ro, rbind; may be repeated", TEXTS),
    ),
    "pause": Verb("lifecycle.pause", "suspend all processes of a container", _ID, 1, 1),
    "plan": Verb(
        "people.plan",
        "print what creating a container would do (naja's own)",
        "[bundle]",
        0,
        1,
        _BUNDLE,
        _CONSOLE,
        _NO_PIVOT,
        _NO_KEYRING,
        _PRESERVE,
        _DIFF,
        Option("json", "print it as JSON", FLAG),
        Option("run", "the plan of run, which does not wait for start", FLAG),
    ),
    "ps": Verb(
        "listing.ps", "list the processes of a container", _ID + " [ps options]", 1, -1, _FORMAT, greedy=True
    ),
    "restore": Verb(
        "checkpoint.restore", "start a container from what checkpoint saved", _ID, 1, 1, *_RESTORE
    ),
    "resume": Verb("lifecycle.resume", "let a paused container run on", _ID, 1, 1),
    "run": Verb(
        "lifecycle.run",
        "create and start a container, and wait for its process",
        _ID,
        1,
        1,
        *_MAKING,
        _DETACH,
        Option("keep", "do not delete the container when it ends", FLAG),
        _NO_SUBREAPER,
        launches=True,
    ),
    "spec": Verb(
        "people.spec",
        "write a config.json to start from",
        "[command...]",
        0,
        -1,
        _BUNDLE,
        Option("rootless", "for a container of a user; =false is for one of root", FLAG, "auto"),
        Option("host", "with the host's own files, read-only, as root file system (naja's own)", FLAG),
        greedy=True,
    ),
    "start": Verb("lifecycle.start", "run the program of a created container", _ID, 1, 1),
    "state": Verb("lifecycle.state", "print the state of a container, as JSON", _ID, 1, 1),
    "top": Verb(
        "watching.top",
        "show what all containers use, again and again (naja's own)",
        "",
        0,
        0,
        Option("interval", "time between looks", DURATION, 2.0),
        Option("once", "show it once", FLAG),
        Option("number n", "show it so many times (default: until interrupted)", NUMBER),
    ),
    "trace": Verb(
        "tracing.trace",
        "run a bundle, and show how long each operation takes in each process (naja's own)",
        "[bundle]",
        0,
        1,
        _BUNDLE,
        Option("id", "the container's ID (default: one that no other has)"),
        Option("output o", "write it as a Chrome trace to this file, for Perfetto", takes=FILE),
        _NO_PIVOT,
        _NO_KEYRING,
        _PRESERVE,
    ),
    "umount": Verb(
        "mounting.umount",
        "take away what mount has put there (naja's own)",
        _ID + " <destination>",
        2,
        2,
    ),
    "update": Verb("resources.update", "change the limits of a container", _ID, 1, 1, *_UPDATE),
    "validate": Verb(
        "people.validate",
        "report every problem of a bundle's config.json (naja's own)",
        "[bundle]",
        0,
        1,
        _BUNDLE,
        Option("json", "report as JSON", FLAG),
    ),
}
