"""``start``: finds the process that looks after a group of containers, or becomes it."""

from __future__ import annotations

import os

from ..config import json
from ..config.json import read
from ..errors import NajaError
from ..linux import process
from ..startup import precompiled
from . import address, messages, options
from .settings import read_stdin

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

    from .lending import Borrower
    from .nursery import Become
    from .settings import Settings

#: Annotations by which a container says which group it belongs to, and that of a pod (CRI).
_GROUPS = ("io.containerd.naja.v2.group", "io.containerd.runc.v2.group")
_POD = "io.kubernetes.cri.sandbox-id"

#: The one that all containers of a namespace are in, where they are.
_ALL = "all"

_ATTEMPTS = 100


def start(settings: Settings, become: Become, borrower: Borrower | None) -> int:
    """Print where a container is looked after, and see to it. Returns an exit status. Raises NajaError.

    Forks of a nursery ``become`` what is asked for later; this is one where it has a ``borrower``.
    """
    given = messages.ANY.decode(read_stdin())
    chosen = options.read(given if given["type_url"] else None)
    group = _group(settings, chosen)
    where = address.make(settings.values["address"], settings.namespace, group)
    listener = _claim(where, settings.id)
    _write_address(settings.bundle, where)
    birth: dict[str, Any] = {
        name: getattr(settings, name) for name in ("namespace", "id", "bundle", "events")
    }
    birth |= {"containerd": settings.values["address"], "where": where, "cgroup": chosen["shim_cgroup"]}
    birth["score"] = _oom_score(process.parent(borrower.pid) if borrower else os.getppid())

    def serve() -> int:
        precompiled.preload("shim")
        from .serving import begin

        assert listener
        return begin(birth, listener, become)

    text = where
    if settings.version:
        # A containerd that is newer than 1.6 says which protocols it knows, of which 2 and 3 are spoken here.
        parameters = {"version": min(settings.version, 3), "address": where, "protocol": "ttrpc"}
        text = json.dumps(parameters)
    try:
        os.write(1, text.encode())
    except OSError:
        if listener:
            os.unlink(address.path(where))  # containerd was killed, and nobody will come.
        raise
    if listener and borrower is None and os.fork() == 0:
        return serve()
    if listener and borrower:
        _let_go()  # Whoever reads the address reads to the end.
        borrower.report(0)
        if not borrower.hand_over(birth, listener):
            return serve()
    return 0


def _let_go() -> None:
    """Have the null device as standard streams."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for stream in range(3):
        os.dup2(null, stream)
    os.close(null)


def _group(settings: Settings, chosen: dict[str, Any]) -> str:
    """Return the group of a container: an annotation says so, or an option; by itself a pod is one."""
    path = os.path.join(settings.bundle, "config.json")
    try:
        document = json.loads(read(path), path)
    except OSError as error:
        raise NajaError.from_os_error(f"read {path}", error) from None
    annotations = (document.get("annotations") if type(document) is dict else None) or {}
    for name in _GROUPS:
        if annotations.get(name):
            return f"group/{annotations[name]}"
    if chosen["group"] == "namespace":
        return _ALL
    if chosen["group"] != "container" and annotations.get(_POD):
        return f"pod/{annotations[_POD]}"
    return f"container/{settings.id}"


def _claim(where: str, id: str) -> _socket.socket | None:
    """Return a listening socket; None where a process is there, which expects the container."""
    with address.Lock():
        for _ in range(_ATTEMPTS):
            if listener := address.listen(where):
                return listener
            answer = address.ask(where, "Expect", id)
            if answer:
                return None
            if answer is None:
                address.remove_dead(where)
            else:
                raise NajaError(f"the shim at {where} does not answer")
    raise NajaError(f"nobody is to be had at {where}")


def _write_address(bundle: str, where: str) -> None:
    """Tell containerd where the shim is, for when it is started again."""
    temporary = os.path.join(bundle, ".address")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, where.encode())
    finally:
        os.close(file)
    os.rename(temporary, os.path.join(bundle, "address"))


def _oom_score(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/oom_score_adj", "rb") as file:
            return int(file.read())
    except OSError:
        return 0
