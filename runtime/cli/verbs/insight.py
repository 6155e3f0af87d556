"""The verbs that tell what a container will do and could do: plan --diff, audit, doctor."""

from __future__ import annotations

from ...config import json
from ..output import show
from ..parser import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...audit import Report
    from ...config.difference import Change
    from ...container.subject import Subject
    from ..output import Log
    from ..parser import Command

#: So much of a value is shown to people.
_SHOWN = 100


def find(command: Command, log: Log, name: str, *, checked: bool = True) -> Subject:
    """Return what a word of the command line names, its config checked if so. Raises NajaError."""
    from ...container.state import default_root
    from ...container.subject import Subject

    root = command.root or default_root()
    systemd, rootless = command.globals["systemd-cgroup"], command.rootless
    options = {"systemd": systemd, "rootless": rootless, "checked": checked}
    return Subject.find(name, root=root, warn=log.warning, **options)


def plan_diff(command: Command, log: Log, name: str, **options: Any) -> None:
    """Print what differs in two configs, and in what would be done for them in the first one's bundle."""
    from ...config.difference import differences
    from ...plan import difference

    subjects = [find(command, log, word) for word in (name, command.options["diff"])]
    plans = [subject.plan(log.warning, bundle=subjects[0].bundle, **options) for subject in subjects]
    properties = differences(subjects[0].config, subjects[1].config)
    operations = difference.differences(*plans)
    if command.options["json"]:
        document = {
            "config": [_change(change) for change in properties],
            "operations": [operation.data() for operation in operations],
        }
        show(json.dumps(document, indent=2) + "\n")
        return
    lines = ["config.json", *(f"  {_line(change)}" for change in properties)]
    lines += ["plan", *(f"  {operation.text()}" for operation in operations)]
    same = "  no difference"
    if not properties:
        lines.insert(1, same)
    show("\n".join([*lines, *([] if operations else [same])]) + "\n")


def _change(change: Change) -> dict[str, Any]:
    from ...config.difference import ABSENT

    sides = (("old", change.old), ("new", change.new))
    return {"origin": change.origin, **{name: value for name, value in sides if value is not ABSENT}}


def _line(change: Change) -> str:
    from ...config.difference import ABSENT

    if change.new is ABSENT:
        return f"- {change.origin}: {_value(change.old)}"
    if change.old is ABSENT:
        return f"+ {change.origin}: {_value(change.new)}"
    return f"~ {change.origin}: {_value(change.old)} → {_value(change.new)}"


def _value(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def audit(command: Command, log: Log) -> int:
    """Print what a container could do to the host. Returns 2 where its score is above --fail-above.

    With --diff it is what the other one could do more, and less; its score counts then.
    """
    limit = _limit(command.options["fail-above"])
    names = [(command.arguments or ["."])[0], *filter(None, [command.options["diff"]])]
    subjects = [find(command, log, name) for name in names]
    reports = [_report(command, log, subject) for subject in subjects]
    if len(subjects) > 1:
        show(_comparison(subjects, reports, as_json=command.options["json"]))
    elif command.options["json"]:
        show(json.dumps(reports[0].data(), indent=2) + "\n")
    else:
        show(reports[0].text())
    return 2 if limit is not None and reports[-1].score > limit else 0


def _comparison(subjects: list[Subject], reports: list[Report], *, as_json: bool) -> str:
    from ...audit.comparison import compare, text
    from ...config.difference import differences

    changes = differences(subjects[0].config, subjects[1].config)
    if not as_json:
        return "".join(f"{_line(change)}\n" for change in changes) + text(*reports)
    closed, opened = compare(*reports)
    document = {
        "config": [_change(change) for change in changes],
        "closed": [one.data() for one in closed],
        "opened": [one.data() for one in opened],
        "old": reports[0].data(),
        "new": reports[1].data(),
    }
    return json.dumps(document, indent=2) + "\n"


def doctor(command: Command, log: Log) -> int:
    """Print what this host lets the caller do. With a bundle, returns 1 where that could not run here."""
    from ...doctor import examine

    subject = find(command, log, command.arguments[0], checked=False) if command.arguments else None
    found = examine(subject, rootless=command.rootless)
    show(json.dumps(found.data(), indent=2) + "\n" if command.options["json"] else found.text())
    return 1 if found.obstacles else 0


def _limit(text: str) -> float | None:
    """Return the score that --fail-above names, None where there is none. Raises UsageError."""
    if not text:
        return None
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 <= limit <= 10:  # Neither is NaN.
        raise UsageError(f'invalid value "{text}" for --fail-above: a score is from 0 to 10')
    return limit


def _report(command: Command, log: Log, subject: Subject) -> Report:
    from ...audit import audit as judged
    from ...container.creation import is_rootless

    options = command.options
    compiled = subject.plan(
        log.warning,
        no_pivot=options["no-pivot"],
        no_new_keyring=options["no-new-keyring"],
        preserve_fds=options["preserve-fds"],
    )
    rootless = is_rootless() if subject.rootless is None else subject.rootless
    return judged(compiled, subject.config, subject.bundle, rootless=rootless)
