"""The commands that meet faults: what has to be there before, their words, and what they promise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.inside import ADDED, FIRST, HOOK

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The programs of a container: one that stays, one that ends at once; and of one that is added.
STAYS, ENDS = ("/bin/sh", "-c", "exec sleep 1000", FIRST), ("/bin/true", FIRST)

#: One hook of each kind.
HOOKS = {
    **{kind: [{"path": "/bin/true"}] for kind in ("prestart", "createRuntime", "createContainer")},
    "startContainer": [{"path": "/bin/true", "args": ["/bin/true", HOOK]}],
    **{kind: [{"path": "/bin/true"}] for kind in ("poststart", "poststop")},
}

#: Words that stand for what each container has of its own.
ID, BUNDLE, PID_FILE = "{id}", "{bundle}", "{pid_file}"

_CREATE = ("create", "--bundle", BUNDLE, "--pid-file", PID_FILE, ID)
_DETACH = ("run", "--detach", "--bundle", BUNDLE, "--pid-file", PID_FILE, ID)
_RUN = ("run", "--bundle", BUNDLE, ID)
_PAUSE, _DELETE = ("pause", ID), ("delete", ID)

#: The limit that `update` sets.
PIDS_LIMIT = 77


@dataclass(frozen=True)
class Command:
    """A command in a certain situation."""

    words: Sequence[str]
    #: What makes the situation, command by command.
    before: Sequence[Sequence[str]] = ()
    #: The container's status when the command has succeeded; empty where there is no container any more.
    after: str = "running"
    program: Sequence[str] = STAYS
    user_namespace: bool = False
    hooks: bool = False

    @property
    def detaches(self) -> bool:
        """Whether it does not wait for the end of the program."""
        return "--detach" in self.words


COMMANDS = {
    "create": Command(_CREATE, after="created"),
    "start": Command(("start", ID), (_CREATE,)),
    "run": Command(_RUN, after="", program=ENDS),
    "run-detached": Command(_DETACH),
    "exec": Command(("exec", ID, "/bin/true", ADDED), (_DETACH,)),
    "state": Command(("state", ID), (_DETACH,)),
    "pause": Command(_PAUSE, (_DETACH,), after="paused"),
    "resume": Command(("resume", ID), (_DETACH, _PAUSE)),
    "update": Command(("update", "--pids-limit", str(PIDS_LIMIT), ID), (_DETACH,)),
    "kill": Command(("kill", ID, "KILL"), (_DETACH,), after="stopped"),
    "delete": Command(_DELETE, (_DETACH, ("kill", ID, "KILL")), after=""),
    "delete-force": Command(("delete", "--force", ID), (_DETACH,), after=""),
    "create@userns": Command(_CREATE, after="created", user_namespace=True),
    "run@userns": Command(_RUN, after="", program=ENDS, user_namespace=True),
    "exec@userns": Command(("exec", ID, "/bin/true", ADDED), (_DETACH,), user_namespace=True),
    "create@hooks": Command(_CREATE, after="created", hooks=True),
    "start@hooks": Command(("start", ID), (_CREATE,), hooks=True),
    "run@hooks": Command(_RUN, after="", program=ENDS, hooks=True),
    "delete@hooks": Command(_DELETE, (_DETACH, ("kill", ID, "KILL")), after="", hooks=True),
}

#: What is done to the container while a call of the command is delayed.
MEANWHILE: dict[str, Sequence[Sequence[str]]] = {
    "killed": (("kill", ID, "KILL"),),
    "deleted": (("delete", "--force", ID),),
    "replaced": (("delete", "--force", ID), _DETACH),
}
