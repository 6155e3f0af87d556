"""What the verbs of insight print, of bundles, files and containers: plan --diff, audit."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.rootless import AS_NOBODY, let_through, nobodys_bundle, nobodys_runtime

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime


@pytest.fixture
def pair(busybox_bundle: Callable[[], Bundle]) -> tuple[Bundle, Bundle]:
    """Two bundles that differ in one property."""
    first, second = busybox_bundle(), busybox_bundle()
    second.config = copy.deepcopy(first.config)
    second.process["noNewPrivileges"] = False
    return first.save(), second.save()


def test_the_difference_of_two_plans(naja: Runtime, pair: tuple[Bundle, Bundle]) -> None:
    first, second = pair
    assert naja.run("plan", first.path, "--diff", second.path).stdout.splitlines() == [
        "config.json",
        "  ~ /process/noNewPrivileges: true → false",
        "plan",
        "  - init: set no_new_privs  [/process/noNewPrivileges]",
    ]
    same = naja.run("plan", "--bundle", first.path, "--diff", f"{first.path}/config.json").stdout
    assert same == "config.json\n  no difference\nplan\n  no difference\n"


def test_the_difference_for_programs(naja: Runtime, pair: tuple[Bundle, Bundle]) -> None:
    first, second = pair
    found = json.loads(naja.run("plan", "--json", "--run", first.path, "--diff", second.path).stdout)
    assert found["config"] == [{"origin": "/process/noNewPrivileges", "old": True, "new": False}]
    assert [(one["change"], one["operation"]) for one in found["operations"]] == [
        ("removed", "SetNoNewPrivileges")
    ]


def test_audit(naja: Runtime, bundle: Bundle) -> None:
    text = naja.run("audit", bundle.path).stdout
    assert " 2.00  no seccomp filter" in text
    assert text.splitlines()[-1].startswith("score ")
    found = json.loads(naja.run("audit", "--json", bundle.path).stdout)
    assert f"score {found['score']:.1f} of 10: {found['word']}" == text.splitlines()[-1]
    assert {"key", "weight", "origin", "what", "fix"} == {*found["exposures"][0]}
    # The bundle is the current directory where none is named.
    assert naja.run("audit", cwd=bundle.path).stdout == text
    assert naja.run("audit", f"{bundle.path}/config.json").stdout == text


@pytest.mark.parametrize(("limit", "status"), [("0", 2), ("10", 0), ("9.9", 0), ("1.5", 2)])
def test_a_score_that_is_too_high(naja: Runtime, bundle: Bundle, limit: str, status: int) -> None:
    done = naja.run("audit", "--fail-above", limit, bundle.path, check=False)
    assert done.status == status
    assert "score" in done.stdout


def test_the_difference_of_two_audits(naja: Runtime, pair: tuple[Bundle, Bundle]) -> None:
    first, second = pair
    lines = naja.run("audit", first.path, "--diff", second.path).stdout.splitlines()
    assert lines[0] == "~ /process/noNewPrivileges: true → false"
    assert lines[1].startswith("+  0.70  set-uid programs")
    found = json.loads(naja.run("audit", "--json", second.path, "--diff", first.path).stdout)
    assert [one["key"] for one in found["closed"]] == ["new-privileges"]
    assert found["opened"] == []
    assert found["new"]["score"] < found["old"]["score"]


def test_a_container(naja: Runtime, bundle: Bundle) -> None:
    naja.create(bundle.shell("exit"))
    text = naja.run("audit", bundle.path).stdout
    # What it was made from counts, whatever the bundle says now.
    bundle.process["capabilities"] = {"bounding": ["CAP_SYS_ADMIN"], "permitted": ["CAP_SYS_ADMIN"]}
    bundle.save()
    assert naja.run("audit", bundle.id, cwd=os.path.dirname(bundle.path)).stdout == text
    lines = naja.run("audit", bundle.id, "--diff", bundle.path).stdout
    assert "+  8.50  CAP_SYS_ADMIN" in lines
    naja.delete(bundle, "--force")


def test_options_of_the_command(naja: Runtime, bundle: Bundle) -> None:
    options = ("--no-pivot", "--no-new-keyring", "--preserve-fds", "1")
    found = json.loads(naja.run("audit", "--json", *options, bundle.path).stdout)
    keys = {one["key"] for one in found["exposures"]}
    assert {"no-pivot", "callers-keyring", "callers-descriptors"} <= keys


def test_a_user_s_bundle(naja: Runtime, tmp_path: Path, tag: str, busybox_rootfs: str) -> None:
    let_through(str(tmp_path))
    bundle = nobodys_bundle(str(tmp_path), f"{tag}0", busybox_rootfs)
    runtime = nobodys_runtime(naja, str(tmp_path))
    found = json.loads(runtime.run("audit", "--json", bundle.path, **AS_NOBODY).stdout)
    keys = {one["key"] for one in found["exposures"]}
    assert not keys & {"root-is-root", "no-user-namespace", "CAP_KILL"}
    # Its runtime may write no more than it may: root judges the same bundle as root's.
    assert found["score"] <= json.loads(naja.run("audit", "--json", bundle.path).stdout)["score"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("audit", "nowhere"), "nowhere is neither a bundle nor a container"),
        (("audit", "/nowhere"), "/nowhere is neither"),
        (("audit", "/"), "/config.json not found"),
        (("audit", "/dev/null"), "/dev/null is neither"),
        (("audit", "--fail-above", "much", "."), "--fail-above: a score is from 0 to 10"),
        (("audit", "--fail-above", "11", "."), "--fail-above: a score is from 0 to 10"),
        (("audit", "--fail-above", "nan", "."), "--fail-above: a score is from 0 to 10"),
        (("audit", ".", "--diff", "nowhere"), "nowhere is neither"),
        (("plan", ".", "--diff", "nowhere"), "nowhere is neither"),
    ],
)
def test_one_line_says_what_is_wrong(
    naja: Runtime, bundle: Bundle, words: tuple[str, ...], reason: str
) -> None:
    done = naja.run(*words, check=False, cwd=bundle.path)
    assert done.status == 1
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_config_that_will_not_do(naja: Runtime, bundle: Bundle) -> None:
    bundle.config["process"]["cwd"] = 5
    done = naja.run("audit", bundle.save().path, check=False)
    assert (done.status, done.stderr.count("\n")) == (1, 1)
    assert "/process/cwd" in done.stderr
    with open(f"{bundle.path}/config.json", "w") as file:
        file.write("[]")
    assert "no JSON object" in naja.run("audit", bundle.path, check=False).stderr


def test_nothing_is_touched(naja: Runtime, bundle: Bundle) -> None:
    before = sorted(os.listdir(bundle.path))
    for words in (("audit",), ("audit", "--diff", "."), ("plan", "--diff", ".")):
        naja.run(*words, cwd=bundle.path)
    assert sorted(os.listdir(bundle.path)) == before
    assert not os.path.exists(naja.root) or os.listdir(naja.root) == []


def keys(naja: Runtime, bundle: Bundle) -> set[Any]:
    """Return the keys of what a bundle exposes."""
    found = json.loads(naja.run("audit", "--json", bundle.path).stdout)
    return {one["key"] for one in found["exposures"]}


def test_oom_killer(naja: Runtime, bundle: Bundle) -> None:
    if not os.path.exists("/sys/fs/cgroup/memory/memory.oom_control"):
        pytest.skip("needs a v1 memory hierarchy: v2 has no such switch")
    bundle.linux["resources"]["memory"] = {"limit": 1 << 26, "disableOOMKiller": True}
    assert "oom-killer-off" in keys(naja, bundle.save())
