"""Is this a valid config.json? Compiled from schemas/ by runtime/config/compile.py: do not edit.

Every function takes a parsed JSON value and returns None where it is valid, otherwise a JSON
pointer to the first place that is not.
"""
# ruff: noqa: D103, E501, N802, PLR0911, PLR0912
# fmt: off

from __future__ import annotations

from naja.config.pattern import escape, matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROCESS_RLIMITS_ITEM_TYPE = ("RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_LOCKS", "RLIMIT_MEMLOCK", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_RSS", "RLIMIT_RTPRIO", "RLIMIT_RTTIME", "RLIMIT_SIGPENDING", "RLIMIT_STACK")

_PROCESS_IOPRIORITY_CLASS = ("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE")

_PROCESS_SCHEDULER_POLICY = ("SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE")

_PROCESS_SCHEDULER_FLAGS_ITEM = ("SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_PARAMS", "SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX")

_PROCESS_EXECCPUAFFINITY_INITIAL = (("0123456789, -", "*"),)

_NAMESPACETYPE = ("mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time")

_LINUX_DEVICES_ITEM_TYPE = ("b", "c", "p", "u")

_RESOURCES_HUGEPAGELIMITS_ITEM_PAGESIZE = (("123456789", "1"), ("0123456789", "*"), ("KMG", "1"), ("B", "1"))

_LINUX_ROOTFSPROPAGATION = ("", "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable")

_SECCOMP_ACTION = ("SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO", "SCMP_ACT_TRACE", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY")

_SECCOMP_ARCHITECTURE = ("SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64", "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_S390", "SCMP_ARCH_S390X", "SCMP_ARCH_SH", "SCMP_ARCH_SHEB", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64", "SCMP_ARCH_RISCV64")

_SECCOMP_FLAG = ("SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")

_SECCOMP_OPERATOR = ("SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ")

_LINUX_INTELRDT_MEMBWSCHEMA = (("M", "1"), ("B", "1"), (":", "1"), ("^\n", "*"))

_LINUX_MEMORYPOLICY_MODE = ("MPOL_DEFAULT", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_PREFERRED", "MPOL_PREFERRED_MANY", "MPOL_LOCAL")

_LINUX_MEMORYPOLICY_FLAGS_ITEM = ("MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES")

_LINUX_PERSONALITY_DOMAIN = ("LINUX", "LINUX32")

_OWNORINHERITED = ("new", "inherit")

_SHARING = ("disable", "new", "inherit")

_VM_IMAGE_FORMAT = ("raw", "qcow2", "vdi", "vmdk", "vhd")

_WINDOWS_DEVICES_ITEM_IDTYPE = ("class",)

_ZOS_NAMESPACES_ITEM_TYPE = ("mount", "pid", "uts", "ipc")


def config_root(value: Any) -> str | None:
    if type(value) is not dict or "path" not in value:
        return ""
    if type(value["path"]) is not str:
        return "/path"
    if "readonly" in value and (type(value["readonly"]) is not bool):
        return "/readonly"
    return None


def strings(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if type(item) is not str:
            return f"/{index}"
    return None


def idMappings_item(value: Any) -> str | None:
    if type(value) is not dict or "containerID" not in value or "hostID" not in value or "size" not in value:
        return ""
    if type(item := value["containerID"]) is not int or not 0 <= item <= 4294967295:
        return "/containerID"
    if type(item := value["hostID"]) is not int or not 0 <= item <= 4294967295:
        return "/hostID"
    if type(item := value["size"]) is not int or not 0 <= item <= 4294967295:
        return "/size"
    return None


def idMappings(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := idMappings_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def mounts_item(value: Any) -> str | None:
    if type(value) is not dict or "destination" not in value:
        return ""
    if type(value["destination"]) is not str:
        return "/destination"
    if "type" in value and (type(value["type"]) is not str):
        return "/type"
    if "source" in value and (type(value["source"]) is not str):
        return "/source"
    if "options" in value and ((bad := strings(value["options"])) is not None):
        return f"/options{bad}"
    if "uidMappings" in value and ((bad := idMappings(value["uidMappings"])) is not None):
        return f"/uidMappings{bad}"
    if "gidMappings" in value and ((bad := idMappings(value["gidMappings"])) is not None):
        return f"/gidMappings{bad}"
    return None


def mounts(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := mounts_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def process_consoleSize(value: Any) -> str | None:
    if type(value) is not dict or "height" not in value or "width" not in value:
        return ""
    if type(item := value["height"]) is not int or not 0 <= item <= 18446744073709551615:
        return "/height"
    if type(item := value["width"]) is not int or not 0 <= item <= 18446744073709551615:
        return "/width"
    return None


def ids(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if type(item) is not int or not 0 <= item <= 4294967295:
            return f"/{index}"
    return None


def process_user(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "uid" in value and (type(item := value["uid"]) is not int or not 0 <= item <= 4294967295):
        return "/uid"
    if "gid" in value and (type(item := value["gid"]) is not int or not 0 <= item <= 4294967295):
        return "/gid"
    if "umask" in value and (type(item := value["umask"]) is not int or not 0 <= item <= 511):
        return "/umask"
    if "additionalGids" in value and ((bad := ids(value["additionalGids"])) is not None):
        return f"/additionalGids{bad}"
    if "username" in value and (type(value["username"]) is not str):
        return "/username"
    return None


def process_capabilities(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "bounding" in value and ((bad := strings(value["bounding"])) is not None):
        return f"/bounding{bad}"
    if "permitted" in value and ((bad := strings(value["permitted"])) is not None):
        return f"/permitted{bad}"
    if "effective" in value and ((bad := strings(value["effective"])) is not None):
        return f"/effective{bad}"
    if "inheritable" in value and ((bad := strings(value["inheritable"])) is not None):
        return f"/inheritable{bad}"
    if "ambient" in value and ((bad := strings(value["ambient"])) is not None):
        return f"/ambient{bad}"
    return None


def process_rlimits_item(value: Any) -> str | None:
    if type(value) is not dict or "type" not in value or "soft" not in value or "hard" not in value:
        return ""
    if value["type"] not in _PROCESS_RLIMITS_ITEM_TYPE:
        return "/type"
    if type(item := value["soft"]) is not int or not 0 <= item <= 18446744073709551615:
        return "/soft"
    if type(item := value["hard"]) is not int or not 0 <= item <= 18446744073709551615:
        return "/hard"
    return None


def process_rlimits(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := process_rlimits_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def process_ioPriority(value: Any) -> str | None:
    if type(value) is not dict or "class" not in value:
        return ""
    if value["class"] not in _PROCESS_IOPRIORITY_CLASS:
        return "/class"
    if "priority" in value and (type(item := value["priority"]) is not int or not 0 <= item <= 7):
        return "/priority"
    return None


def process_scheduler_flags(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if item not in _PROCESS_SCHEDULER_FLAGS_ITEM:
            return f"/{index}"
    return None


def process_scheduler(value: Any) -> str | None:
    if type(value) is not dict or "policy" not in value:
        return ""
    if value["policy"] not in _PROCESS_SCHEDULER_POLICY:
        return "/policy"
    if "nice" in value and (type(item := value["nice"]) is not int or not -20 <= item <= 19):
        return "/nice"
    if "priority" in value and (type(item := value["priority"]) is not int or not -2147483648 <= item <= 2147483647):
        return "/priority"
    if "flags" in value and ((bad := process_scheduler_flags(value["flags"])) is not None):
        return f"/flags{bad}"
    if "runtime" in value and (type(item := value["runtime"]) is not int or not 0 <= item <= 18446744073709551615):
        return "/runtime"
    if "deadline" in value and (type(item := value["deadline"]) is not int or not 0 <= item <= 18446744073709551615):
        return "/deadline"
    if "period" in value and (type(item := value["period"]) is not int or not 0 <= item <= 18446744073709551615):
        return "/period"
    return None


def process_execCPUAffinity(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "initial" in value and (type(item := value["initial"]) is not str or not matches(item, _PROCESS_EXECCPUAFFINITY_INITIAL)):
        return "/initial"
    if "final" in value and (type(item := value["final"]) is not str or not matches(item, _PROCESS_EXECCPUAFFINITY_INITIAL)):
        return "/final"
    return None


def process(value: Any) -> str | None:
    if type(value) is not dict or "cwd" not in value:
        return ""
    if "terminal" in value and (type(value["terminal"]) is not bool):
        return "/terminal"
    if "consoleSize" in value and ((bad := process_consoleSize(value["consoleSize"])) is not None):
        return f"/consoleSize{bad}"
    if type(value["cwd"]) is not str:
        return "/cwd"
    if "env" in value and ((bad := strings(value["env"])) is not None):
        return f"/env{bad}"
    if "args" in value and ((bad := strings(value["args"])) is not None):
        return f"/args{bad}"
    if "commandLine" in value and (type(value["commandLine"]) is not str):
        return "/commandLine"
    if "user" in value and ((bad := process_user(value["user"])) is not None):
        return f"/user{bad}"
    if "capabilities" in value and ((bad := process_capabilities(value["capabilities"])) is not None):
        return f"/capabilities{bad}"
    if "rlimits" in value and ((bad := process_rlimits(value["rlimits"])) is not None):
        return f"/rlimits{bad}"
    if "apparmorProfile" in value and (type(value["apparmorProfile"]) is not str):
        return "/apparmorProfile"
    if "selinuxLabel" in value and (type(value["selinuxLabel"]) is not str):
        return "/selinuxLabel"
    if "noNewPrivileges" in value and (type(value["noNewPrivileges"]) is not bool):
        return "/noNewPrivileges"
    if "oomScoreAdj" in value and (type(item := value["oomScoreAdj"]) is not int or not -1000 <= item <= 1000):
        return "/oomScoreAdj"
    if "ioPriority" in value and ((bad := process_ioPriority(value["ioPriority"])) is not None):
        return f"/ioPriority{bad}"
    if "scheduler" in value and ((bad := process_scheduler(value["scheduler"])) is not None):
        return f"/scheduler{bad}"
    if "execCPUAffinity" in value and ((bad := process_execCPUAffinity(value["execCPUAffinity"])) is not None):
        return f"/execCPUAffinity{bad}"
    return None


def hooks_list_item(value: Any) -> str | None:
    if type(value) is not dict or "path" not in value:
        return ""
    if type(value["path"]) is not str:
        return "/path"
    if "args" in value and ((bad := strings(value["args"])) is not None):
        return f"/args{bad}"
    if "env" in value and ((bad := strings(value["env"])) is not None):
        return f"/env{bad}"
    if "timeout" in value and (type(item := value["timeout"]) is not int or item < 1):
        return "/timeout"
    return None


def hooks_list(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := hooks_list_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def hooks(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "prestart" in value and ((bad := hooks_list(value["prestart"])) is not None):
        return f"/prestart{bad}"
    if "createRuntime" in value and ((bad := hooks_list(value["createRuntime"])) is not None):
        return f"/createRuntime{bad}"
    if "createContainer" in value and ((bad := hooks_list(value["createContainer"])) is not None):
        return f"/createContainer{bad}"
    if "startContainer" in value and ((bad := hooks_list(value["startContainer"])) is not None):
        return f"/startContainer{bad}"
    if "poststart" in value and ((bad := hooks_list(value["poststart"])) is not None):
        return f"/poststart{bad}"
    if "poststop" in value and ((bad := hooks_list(value["poststop"])) is not None):
        return f"/poststop{bad}"
    return None


def textMap(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    for key, item in value.items():
        if type(item) is not str:
            return f"/{escape(key)}"
    return None


def linux_namespaces_item(value: Any) -> str | None:
    if type(value) is not dict or "type" not in value:
        return ""
    if value["type"] not in _NAMESPACETYPE:
        return "/type"
    if "path" in value and (type(value["path"]) is not str):
        return "/path"
    return None


def linux_namespaces(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := linux_namespaces_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def linux_timeOffset(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "secs" in value and (type(item := value["secs"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807):
        return "/secs"
    if "nanosecs" in value and (type(item := value["nanosecs"]) is not int or not 0 <= item <= 4294967295):
        return "/nanosecs"
    return None


def linux_timeOffsets(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "boottime" in value and ((bad := linux_timeOffset(value["boottime"])) is not None):
        return f"/boottime{bad}"
    if "monotonic" in value and ((bad := linux_timeOffset(value["monotonic"])) is not None):
        return f"/monotonic{bad}"
    return None


def linux_devices_item(value: Any) -> str | None:
    if type(value) is not dict or "type" not in value or "path" not in value:
        return ""
    if value["type"] not in _LINUX_DEVICES_ITEM_TYPE:
        return "/type"
    if type(value["path"]) is not str:
        return "/path"
    if "major" in value and (type(item := value["major"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807):
        return "/major"
    if "minor" in value and (type(item := value["minor"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807):
        return "/minor"
    if "fileMode" in value and (type(item := value["fileMode"]) is not int or not 0 <= item <= 65535):
        return "/fileMode"
    if "uid" in value and (type(item := value["uid"]) is not int or not 0 <= item <= 4294967295):
        return "/uid"
    if "gid" in value and (type(item := value["gid"]) is not int or not 0 <= item <= 4294967295):
        return "/gid"
    return None


def linux_devices(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := linux_devices_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def linux_netDevices_value(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "name" in value and (type(value["name"]) is not str):
        return "/name"
    return None


def linux_netDevices(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    for key, item in value.items():
        if (bad := linux_netDevices_value(item)) is not None:
            return f"/{escape(key)}{bad}"
    return None


def resources_devices_item(value: Any) -> str | None:
    if type(value) is not dict or "allow" not in value:
        return ""
    if type(value["allow"]) is not bool:
        return "/allow"
    if "type" in value and (type(value["type"]) is not str):
        return "/type"
    if "major" in value and (type(item := value["major"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807):
        return "/major"
    if "minor" in value and (type(item := value["minor"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807):
        return "/minor"
    if "access" in value and (type(value["access"]) is not str):
        return "/access"
    return None


def resources_devices(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := resources_devices_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def resources_memory(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "limit" in value and (type(item := value["limit"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807):
        return "/limit"
    if "reservation" in value and (type(item := value["reservation"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807):
        return "/reservation"
    if "swap" in value and (type(item := value["swap"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807):
        return "/swap"
    if "kernel" in value and (type(item := value["kernel"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807):
        return "/kernel"
    if "kernelTCP" in value and (type(item := value["kernelTCP"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807):
        return "/kernelTCP"
    if "swappiness" in value and (type(item := value["swappiness"]) is not int or not 0 <= item <= 100):
        return "/swappiness"
    if "disableOOMKiller" in value and (type(value["disableOOMKiller"]) is not bool):
        return "/disableOOMKiller"
    if "useHierarchy" in value and (type(value["useHierarchy"]) is not bool):
        return "/useHierarchy"
    if "checkBeforeUpdate" in value and (type(value["checkBeforeUpdate"]) is not bool):
        return "/checkBeforeUpdate"
    return None


def resources_cpu(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "shares" in value and (type(item := value["shares"]) is not int or not 0 <= item <= 18446744073709551615):
        return "/shares"
    if "quota" in value and (type(item := value["quota"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807):
        return "/quota"
    if "burst" in value and (type(item := value["burst"]) is not int or not 0 <= item <= 18446744073709551615):
        return "/burst"
    if "period" in value and (type(item := value["period"]) is not int or not 0 <= item <= 18446744073709551615):
        return "/period"
    if "realtimeRuntime" in value and (type(item := value["realtimeRuntime"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807):
        return "/realtimeRuntime"
    if "realtimePeriod" in value and (type(item := value["realtimePeriod"]) is not int or not 0 <= item <= 18446744073709551615):
        return "/realtimePeriod"
    if "cpus" in value and (type(value["cpus"]) is not str):
        return "/cpus"
    if "mems" in value and (type(value["mems"]) is not str):
        return "/mems"
    if "idle" in value and (type(item := value["idle"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807):
        return "/idle"
    return None


def resources_pids(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "limit" in value and (type(item := value["limit"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807):
        return "/limit"
    return None


def resources_blockIO_weightDevice_item(value: Any) -> str | None:
    if type(value) is not dict or "major" not in value or "minor" not in value:
        return ""
    if type(item := value["major"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807:
        return "/major"
    if type(item := value["minor"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807:
        return "/minor"
    if "weight" in value and (type(item := value["weight"]) is not int or not 0 <= item <= 65535):
        return "/weight"
    if "leafWeight" in value and (type(item := value["leafWeight"]) is not int or not 0 <= item <= 65535):
        return "/leafWeight"
    return None


def resources_blockIO_weightDevice(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := resources_blockIO_weightDevice_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def resources_rates_item(value: Any) -> str | None:
    if type(value) is not dict or "major" not in value or "minor" not in value:
        return ""
    if type(item := value["major"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807:
        return "/major"
    if type(item := value["minor"]) is not int or not -9223372036854775808 <= item <= 9223372036854775807:
        return "/minor"
    if "rate" in value and (type(item := value["rate"]) is not int or not 0 <= item <= 18446744073709551615):
        return "/rate"
    return None


def resources_rates(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := resources_rates_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def resources_blockIO(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "weight" in value and (type(item := value["weight"]) is not int or not 0 <= item <= 65535):
        return "/weight"
    if "leafWeight" in value and (type(item := value["leafWeight"]) is not int or not 0 <= item <= 65535):
        return "/leafWeight"
    if "weightDevice" in value and ((bad := resources_blockIO_weightDevice(value["weightDevice"])) is not None):
        return f"/weightDevice{bad}"
    if "throttleReadBpsDevice" in value and ((bad := resources_rates(value["throttleReadBpsDevice"])) is not None):
        return f"/throttleReadBpsDevice{bad}"
    if "throttleWriteBpsDevice" in value and ((bad := resources_rates(value["throttleWriteBpsDevice"])) is not None):
        return f"/throttleWriteBpsDevice{bad}"
    if "throttleReadIOPSDevice" in value and ((bad := resources_rates(value["throttleReadIOPSDevice"])) is not None):
        return f"/throttleReadIOPSDevice{bad}"
    if "throttleWriteIOPSDevice" in value and ((bad := resources_rates(value["throttleWriteIOPSDevice"])) is not None):
        return f"/throttleWriteIOPSDevice{bad}"
    return None


def resources_hugepageLimits_item(value: Any) -> str | None:
    if type(value) is not dict or "pageSize" not in value or "limit" not in value:
        return ""
    if type(item := value["pageSize"]) is not str or not matches(item, _RESOURCES_HUGEPAGELIMITS_ITEM_PAGESIZE):
        return "/pageSize"
    if type(item := value["limit"]) is not int or not 0 <= item <= 18446744073709551615:
        return "/limit"
    return None


def resources_hugepageLimits(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := resources_hugepageLimits_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def resources_network_priorities_item(value: Any) -> str | None:
    if type(value) is not dict or "name" not in value or "priority" not in value:
        return ""
    if type(value["name"]) is not str:
        return "/name"
    if type(item := value["priority"]) is not int or not 0 <= item <= 4294967295:
        return "/priority"
    return None


def resources_network_priorities(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := resources_network_priorities_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def resources_network(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "classID" in value and (type(item := value["classID"]) is not int or not 0 <= item <= 4294967295):
        return "/classID"
    if "priorities" in value and ((bad := resources_network_priorities(value["priorities"])) is not None):
        return f"/priorities{bad}"
    return None


def resources_rdma_value(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "hcaHandles" in value and (type(item := value["hcaHandles"]) is not int or not 0 <= item <= 4294967295):
        return "/hcaHandles"
    if "hcaObjects" in value and (type(item := value["hcaObjects"]) is not int or not 0 <= item <= 4294967295):
        return "/hcaObjects"
    return None


def resources_rdma(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    for key, item in value.items():
        if (bad := resources_rdma_value(item)) is not None:
            return f"/{escape(key)}{bad}"
    return None


def resources(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "unified" in value and ((bad := textMap(value["unified"])) is not None):
        return f"/unified{bad}"
    if "devices" in value and ((bad := resources_devices(value["devices"])) is not None):
        return f"/devices{bad}"
    if "memory" in value and ((bad := resources_memory(value["memory"])) is not None):
        return f"/memory{bad}"
    if "cpu" in value and ((bad := resources_cpu(value["cpu"])) is not None):
        return f"/cpu{bad}"
    if "pids" in value and ((bad := resources_pids(value["pids"])) is not None):
        return f"/pids{bad}"
    if "blockIO" in value and ((bad := resources_blockIO(value["blockIO"])) is not None):
        return f"/blockIO{bad}"
    if "hugepageLimits" in value and ((bad := resources_hugepageLimits(value["hugepageLimits"])) is not None):
        return f"/hugepageLimits{bad}"
    if "network" in value and ((bad := resources_network(value["network"])) is not None):
        return f"/network{bad}"
    if "rdma" in value and ((bad := resources_rdma(value["rdma"])) is not None):
        return f"/rdma{bad}"
    return None


def seccomp_architectures(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if item not in _SECCOMP_ARCHITECTURE:
            return f"/{index}"
    return None


def seccomp_flags(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if item not in _SECCOMP_FLAG:
            return f"/{index}"
    return None


def seccomp_syscalls_item_names(value: Any) -> str | None:
    if type(value) is not list or len(value) < 1:
        return ""
    for index, item in enumerate(value):
        if type(item) is not str:
            return f"/{index}"
    return None


def seccomp_syscalls_item_args_item(value: Any) -> str | None:
    if type(value) is not dict or "index" not in value or "value" not in value or "op" not in value:
        return ""
    if type(item := value["index"]) is not int or not 0 <= item <= 5:
        return "/index"
    if type(item := value["value"]) is not int or not 0 <= item <= 18446744073709551615:
        return "/value"
    if "valueTwo" in value and (type(item := value["valueTwo"]) is not int or not 0 <= item <= 18446744073709551615):
        return "/valueTwo"
    if value["op"] not in _SECCOMP_OPERATOR:
        return "/op"
    return None


def seccomp_syscalls_item_args(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := seccomp_syscalls_item_args_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def seccomp_syscalls_item(value: Any) -> str | None:
    if type(value) is not dict or "names" not in value or "action" not in value:
        return ""
    if (bad := seccomp_syscalls_item_names(value["names"])) is not None:
        return f"/names{bad}"
    if value["action"] not in _SECCOMP_ACTION:
        return "/action"
    if "errnoRet" in value and (type(item := value["errnoRet"]) is not int or not 0 <= item <= 4294967295):
        return "/errnoRet"
    if "args" in value and ((bad := seccomp_syscalls_item_args(value["args"])) is not None):
        return f"/args{bad}"
    return None


def seccomp_syscalls(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := seccomp_syscalls_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def seccomp(value: Any) -> str | None:
    if type(value) is not dict or "defaultAction" not in value:
        return ""
    if value["defaultAction"] not in _SECCOMP_ACTION:
        return "/defaultAction"
    if "defaultErrnoRet" in value and (type(item := value["defaultErrnoRet"]) is not int or not 0 <= item <= 4294967295):
        return "/defaultErrnoRet"
    if "architectures" in value and ((bad := seccomp_architectures(value["architectures"])) is not None):
        return f"/architectures{bad}"
    if "flags" in value and ((bad := seccomp_flags(value["flags"])) is not None):
        return f"/flags{bad}"
    if "listenerPath" in value and (type(value["listenerPath"]) is not str):
        return "/listenerPath"
    if "listenerMetadata" in value and (type(value["listenerMetadata"]) is not str):
        return "/listenerMetadata"
    if "syscalls" in value and ((bad := seccomp_syscalls(value["syscalls"])) is not None):
        return f"/syscalls{bad}"
    return None


def linux_intelRdt(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "closID" in value and (type(value["closID"]) is not str):
        return "/closID"
    if "schemata" in value and ((bad := strings(value["schemata"])) is not None):
        return f"/schemata{bad}"
    if "l3CacheSchema" in value and (type(value["l3CacheSchema"]) is not str):
        return "/l3CacheSchema"
    if "memBwSchema" in value and (type(item := value["memBwSchema"]) is not str or not matches(item, _LINUX_INTELRDT_MEMBWSCHEMA)):
        return "/memBwSchema"
    if "enableMonitoring" in value and (type(value["enableMonitoring"]) is not bool):
        return "/enableMonitoring"
    return None


def linux_memoryPolicy_flags(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if item not in _LINUX_MEMORYPOLICY_FLAGS_ITEM:
            return f"/{index}"
    return None


def linux_memoryPolicy(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "mode" in value and (value["mode"] not in _LINUX_MEMORYPOLICY_MODE):
        return "/mode"
    if "nodes" in value and (type(value["nodes"]) is not str):
        return "/nodes"
    if "flags" in value and ((bad := linux_memoryPolicy_flags(value["flags"])) is not None):
        return f"/flags{bad}"
    return None


def linux_personality(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "domain" in value and (value["domain"] not in _LINUX_PERSONALITY_DOMAIN):
        return "/domain"
    if "flags" in value and ((bad := strings(value["flags"])) is not None):
        return f"/flags{bad}"
    return None


def linux(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "namespaces" in value and ((bad := linux_namespaces(value["namespaces"])) is not None):
        return f"/namespaces{bad}"
    if "uidMappings" in value and ((bad := idMappings(value["uidMappings"])) is not None):
        return f"/uidMappings{bad}"
    if "gidMappings" in value and ((bad := idMappings(value["gidMappings"])) is not None):
        return f"/gidMappings{bad}"
    if "timeOffsets" in value and ((bad := linux_timeOffsets(value["timeOffsets"])) is not None):
        return f"/timeOffsets{bad}"
    if "devices" in value and ((bad := linux_devices(value["devices"])) is not None):
        return f"/devices{bad}"
    if "netDevices" in value and ((bad := linux_netDevices(value["netDevices"])) is not None):
        return f"/netDevices{bad}"
    if "cgroupsPath" in value and (type(value["cgroupsPath"]) is not str):
        return "/cgroupsPath"
    if "resources" in value and ((bad := resources(value["resources"])) is not None):
        return f"/resources{bad}"
    if "rootfsPropagation" in value and (value["rootfsPropagation"] not in _LINUX_ROOTFSPROPAGATION):
        return "/rootfsPropagation"
    if "seccomp" in value and ((bad := seccomp(value["seccomp"])) is not None):
        return f"/seccomp{bad}"
    if "sysctl" in value and ((bad := textMap(value["sysctl"])) is not None):
        return f"/sysctl{bad}"
    if "maskedPaths" in value and ((bad := strings(value["maskedPaths"])) is not None):
        return f"/maskedPaths{bad}"
    if "readonlyPaths" in value and ((bad := strings(value["readonlyPaths"])) is not None):
        return f"/readonlyPaths{bad}"
    if "mountLabel" in value and (type(value["mountLabel"]) is not str):
        return "/mountLabel"
    if "intelRdt" in value and ((bad := linux_intelRdt(value["intelRdt"])) is not None):
        return f"/intelRdt{bad}"
    if "memoryPolicy" in value and ((bad := linux_memoryPolicy(value["memoryPolicy"])) is not None):
        return f"/memoryPolicy{bad}"
    if "personality" in value and ((bad := linux_personality(value["personality"])) is not None):
        return f"/personality{bad}"
    return None


def freebsd_devices_item(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "path" in value and (type(value["path"]) is not str):
        return "/path"
    if "mode" in value and (type(item := value["mode"]) is not int or not 0 <= item <= 511):
        return "/mode"
    return None


def freebsd_devices(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := freebsd_devices_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def freebsd_jail_allow(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "setHostname" in value and (type(value["setHostname"]) is not bool):
        return "/setHostname"
    if "rawSockets" in value and (type(value["rawSockets"]) is not bool):
        return "/rawSockets"
    if "chflags" in value and (type(value["chflags"]) is not bool):
        return "/chflags"
    if "mount" in value and ((bad := strings(value["mount"])) is not None):
        return f"/mount{bad}"
    if "quotas" in value and (type(value["quotas"]) is not bool):
        return "/quotas"
    if "socketAf" in value and (type(value["socketAf"]) is not bool):
        return "/socketAf"
    if "mlock" in value and (type(value["mlock"]) is not bool):
        return "/mlock"
    if "reservedPorts" in value and (type(value["reservedPorts"]) is not bool):
        return "/reservedPorts"
    if "suser" in value and (type(value["suser"]) is not bool):
        return "/suser"
    return None


def freebsd_jail(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "parent" in value and (type(value["parent"]) is not str):
        return "/parent"
    if "host" in value and (value["host"] not in _OWNORINHERITED):
        return "/host"
    if "ip4" in value and (value["ip4"] not in _SHARING):
        return "/ip4"
    if "ip4Addr" in value and ((bad := strings(value["ip4Addr"])) is not None):
        return f"/ip4Addr{bad}"
    if "ip6" in value and (value["ip6"] not in _SHARING):
        return "/ip6"
    if "ip6Addr" in value and ((bad := strings(value["ip6Addr"])) is not None):
        return f"/ip6Addr{bad}"
    if "vnet" in value and (value["vnet"] not in _OWNORINHERITED):
        return "/vnet"
    if "interface" in value and (type(value["interface"]) is not str):
        return "/interface"
    if "vnetInterfaces" in value and ((bad := strings(value["vnetInterfaces"])) is not None):
        return f"/vnetInterfaces{bad}"
    if "sysvmsg" in value and (value["sysvmsg"] not in _SHARING):
        return "/sysvmsg"
    if "sysvsem" in value and (value["sysvsem"] not in _SHARING):
        return "/sysvsem"
    if "sysvshm" in value and (value["sysvshm"] not in _SHARING):
        return "/sysvshm"
    if "enforceStatfs" in value and (type(item := value["enforceStatfs"]) is not int or not 0 <= item <= 255):
        return "/enforceStatfs"
    if "allow" in value and ((bad := freebsd_jail_allow(value["allow"])) is not None):
        return f"/allow{bad}"
    return None


def freebsd(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "devices" in value and ((bad := freebsd_devices(value["devices"])) is not None):
        return f"/devices{bad}"
    if "jail" in value and ((bad := freebsd_jail(value["jail"])) is not None):
        return f"/jail{bad}"
    return None


def solaris_cappedCPU(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "ncpus" in value and (type(value["ncpus"]) is not str):
        return "/ncpus"
    return None


def solaris_cappedMemory(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "physical" in value and (type(value["physical"]) is not str):
        return "/physical"
    if "swap" in value and (type(value["swap"]) is not str):
        return "/swap"
    return None


def solaris_anet_item(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "linkname" in value and (type(value["linkname"]) is not str):
        return "/linkname"
    if "lowerLink" in value and (type(value["lowerLink"]) is not str):
        return "/lowerLink"
    if "allowedAddress" in value and (type(value["allowedAddress"]) is not str):
        return "/allowedAddress"
    if "configureAllowedAddress" in value and (type(value["configureAllowedAddress"]) is not str):
        return "/configureAllowedAddress"
    if "defrouter" in value and (type(value["defrouter"]) is not str):
        return "/defrouter"
    if "macAddress" in value and (type(value["macAddress"]) is not str):
        return "/macAddress"
    if "linkProtection" in value and (type(value["linkProtection"]) is not str):
        return "/linkProtection"
    return None


def solaris_anet(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := solaris_anet_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def solaris(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "milestone" in value and (type(value["milestone"]) is not str):
        return "/milestone"
    if "limitpriv" in value and (type(value["limitpriv"]) is not str):
        return "/limitpriv"
    if "maxShmMemory" in value and (type(value["maxShmMemory"]) is not str):
        return "/maxShmMemory"
    if "cappedCPU" in value and ((bad := solaris_cappedCPU(value["cappedCPU"])) is not None):
        return f"/cappedCPU{bad}"
    if "cappedMemory" in value and ((bad := solaris_cappedMemory(value["cappedMemory"])) is not None):
        return f"/cappedMemory{bad}"
    if "anet" in value and ((bad := solaris_anet(value["anet"])) is not None):
        return f"/anet{bad}"
    return None


def vm_hypervisor(value: Any) -> str | None:
    if type(value) is not dict or "path" not in value:
        return ""
    if type(value["path"]) is not str:
        return "/path"
    if "parameters" in value and ((bad := strings(value["parameters"])) is not None):
        return f"/parameters{bad}"
    return None


def vm_kernel(value: Any) -> str | None:
    if type(value) is not dict or "path" not in value:
        return ""
    if type(value["path"]) is not str:
        return "/path"
    if "parameters" in value and ((bad := strings(value["parameters"])) is not None):
        return f"/parameters{bad}"
    if "initrd" in value and (type(value["initrd"]) is not str):
        return "/initrd"
    return None


def vm_image(value: Any) -> str | None:
    if type(value) is not dict or "path" not in value or "format" not in value:
        return ""
    if type(value["path"]) is not str:
        return "/path"
    if value["format"] not in _VM_IMAGE_FORMAT:
        return "/format"
    return None


def vm_hwConfig_iomems_item(value: Any) -> str | None:
    if type(value) is not dict or "firstMFN" not in value or "nrMFNs" not in value:
        return ""
    if "firstGFN" in value and (type(item := value["firstGFN"]) is not int or not 0 <= item <= 18446744073709551615):
        return "/firstGFN"
    if type(item := value["firstMFN"]) is not int or not 0 <= item <= 18446744073709551615:
        return "/firstMFN"
    if type(item := value["nrMFNs"]) is not int or not 0 <= item <= 18446744073709551615:
        return "/nrMFNs"
    return None


def vm_hwConfig_iomems(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := vm_hwConfig_iomems_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def vm_hwConfig(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "deviceTree" in value and (type(value["deviceTree"]) is not str):
        return "/deviceTree"
    if "vcpus" in value and (type(item := value["vcpus"]) is not int or not 0 <= item <= 4294967295):
        return "/vcpus"
    if "memory" in value and (type(item := value["memory"]) is not int or not 0 <= item <= 18446744073709551615):
        return "/memory"
    if "dtdevs" in value and ((bad := strings(value["dtdevs"])) is not None):
        return f"/dtdevs{bad}"
    if "iomems" in value and ((bad := vm_hwConfig_iomems(value["iomems"])) is not None):
        return f"/iomems{bad}"
    if "irqs" in value and ((bad := ids(value["irqs"])) is not None):
        return f"/irqs{bad}"
    return None


def vm(value: Any) -> str | None:
    if type(value) is not dict or "kernel" not in value:
        return ""
    if "hypervisor" in value and ((bad := vm_hypervisor(value["hypervisor"])) is not None):
        return f"/hypervisor{bad}"
    if (bad := vm_kernel(value["kernel"])) is not None:
        return f"/kernel{bad}"
    if "image" in value and ((bad := vm_image(value["image"])) is not None):
        return f"/image{bad}"
    if "hwConfig" in value and ((bad := vm_hwConfig(value["hwConfig"])) is not None):
        return f"/hwConfig{bad}"
    return None


def windows_layerFolders(value: Any) -> str | None:
    if type(value) is not list or len(value) < 1:
        return ""
    for index, item in enumerate(value):
        if type(item) is not str:
            return f"/{index}"
    return None


def windows_devices_item(value: Any) -> str | None:
    if type(value) is not dict or "id" not in value or "idType" not in value:
        return ""
    if type(value["id"]) is not str:
        return "/id"
    if value["idType"] not in _WINDOWS_DEVICES_ITEM_IDTYPE:
        return "/idType"
    return None


def windows_devices(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := windows_devices_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def windows_resources_memory(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "limit" in value and (type(item := value["limit"]) is not int or not 0 <= item <= 18446744073709551615):
        return "/limit"
    return None


def windows_resources_cpu_affinity(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "mask" in value and (type(item := value["mask"]) is not int or not 0 <= item <= 18446744073709551615):
        return "/mask"
    if "group" in value and (type(item := value["group"]) is not int or not 0 <= item <= 4294967295):
        return "/group"
    return None


def windows_resources_cpu(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "count" in value and (type(item := value["count"]) is not int or not 0 <= item <= 18446744073709551615):
        return "/count"
    if "shares" in value and (type(item := value["shares"]) is not int or not 0 <= item <= 65535):
        return "/shares"
    if "maximum" in value and (type(item := value["maximum"]) is not int or not 0 <= item <= 65535):
        return "/maximum"
    if "affinity" in value and ((bad := windows_resources_cpu_affinity(value["affinity"])) is not None):
        return f"/affinity{bad}"
    return None


def windows_resources_storage(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "iops" in value and (type(item := value["iops"]) is not int or not 0 <= item <= 18446744073709551615):
        return "/iops"
    if "bps" in value and (type(item := value["bps"]) is not int or not 0 <= item <= 18446744073709551615):
        return "/bps"
    if "sandboxSize" in value and (type(item := value["sandboxSize"]) is not int or not 0 <= item <= 18446744073709551615):
        return "/sandboxSize"
    return None


def windows_resources(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "memory" in value and ((bad := windows_resources_memory(value["memory"])) is not None):
        return f"/memory{bad}"
    if "cpu" in value and ((bad := windows_resources_cpu(value["cpu"])) is not None):
        return f"/cpu{bad}"
    if "storage" in value and ((bad := windows_resources_storage(value["storage"])) is not None):
        return f"/storage{bad}"
    return None


def windows_network(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "endpointList" in value and ((bad := strings(value["endpointList"])) is not None):
        return f"/endpointList{bad}"
    if "allowUnqualifiedDNSQuery" in value and (type(value["allowUnqualifiedDNSQuery"]) is not bool):
        return "/allowUnqualifiedDNSQuery"
    if "DNSSearchList" in value and ((bad := strings(value["DNSSearchList"])) is not None):
        return f"/DNSSearchList{bad}"
    if "networkSharedContainerName" in value and (type(value["networkSharedContainerName"]) is not str):
        return "/networkSharedContainerName"
    if "networkNamespace" in value and (type(value["networkNamespace"]) is not str):
        return "/networkNamespace"
    return None


def windows_hyperv(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "utilityVMPath" in value and (type(value["utilityVMPath"]) is not str):
        return "/utilityVMPath"
    return None


def windows(value: Any) -> str | None:
    if type(value) is not dict or "layerFolders" not in value:
        return ""
    if (bad := windows_layerFolders(value["layerFolders"])) is not None:
        return f"/layerFolders{bad}"
    if "devices" in value and ((bad := windows_devices(value["devices"])) is not None):
        return f"/devices{bad}"
    if "resources" in value and ((bad := windows_resources(value["resources"])) is not None):
        return f"/resources{bad}"
    if "network" in value and ((bad := windows_network(value["network"])) is not None):
        return f"/network{bad}"
    if "credentialSpec" in value and (type(value["credentialSpec"]) is not dict):
        return "/credentialSpec"
    if "servicing" in value and (type(value["servicing"]) is not bool):
        return "/servicing"
    if "ignoreFlushesDuringBoot" in value and (type(value["ignoreFlushesDuringBoot"]) is not bool):
        return "/ignoreFlushesDuringBoot"
    if "hyperv" in value and ((bad := windows_hyperv(value["hyperv"])) is not None):
        return f"/hyperv{bad}"
    return None


def zos_namespaces_item(value: Any) -> str | None:
    if type(value) is not dict or "type" not in value:
        return ""
    if value["type"] not in _ZOS_NAMESPACES_ITEM_TYPE:
        return "/type"
    if "path" in value and (type(value["path"]) is not str):
        return "/path"
    return None


def zos_namespaces(value: Any) -> str | None:
    if type(value) is not list:
        return ""
    for index, item in enumerate(value):
        if (bad := zos_namespaces_item(item)) is not None:
            return f"/{index}{bad}"
    return None


def zos(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    if "namespaces" in value and ((bad := zos_namespaces(value["namespaces"])) is not None):
        return f"/namespaces{bad}"
    return None


def config(value: Any) -> str | None:
    if type(value) is not dict or "ociVersion" not in value:
        return ""
    if type(value["ociVersion"]) is not str:
        return "/ociVersion"
    if "root" in value and ((bad := config_root(value["root"])) is not None):
        return f"/root{bad}"
    if "mounts" in value and ((bad := mounts(value["mounts"])) is not None):
        return f"/mounts{bad}"
    if "process" in value and ((bad := process(value["process"])) is not None):
        return f"/process{bad}"
    if "hostname" in value and (type(value["hostname"]) is not str):
        return "/hostname"
    if "domainname" in value and (type(value["domainname"]) is not str):
        return "/domainname"
    if "hooks" in value and ((bad := hooks(value["hooks"])) is not None):
        return f"/hooks{bad}"
    if "annotations" in value and ((bad := textMap(value["annotations"])) is not None):
        return f"/annotations{bad}"
    if "linux" in value and ((bad := linux(value["linux"])) is not None):
        return f"/linux{bad}"
    if "freebsd" in value and ((bad := freebsd(value["freebsd"])) is not None):
        return f"/freebsd{bad}"
    if "solaris" in value and ((bad := solaris(value["solaris"])) is not None):
        return f"/solaris{bad}"
    if "vm" in value and ((bad := vm(value["vm"])) is not None):
        return f"/vm{bad}"
    if "windows" in value and ((bad := windows(value["windows"])) is not None):
        return f"/windows{bad}"
    if "zos" in value and ((bad := zos(value["zos"])) is not None):
        return f"/zos{bad}"
    return None
