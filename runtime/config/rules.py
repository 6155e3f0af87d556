"""What a schema cannot say about a config: the process, the root, the mounts, the hooks.

A rule takes a config of valid form and yields what is wrong: a JSON pointer, and why in words.
"""

from __future__ import annotations

import os

from .pattern import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Config = dict[str, Any]
    Findings = Iterator[tuple[str, str]]

#: (uid_t) -1 and (gid_t) -1: to the kernel, "leave it as it is".
NO_ID = 0xFFFFFFFF
#: The points of the life cycle that hooks are for, in their order.
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_ID_SPACE = 1 << 32
_MOST_MAPPINGS = 340  # user_namespaces(7)
_MOST_GROUPS = 65536  # getgroups(2)
_DIGITS = "0123456789"


def namespaces(config: Config) -> dict[str, str]:
    """Return the path of each namespace that a config names, by type; "" for a new one."""
    entries = config.get("linux", {}).get("namespaces", ())
    return {entry["type"]: entry.get("path", "") for entry in entries}


def whole(config: Config) -> Findings:
    """The version (SemVer), and what a container cannot be without. config.md, config-linux.md."""
    version = config["ociVersion"]
    if not is_semver(version):
        yield "/ociVersion", f"{version!r} is not a version such as 1.3.0"
    elif version.split(".", 1)[0] not in {"0", "1"}:
        yield "/ociVersion", f"{version} is newer than 1.x, which naja follows"
    for name in ("root", "linux"):  # A process is needed by start only (config.md, Process).
        if name not in config:
            yield "", f"{name!r} is missing: it is needed to make a container on Linux"
    if config.get("root") and not config["root"]["path"]:
        yield "/root/path", "is empty"
    annotations = config.get("annotations", {})
    if "" in annotations:
        yield "/annotations/", "the name of an annotation is empty"
    if "naja.landlock" in annotations:
        from . import landlock

        yield from landlock.problems(annotations["naja.landlock"])


def is_semver(version: str) -> bool:
    """Tell whether a text is a version by SemVer 2.0.0."""
    version, plus, build = version.partition("+")
    core, dash, early = version.partition("-")
    numbers = core.split(".")
    return (
        len(numbers) == 3
        and all(_is_number(part) and (part == "0" or part[0] != "0") for part in numbers)
        and (not dash or all(_is_label(part) for part in early.split(".")))
        and (not plus or all(_is_label(part) for part in build.split(".")))
    )


def _is_number(text: str) -> bool:
    return text != "" and not text.strip(_DIGITS)


def _is_label(text: str) -> bool:
    return text != "" and text.isascii() and text.replace("-", "a").isalnum()


def text(config: Config) -> Findings:
    """All text must be fit for the kernel: no NUL, and nothing that is no Unicode and no byte."""
    pointer = None if _is_fit(config) else _unfit(config)
    if pointer is not None:
        yield pointer, "holds a character (NUL, or half of a surrogate pair) that cannot be passed on"


def _is_fit(value: Any) -> bool:
    """Tell whether all text in a JSON value is fit; looked at as a whole, as there may be much of it."""
    texts: list[str] = []
    members = [value]
    for member in members:
        kind = type(member)
        if kind is str:
            texts.append(member)
        elif kind is dict:
            texts += member
            members += member.values()
        elif kind is list:
            members += member
    return not _is_unfit("".join(texts))


def _unfit(value: Any) -> str | None:
    """Return where in a JSON value, or a name in it, the unfit text is."""
    if type(value) is str:
        return "" if _is_unfit(value) else None
    members: Any = ()
    if type(value) is dict:
        members = value.items()
    elif type(value) is list:
        members = enumerate(value)
    for name, member in members:
        below = "" if type(name) is str and _is_unfit(name) else _unfit(member)
        if below is not None:
            shown = str(name).replace("\0", "").encode("ascii", "replace").decode()
            return f"/{escape(shown)}{below}"
    return None


def _is_unfit(text: str) -> bool:
    if "\0" in text:
        return True
    if text.isascii():
        return False
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return True
    return False


def process_of(config: Config) -> Findings:
    """The process, and that a new user namespace knows its user."""
    if "process" not in config:
        return
    for pointer, why in process(config["process"]):
        yield f"/process{pointer}", why
    for name, side in (("uid", "uidMappings"), ("gid", "gidMappings")):
        number = config["process"].get("user", {}).get(name, 0)
        ranges = config.get("linux", {}).get(side, ()) if namespaces(config).get("user") == "" else ()
        if ranges and not any(0 <= number - entry["containerID"] < entry["size"] for entry in ranges):
            yield f"/process/user/{name}", f"{number} is not in /linux/{side}"


def process(process: Config) -> Findings:
    """A process, of a container or for exec. config.md, "Process"."""
    if not process.get("args"):
        yield "/args", "names no program"
    elif not process["args"][0]:
        # The words that engines make the exit status 127 of; no program has such a name.
        yield "/args/0", 'exec: "": executable file not found in $PATH'
    if not process["cwd"].startswith("/"):
        yield "/cwd", f"must be an absolute path, not {process['cwd']!r}"
    for index, entry in enumerate(process.get("env", ())):
        if entry.find("=") < 1:
            yield f"/env/{index}", f"must be NAME=value, not {entry!r}"
    yield from _user(process.get("user", {}))
    yield from _rlimits(process.get("rlimits", ()))
    yield from _scheduler(process.get("scheduler"))
    for name, limit in (("height", 0xFFFF), ("width", 0xFFFF)):
        if process.get("consoleSize", {}).get(name, 0) > limit:
            yield f"/consoleSize/{name}", f"a terminal has at most {limit}"
    for name, cpus in process.get("execCPUAffinity", {}).items():
        if name in {"initial", "final"} and not is_list(cpus.replace(" ", "")):
            yield f"/execCPUAffinity/{name}", f"must be a list of CPUs such as 0-3,7, not {cpus!r}"
    label = process.get("selinuxLabel", "")
    if label and label.count(":") < 2:
        yield "/selinuxLabel", f"must be user:role:type, not {label!r}"
    if "\n" in process.get("apparmorProfile", ""):
        yield "/apparmorProfile", "holds a line break"


def _user(user: Config) -> Findings:
    for name in ("uid", "gid"):
        if user.get(name) == NO_ID:
            yield f"/user/{name}", f"{NO_ID} is nobody's id (it is -1)"
    groups = user.get("additionalGids", ())
    if len(groups) > _MOST_GROUPS:
        yield "/user/additionalGids", f"a process has at most {_MOST_GROUPS} groups, not {len(groups)}"
    for index, gid in enumerate(groups):
        if gid == NO_ID:
            yield f"/user/additionalGids/{index}", f"{NO_ID} is nobody's id (it is -1)"


def _rlimits(rlimits: Any) -> Findings:
    seen: set[str] = set()
    for index, rlimit in enumerate(rlimits):
        if rlimit["type"] in seen:
            yield f"/rlimits/{index}/type", f"{rlimit['type']} is set twice"
        seen.add(rlimit["type"])
        if rlimit["soft"] > rlimit["hard"]:
            yield f"/rlimits/{index}/soft", f"{rlimit['soft']} is above the hard limit, {rlimit['hard']}"


def _scheduler(scheduler: Config | None) -> Findings:
    """sched_setattr(2): which attributes go with which policy."""
    if scheduler is None:
        return
    policy, priority = scheduler["policy"], scheduler.get("priority", 0)
    if policy in {"SCHED_FIFO", "SCHED_RR"}:
        if not 1 <= priority <= 99:
            yield "/scheduler/priority", f"must be from 1 to 99 for {policy}, not {priority}"
    elif priority:
        yield "/scheduler/priority", f"is for SCHED_FIFO and SCHED_RR only, not for {policy}"
    times = [scheduler.get(name, 0) for name in ("runtime", "deadline", "period")]
    if policy != "SCHED_DEADLINE":
        for name, time in zip(("runtime", "deadline", "period"), times, strict=True):
            if time:
                yield f"/scheduler/{name}", f"is for SCHED_DEADLINE only, not for {policy}"
    elif not 0 < times[0] <= times[1] <= (times[2] or times[1]):
        yield "/scheduler", "must have 0 < runtime <= deadline <= period"


def is_list(text: str) -> bool:
    """Tell whether a text is a list of numbers and ranges as in cpuset(7), maybe empty.

    A range may have a step behind it, as in 0-15:2/4: two of every four.
    """
    for part in text.split(",") if text else ():
        span, colon, step = part.partition(":")
        first, dash, last = span.partition("-")
        if not _is_number(first) or (dash and not (_is_number(last) and int(first) <= int(last))):
            return False
        used, _, group = step.partition("/")
        if colon and not (dash and _is_number(used) and _is_number(group)):
            return False
    return True


def hooks(config: Config) -> Findings:
    """Hooks are absolute paths. config.md, "POSIX-platform Hooks"."""
    for name in HOOKS:
        for index, hook in enumerate(config.get("hooks", {}).get(name, ())):
            if not hook["path"].startswith("/"):
                yield f"/hooks/{name}/{index}/path", f"must be an absolute path, not {hook['path']!r}"
            for number, entry in enumerate(hook.get("env", ())):
                if entry.find("=") < 1:
                    yield f"/hooks/{name}/{index}/env/{number}", f"must be NAME=value, not {entry!r}"


def mounts(config: Config) -> Findings:
    """Mounts have what they need, and idmapped ones whom to map. config.md, "Mounts"."""
    for index, mount in enumerate(config.get("mounts", ())):
        options = mount.get("options", ())
        kind = mount.get("type", "")
        bind = kind == "bind" or "bind" in options or "rbind" in options
        if not mount["destination"]:
            yield f"/mounts/{index}/destination", "is empty"
        if bind and not mount.get("source"):
            yield f"/mounts/{index}", "a bind mount needs a source"
        if not bind and not kind and "remount" not in options:
            yield f"/mounts/{index}", "has neither a type nor the option bind"
        yield from _idmap(mount, f"/mounts/{index}", bind, "user" in namespaces(config))


def _idmap(mount: Config, at: str, bind: bool, user_namespace: bool) -> Findings:
    """Both mappings of an idmapped mount, or those of the container's user namespace."""
    options = mount.get("options", ())
    uids, gids = mount.get("uidMappings"), mount.get("gidMappings")
    if not (uids or gids or "idmap" in options or "ridmap" in options):
        return
    if not bind:
        yield at, "only a bind mount can be idmapped"
    if bool(uids) != bool(gids):
        yield at, "needs both uidMappings and gidMappings, or neither"
    if not uids and not gids and not user_namespace:
        yield at, "is to be idmapped, but there are no mappings, neither here nor of a user namespace"
    yield from mappings(uids or (), f"{at}/uidMappings")
    yield from mappings(gids or (), f"{at}/gidMappings")


def mappings(entries: Any, at: str) -> Findings:
    """Ranges of ids that the kernel will take: none empty, none overlapping. user_namespaces(7)."""
    if len(entries) > _MOST_MAPPINGS:
        yield at, f"has {len(entries)} ranges; the kernel takes {_MOST_MAPPINGS}"
    for index, entry in enumerate(entries):
        if not entry["size"]:
            yield f"{at}/{index}/size", "is 0"
        for side in ("containerID", "hostID"):
            end = entry[side] + entry["size"]
            if end >= _ID_SPACE:
                yield f"{at}/{index}/{side}", f"the range ends at {end - 1}, beyond the last id"
    for side in ("containerID", "hostID"):
        for one, other in _overlaps(entries, side):
            yield f"{at}/{one}/{side}", f"the range overlaps that of {at}/{other}"


def _overlaps(entries: Any, side: str) -> Iterator[tuple[int, int]]:
    """Return the indices of ranges that overlap with an earlier one, and that one's."""
    farthest, owner = -1, 0
    for first, index in sorted((entry[side], index) for index, entry in enumerate(entries)):
        if first < farthest:
            yield max(index, owner), min(index, owner)
        if (end := first + entries[index]["size"]) > farthest:
            farthest, owner = end, index


#: The rules of this module, in the order in which they are asked.
RULES = (whole, text, process_of, mounts, hooks)
