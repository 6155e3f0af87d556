"""What a schema cannot say about the linux section of a config: namespaces, cgroups, seccomp …

As in ``rules``: a rule takes what has a valid form and yields pointers and reasons.
"""

from __future__ import annotations

from .pattern import escape
from .rules import is_list, mappings, namespaces
from .sysctl import namespace_of, sysctl_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .rules import Config, Findings

_MOST_NAME = 64  # uts_namespaces(7): host and domain names
_MOST_INTERFACE = 15  # IFNAMSIZ less the NUL
_MOST_MAJOR, _MOST_MINOR = (1 << 12) - 1, (1 << 20) - 1  # dev_t inside the kernel
_MOST_ERRNO = 4095
_CLOCKS = {"boottime", "monotonic"}


def linux(config: Config) -> Findings:
    """Namespaces, and what can only be set inside one. config-linux.md."""
    section = config.get("linux", {})
    found = namespaces(config)
    seen: set[str] = set()
    for index, entry in enumerate(section.get("namespaces", ())):
        if entry["type"] in seen:
            yield f"/linux/namespaces/{index}/type", f"the {entry['type']} namespace is named twice"
        seen.add(entry["type"])
        if entry.get("path") and not entry["path"].startswith("/"):
            yield f"/linux/namespaces/{index}/path", f"must be an absolute path, not {entry['path']!r}"
    for name in ("hostname", "domainname"):
        if config.get(name) and "uts" not in found:
            yield f"/{name}", "needs a uts namespace in /linux/namespaces"
        if len(config.get(name, "").encode("utf-8", "surrogateescape")) > _MOST_NAME:
            yield f"/{name}", f"is longer than {_MOST_NAME} bytes"
    for name in ("maskedPaths", "readonlyPaths"):
        for index, path in enumerate(section.get(name, ())):
            if not path.startswith("/"):
                yield f"/linux/{name}/{index}", f"must be an absolute path, not {path!r}"
    yield from _user_namespace(section, found)
    yield from _time_namespace(section, found)
    yield from _net_devices(section, found)
    yield from _sysctl(config, found)


def _user_namespace(section: Config, found: dict[str, str]) -> Findings:
    """A new user namespace has mappings. One that is joined has its own: any given are for looking up."""
    if "user" in found and "mount" not in found:
        yield (
            "/linux/namespaces",
            "a user namespace needs a mount namespace: it has no rights over the host's",
        )
    for name in ("uidMappings", "gidMappings"):
        entries = section.get(name)
        if entries and "user" not in found:
            yield f"/linux/{name}", "needs a user namespace in /linux/namespaces"
        if not entries and found.get("user") == "":
            yield "/linux", f"{name!r} is missing: a new user namespace needs it"
        yield from mappings(entries or (), f"/linux/{name}")


def _time_namespace(section: Config, found: dict[str, str]) -> Findings:
    """Offsets can be set before the first process enters. time_namespaces(7)."""
    offsets = section.get("timeOffsets")
    if offsets and found.get("time") != "":
        yield "/linux/timeOffsets", "needs a new time namespace in /linux/namespaces"
    for clock, offset in (offsets or {}).items():
        if clock not in _CLOCKS:
            yield (
                f"/linux/timeOffsets/{escape(clock)}",
                "is no clock with an offset: these are boottime, monotonic",
            )
        elif offset.get("nanosecs", 0) >= 10**9:
            yield f"/linux/timeOffsets/{clock}/nanosecs", "is a second or more"


def _net_devices(section: Config, found: dict[str, str]) -> Findings:
    """Network devices move to another namespace, under names that the kernel takes."""
    devices = section.get("netDevices")
    if devices and "network" not in found:
        yield "/linux/netDevices", "needs a network namespace in /linux/namespaces"
    taken: set[str] = set()
    for host_name, device in (devices or {}).items():
        at = f"/linux/netDevices/{escape(host_name)}"
        name = device.get("name") or host_name
        if not _is_interface(host_name):
            yield at, f"{host_name!r} cannot be the name of a network interface"
        if not _is_interface(name):
            yield f"{at}/name", f"{name!r} cannot be the name of a network interface"
        if name in taken and "%d" not in name:
            yield f"{at}/name", f"{name!r} is the name of another network device"
        taken.add(name)


def _is_interface(name: str) -> bool:
    """Tell whether the kernel takes a name of a network interface (dev_valid_name)."""
    if name in {"", ".", ".."} or len(name.encode("utf-8", "surrogateescape")) > _MOST_INTERFACE:
        return False
    return not any(character in "/:" or character.isspace() for character in name)


def _sysctl(config: Config, found: dict[str, str]) -> Findings:
    """Only kernel parameters of the container's own namespaces may be set. sysctl(8) for the names."""
    for name in config.get("linux", {}).get("sysctl", ()):
        key, at = sysctl_key(name), f"/linux/sysctl/{escape(name)}"
        if any(part.replace("/", ".") in {"", ".", ".."} for part in key.split(".")):
            yield at, f"{name!r} is not the name of a kernel parameter"
        elif kind := namespace_of(key):
            if kind not in found:
                yield at, f"needs {'an' if kind == 'ipc' else 'a'} {kind} namespace in /linux/namespaces"
            elif key == "kernel.domainname" and config.get("domainname"):
                yield at, "is set by /domainname already"
        elif key == "kernel.hostname":
            yield at, "is to be set by /hostname"
        else:
            yield at, "does not belong to a namespace: it would change the host"


def devices(config: Config) -> Findings:
    """Device nodes have a number that the kernel can hold. config-linux.md, "Devices"."""
    for index, device in enumerate(config.get("linux", {}).get("devices", ())):
        at = f"/linux/devices/{index}"
        if not device["path"].startswith("/"):
            yield f"{at}/path", f"must be an absolute path, not {device['path']!r}"
        if device["type"] == "p":
            continue
        for name, most in (("major", _MOST_MAJOR), ("minor", _MOST_MINOR)):
            if name not in device:
                yield at, f"{name!r} is missing: only a pipe (p) has none"
            elif not 0 <= device[name] <= most:
                yield f"{at}/{name}", f"must be from 0 to {most}, not {device[name]}"


def resources_of(config: Config) -> Findings:
    """The cgroup and its limits."""
    section = config.get("linux", {})
    if ".." in section.get("cgroupsPath", "").split("/"):
        yield "/linux/cgroupsPath", f"must not go up (..): {section['cgroupsPath']!r}"
    for pointer, why in resources(section.get("resources", {})):
        yield f"/linux/resources{pointer}", why
    memory = section.get("resources", {}).get("memory", {})
    limit, swap = memory.get("limit", 0), memory.get("swap", 0)
    if swap > 0 and limit <= 0:
        yield "/linux/resources/memory/swap", "is limited, and memory is not"
    elif 0 < swap < limit:
        yield (
            "/linux/resources/memory/swap",
            f"{swap} is for memory and swap together, and memory alone has {limit}",
        )


def resources(resources: Config) -> Findings:
    """Limits, of a container or for update. config-linux.md, "Control groups"."""
    for index, rule in enumerate(resources.get("devices", ())):
        yield from _device_rule(rule, f"/devices/{index}")
    for name in ("limit", "reservation", "swap", "kernel", "kernelTCP"):
        if resources.get("memory", {}).get(name, 0) < -1:
            yield f"/memory/{name}", "must be a number of bytes, or -1 for no limit"
    yield from _cpu(resources.get("cpu", {}))
    yield from _block_io(resources.get("blockIO", {}))
    for index, priority in enumerate(resources.get("network", {}).get("priorities", ())):
        if not _is_interface(priority["name"]):
            yield f"/network/priorities/{index}/name", f"{priority['name']!r} is not a network interface"
    for name, limits in resources.get("rdma", {}).items():
        if "hcaHandles" not in limits and "hcaObjects" not in limits:
            yield f"/rdma/{escape(name)}", "limits neither hcaHandles nor hcaObjects"
    for name in resources.get("unified", ()):
        controller, dot, parameter = name.partition(".")
        if "/" in name or not (controller and dot and parameter):
            yield f"/unified/{escape(name)}", f"{name!r} is not a file of a controller, such as memory.high"


def _cpu(cpu: Config) -> Findings:
    """Lists are lists; a burst is within the quota; idle is on or off."""
    for name in ("cpus", "mems"):
        if not is_list(cpu.get(name, "").replace(" ", "")):
            yield f"/cpu/{name}", f"must be a list such as 0-3,7, not {cpu[name]!r}"
    if cpu.get("burst", 0) > cpu.get("quota", 0) > 0:
        yield "/cpu/burst", f"{cpu['burst']} is above the quota, {cpu['quota']}"
    if cpu.get("idle", 0) not in {0, 1}:
        yield "/cpu/idle", f"must be 0 or 1, not {cpu['idle']}"


def _device_rule(rule: Config, at: str) -> Findings:
    """A rule of the device cgroup: which kind, which numbers, which accesses."""
    if rule.get("type", "a") not in {"", "a", "b", "c"}:
        yield f"{at}/type", f"must be a, b or c, not {rule['type']!r}"
    access = rule.get("access", "")
    if not access or access.strip("rwm"):
        yield f"{at}/access" if access else at, f"'access' must be made of r, w and m, not {access!r}"
    for name in ("major", "minor"):
        if rule.get(name, 0) < -1:
            yield f"{at}/{name}", "must be a device number, or -1 for any"


def _block_io(block_io: Config) -> Findings:
    """Weights are 10 to 1000, 0 for none; devices are numbers."""
    weighted = [("/blockIO", block_io)]
    for index, device in enumerate(block_io.get("weightDevice", ())):
        weighted.append((f"/blockIO/weightDevice/{index}", device))
        if "weight" not in device and "leafWeight" not in device:
            yield f"/blockIO/weightDevice/{index}", "has neither weight nor leafWeight"
    for at, entry in weighted:
        for name in ("weight", "leafWeight"):
            if entry.get(name) and not 10 <= entry[name] <= 1000:
                yield f"{at}/{name}", f"must be from 10 to 1000, not {entry[name]}"
    for kind in ("weight", "throttleReadBps", "throttleWriteBps", "throttleReadIOPS", "throttleWriteIOPS"):
        for index, device in enumerate(block_io.get(f"{kind}Device", ())):
            if kind != "weight" and "rate" not in device:
                yield f"/blockIO/{kind}Device/{index}", "'rate' is missing"
            for name, most in (("major", _MOST_MAJOR), ("minor", _MOST_MINOR)):
                if not 0 <= device[name] <= most:
                    yield (
                        f"/blockIO/{kind}Device/{index}/{name}",
                        f"must be from 0 to {most}, not {device[name]}",
                    )


def seccomp(config: Config) -> Findings:
    """Which actions return an errno, and what a listener needs. config-linux.md, "Seccomp"."""
    filter = config.get("linux", {}).get("seccomp")
    if filter is None:
        return
    at, notify = "/linux/seccomp", False
    yield from _errno(filter, "defaultAction", "defaultErrnoRet", at)
    if filter["defaultAction"] == "SCMP_ACT_NOTIFY":
        yield f"{at}/defaultAction", "SCMP_ACT_NOTIFY would stop the process before it starts"
    for index, rule in enumerate(filter.get("syscalls", ())):
        yield from _errno(rule, "action", "errnoRet", f"{at}/syscalls/{index}")
        if rule["action"] == "SCMP_ACT_NOTIFY":
            notify = True
            if "write" in rule["names"]:
                why = "SCMP_ACT_NOTIFY for write would stop naja when it sends the listener"
                yield f"{at}/syscalls/{index}/action", why
    if notify and not filter.get("listenerPath"):
        yield at, "'listenerPath' is missing: SCMP_ACT_NOTIFY needs it"
    if filter.get("listenerMetadata") and not filter.get("listenerPath"):
        yield f"{at}/listenerMetadata", "needs a listenerPath"


def _errno(rule: Config, action: str, number: str, at: str) -> Findings:
    """An errno is for the actions that return one."""
    if number not in rule:
        return
    if rule[action] not in {"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"}:
        yield f"{at}/{number}", f"{rule[action]} does not return an errno"
    elif rule[number] > (_MOST_ERRNO if rule[action] == "SCMP_ACT_ERRNO" else 0xFFFF):
        yield f"{at}/{number}", f"{rule[number]} is too large for {rule[action]}"


def tuning(config: Config) -> Findings:
    """resctrl, the memory policy, the personality, the label of mounts. config-linux.md."""
    section = config.get("linux", {})
    clos = section.get("intelRdt", {}).get("closID", "")
    if clos in {".", ".."} or ("/" in clos and clos != "/") or "\n" in clos:
        yield "/linux/intelRdt/closID", f"{clos!r} cannot be the name of a directory"
    if "memoryPolicy" in section:
        yield from _memory_policy(section["memoryPolicy"])
    personality = section.get("personality")
    if personality is not None and "domain" not in personality:
        yield "/linux/personality", "'domain' is missing"
    if personality is not None and personality.get("flags"):
        yield "/linux/personality/flags/0", f"{personality['flags'][0]!r}: no flag is defined"
    if '"' in section.get("mountLabel", ""):
        yield "/linux/mountLabel", "holds a quotation mark"


def _memory_policy(policy: dict[str, Any]) -> Findings:
    """set_mempolicy(2): which modes name nodes, and which flags exclude each other."""
    at, mode, nodes = "/linux/memoryPolicy", policy.get("mode", ""), policy.get("nodes", "")
    flags = policy.get("flags", ())
    if not mode:
        yield at, "'mode' is missing"
    elif not is_list(nodes.replace(" ", "")):
        yield f"{at}/nodes", f"must be a list of nodes such as 0-1,3, not {nodes!r}"
    elif mode in {"MPOL_DEFAULT", "MPOL_LOCAL"} and nodes:
        yield f"{at}/nodes", f"{mode} names no nodes"
    elif mode not in {"MPOL_DEFAULT", "MPOL_LOCAL", "MPOL_PREFERRED"} and not nodes:
        yield at, f"'nodes' is missing: {mode} needs it"
    if "MPOL_F_STATIC_NODES" in flags and "MPOL_F_RELATIVE_NODES" in flags:
        yield f"{at}/flags", "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other"


#: The rules of this module, in the order in which they are asked.
RULES = (linux, devices, resources_of, seccomp, tuning)
