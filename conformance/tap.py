"""Reading TAP, the Test Anything Protocol, as runtime-tools prints it (testanything.org, version 13)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

_RESULT = re.compile(r"(ok|not ok)\b *\d* *(?:- *)?(.*)")
_DIRECTIVE = re.compile(r"# *(SKIP|TODO)\b", re.IGNORECASE)
_PLAN = re.compile(r"1\.\.(\d+)")
#: A member of the JSON object that follows a result, or a comment that compares.
_DIAGNOSTIC = re.compile(r' *"(?:error|stderr)": (?P<json>".*"),?$|# (?P<comment>expect.*)')


@dataclass
class Failure:
    """A ``not ok`` line: what it says, and what its diagnostics tell of the reason ("" where nothing)."""

    text: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.text}: {self.reason}" if self.reason else self.text


@dataclass
class Results:
    """What a program reported."""

    ok: int = 0
    #: Results that say nothing: skipped, or expected to fail (TODO).
    skipped: int = 0
    failures: list[Failure] = field(default_factory=list)
    #: How many results the program promised (``1..N``, which it may print several times).
    planned: int = 0

    @property
    def complete(self) -> bool:
        """True where as many results came as were promised."""
        return self.planned == self.ok + self.skipped + len(self.failures)


def parse(output: str) -> Results:
    """Read what one program printed. What is no TAP, and nested (indented) TAP, is passed over."""
    results = Results()
    failure = None
    for line in output.splitlines():
        if match := _RESULT.match(line):
            failure = _count(results, match[1], match[2])
        elif match := _PLAN.match(line):
            results.planned += int(match[1])
        elif failure and (match := _DIAGNOSTIC.match(line)):
            # The standard error stream comes after "exit status 1" and says more.
            reason = json.loads(match["json"]) if match["json"] else match["comment"]
            failure.reason = reason.strip() or failure.reason
    return results


def _count(results: Results, verdict: str, text: str) -> Failure | None:
    """Add one result line; return the failure whose diagnostics may follow."""
    directive = _DIRECTIVE.search(text)
    if directive and (directive[1].upper() == "SKIP" or verdict == "not ok"):
        results.skipped += 1
    elif verdict == "ok":
        results.ok += 1
    else:
        failure = Failure(text.strip())
        results.failures.append(failure)
        return failure
    return None
