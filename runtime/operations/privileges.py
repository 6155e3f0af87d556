"""Operations on what the container's process may do: capabilities, and no_new_privs."""

from __future__ import annotations

from ..linux import capabilities, process
from .base import Context, Operation


class LimitBoundingSet(Operation):
    """Drop capabilities that no program in the container may ever gain (capabilities(7))."""

    __slots__ = ("bounding",)

    def __init__(self, bounding: list[str], *, origin: str) -> None:
        self.origin = origin
        self.bounding = bounding

    def describe(self) -> str:
        return f"limit the capability bounding set to {_short(self.bounding)}"

    def apply(self, context: Context) -> None:
        wanted = capabilities.mask(self.bounding)
        # Asked for, not found out by trying: an error would have two meanings.
        present = capabilities.bounding_set(context.descriptors["proc"])
        _warn_missing(context, "bounding", wanted & ~present)
        capabilities.drop_bounding(present & ~wanted)


class SetCapabilities(Operation):
    """Set the effective, permitted, inheritable and ambient capabilities (config.md, capabilities).

    What cannot be granted is warned of and left out, as the specification asks. With ``keep_admin``
    CAP_SYS_ADMIN stays for the loading of a seccomp filter; GiveUpAdmin takes it away.
    """

    __slots__ = ("ambient", "effective", "inheritable", "keep_admin", "permitted")

    def __init__(
        self,
        effective: list[str],
        permitted: list[str],
        inheritable: list[str],
        ambient: list[str],
        *,
        keep_admin: bool,
        origin: str,
    ) -> None:
        self.origin = origin
        self.effective = effective
        self.permitted = permitted
        self.inheritable = inheritable
        self.ambient = ambient
        self.keep_admin = keep_admin

    def describe(self) -> str:
        sets = ("effective", "permitted", "inheritable", "ambient")
        text = ", ".join(f"{name} {_short(getattr(self, name))}" for name in sets)
        return f"set capabilities: {text}" + (", still with CAP_SYS_ADMIN" if self.keep_admin else "")

    def apply(self, context: Context) -> None:
        _, available, _ = capabilities.get()
        permitted = _granted(context, "permitted", self.permitted, available)
        effective = _granted(context, "effective", self.effective, permitted)
        bounded = capabilities.bounded(capabilities.mask(self.inheritable))
        inheritable = _granted(context, "inheritable", self.inheritable, available & bounded)
        # Configs of before CVE-2022-29162 was fixed have ambient sets without the inheritable ones.
        ambient = _granted(context, "ambient", self.ambient, permitted) & inheritable
        context.values["capabilities"] = (effective, permitted, inheritable)
        kept = capabilities.SYS_ADMIN if self.keep_admin else 0
        capabilities.set(effective | kept, permitted | kept, inheritable)
        capabilities.set_ambient(ambient)


def _granted(context: Context, kind: str, wanted: list[str], available: int) -> int:
    bits = capabilities.mask(wanted)
    _warn_missing(context, kind, bits & ~available)
    return bits & available


def _warn_missing(context: Context, kind: str, missing: int) -> None:
    """Warn of capabilities that cannot be granted, of each once: what one set lacks the next does too."""
    told = context.values.get("missing capabilities", 0)
    if missing & ~told:
        names = ", ".join(capabilities.names(missing & ~told))
        context.warn(f"{kind} capabilities that cannot be granted here are left out: {names}")
    context.values["missing capabilities"] = told | missing


def _short(names: list[str]) -> str:
    return " ".join(name.removeprefix("CAP_").lower() for name in names) or "none"


class GiveUpAdmin(Operation):
    """Drop the CAP_SYS_ADMIN that was kept to load the seccomp filter."""

    __slots__ = ()

    def __init__(self, *, origin: str) -> None:
        self.origin = origin

    def describe(self) -> str:
        return "drop CAP_SYS_ADMIN, which was kept to load the seccomp filter"

    def apply(self, context: Context) -> None:
        # One capset(2) and nothing else: the filter is loaded, and may allow little.
        capabilities.set(*context.values["capabilities"])


class SetNoNewPrivileges(Operation):
    """Let no program in the container gain privileges by execve (prctl(2), PR_SET_NO_NEW_PRIVS)."""

    __slots__ = ()

    def __init__(self, *, origin: str) -> None:
        self.origin = origin

    def describe(self) -> str:
        return "set no_new_privs"

    def apply(self, context: Context) -> None:
        process.set_no_new_privs()
