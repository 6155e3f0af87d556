"""The verb ``exec``: from a file or from options to the process that is to run."""

from __future__ import annotations

from ... import config
from ...container.execution import execute as run_process
from ...container.lifecycle import Container
from ...errors import NajaError
from ...linux import capabilities
from ...plan.request import NO_PROCESS
from ..values import group, integer, json_file, size, user, user_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..output import Log
    from ..parser import Command


#: The options that change a member of the container's own process.
_OPTIONS = {
    "cwd": ("cwd",),
    "selinuxLabel": ("process-label",),
    "apparmorProfile": ("apparmor",),
    "capabilities": ("cap",),
    "terminal": ("tty", "console-socket"),
    "user": ("user", "additional-gids"),
    "env": ("env",),
}


def execute(command: Command, log: Log) -> int:
    """Run a process in a container. Returns its exit code; 0 with ``--detach``."""
    options = command.options
    container = Container.load(command.id, root=command.root, warn=log.warning)
    if options["process"]:
        origin = f"--process {options['process']} "
        process = _from_file(options["process"])
    else:
        origin = "/process"
        options = {**options, "cap": _known(options["cap"], log)}
        own = container.config.get("process") or NO_PROCESS
        process = _from_options(own, command.arguments[1:], options)
    try:
        return _run(container, process, origin, command)
    except NajaError as error:
        error.origin = _typed(error.origin, options)
        raise


def _run(container: Container, process: dict[str, Any], origin: str, command: Command) -> int:
    options = command.options
    return run_process(
        container,
        process,
        origin=origin,
        launch=command.launch,
        console_socket=options["console-socket"],
        pid_file=options["pid-file"],
        pidfd_socket=options["pidfd-socket"],
        preserve_fds=options["preserve-fds"],
        detach=options["detach"],
        cgroup=_cgroups(options["cgroup"]),
        ignore_paused=options["ignore-paused"],
        limits=_limits(options["limit"]),
        user=options["user"] if user_names(options["user"]) and not options["process"] else "",
    )


def _from_file(path: str) -> dict[str, Any]:
    """Read a process object as config.json holds it. Raises NajaError."""
    process: dict[str, Any] = json_file(path)
    config.check_process(process, f"--process {path}")
    return process


def _typed(origin: str, options: dict[str, Any]) -> str:
    """Return the option that an origin in the container's own process stands for, or the origin itself."""
    if options["process"] and origin.startswith("/process/"):
        return f"--process {options['process']} {origin.removeprefix('/process')}"
    if origin == "/linux/cgroupsPath" and options["cgroup"]:
        return "--cgroup"
    if origin.startswith("/process/args"):
        return ""  # They are all that was typed.
    member = origin.removeprefix("/process/").partition("/")[0]
    return next((f"--{name}" for name in _OPTIONS.get(member, ()) if options[name]), origin)


def _from_options(process: dict[str, Any], args: list[str], options: dict[str, Any]) -> dict[str, Any]:
    """Return the container's own process, with what the options change. Raises NajaError."""
    if not args:
        raise NajaError("process args cannot be empty")
    process = {**process, "args": args, "terminal": options["tty"]}
    process["env"] = [*(process.get("env") or ()), *options["env"]]
    for option, name in (("cwd", "cwd"), ("process-label", "selinuxLabel"), ("apparmor", "apparmorProfile")):
        if options[option]:
            process[name] = options[option]
    if not process["cwd"].startswith("/"):
        raise NajaError("--cwd", why=f"must be an absolute path, not {process['cwd']!r}")
    if options["no-new-privs"]:
        process["noNewPrivileges"] = True
    process["user"] = _user(process.get("user") or {}, options)
    if options["cap"]:
        process["capabilities"] = _with_capabilities(process.get("capabilities") or {}, options["cap"])
    return process


def _cgroups(texts: tuple[str, ...]) -> dict[str, str]:
    """Read ``--cgroup``: the path by controller, "" for all of them. Raises NajaError."""
    paths: dict[str, str] = {}
    for text in texts:
        controllers, colon, path = text.rpartition(":")
        for controller in controllers.split(",") if colon else [""]:
            if controller in paths:
                raise NajaError(f"more than one --cgroup for {controller or 'all controllers'}")
            paths[controller] = path
    if "" in paths and len(paths) > 1:
        raise NajaError("--cgroup without a controller cannot be combined with another")
    return paths


def _limits(texts: tuple[str, ...]) -> dict[str, Any]:
    """Read ``--limit``, as /linux/resources has it. Raises NajaError."""
    resources: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value or name not in _LIMITS:
            raise NajaError(f"invalid value for --limit: {text!r}", why=f"known are {', '.join(_LIMITS)}")
        section, values = _LIMITS[name](value)
        resources.setdefault(section, {}).update(values)
    return resources


def _memory_limit(text: str) -> tuple[str, dict[str, Any]]:
    return "memory", {"limit": _positive(size("limit memory", text), text)}


def _pids_limit(text: str) -> tuple[str, dict[str, Any]]:
    return "pids", {"limit": _positive(integer("limit pids", text), text)}


def _cpus_limit(text: str) -> tuple[str, dict[str, Any]]:
    whole, _, part = text.partition(".")
    if not (whole + part).isdecimal() or not whole.isascii() or len(text) > 12:
        raise NajaError(f"invalid value for --limit: cpus={text!r} is not a number")
    return "cpu", {"quota": _positive(int(float(text) * _PERIOD), text), "period": _PERIOD}


def _cpuset_limit(text: str) -> tuple[str, dict[str, Any]]:
    return "cpu", {"cpus": text}


def _positive(number: int, text: str) -> int:
    if number <= 0:
        raise NajaError(f"invalid value for --limit: {text!r}", why="a limit is more than 0")
    return number


#: What ``--limit`` takes: the section of linux.resources that it is for, and what is in there.
_LIMITS = {"memory": _memory_limit, "pids": _pids_limit, "cpus": _cpus_limit, "cpuset": _cpuset_limit}

#: In which the kernel counts processor time, in µs (its default).
_PERIOD = 100_000


def _user(base: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return the container's user, changed by ``--user`` and ``--additional-gids``."""
    identity = dict(base)
    if user_names(options["user"]):
        # Looked up in the container, which has its own groups.
        identity["additionalGids"], base = [], {}
    elif options["user"]:
        uid, gid = user(options["user"])
        identity["uid"] = uid
        if gid is not None:
            identity["gid"] = gid
    if options["additional-gids"]:
        more = [group("additional-gids", text) for text in options["additional-gids"]]
        identity["additionalGids"] = [*(base.get("additionalGids") or ()), *more]
    return identity


def _known(names: tuple[str, ...], log: Log) -> tuple[str, ...]:
    """Return those of ``--cap`` that are capabilities; what is none is no error (config.md)."""
    for name in names:
        if name not in capabilities.NUMBERS:
            log.warning(f"unknown capabilities are left out: {name}, asked for by --cap")
    return tuple(name for name in names if name in capabilities.NUMBERS)


def _with_capabilities(base: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Add capabilities to the sets that count now, and to the ambient one what is inheritable already.

    Never to the inheritable one: a program in the container could regain them from there after it gave them
    up (CVE-2022-29162).
    """
    inheritable = base.get("inheritable") or ()
    ambient = [capability for capability in names if capability in inheritable]
    sets = dict(base)
    for name in ("bounding", "effective", "permitted", "ambient"):
        held = list(base.get(name) or ())
        added = ambient if name == "ambient" else names
        sets[name] = held + [capability for capability in added if capability not in held]
    return sets
