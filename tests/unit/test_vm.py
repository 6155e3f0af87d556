"""What is made of a guest whose kernel dies; the guests themselves are in tests/vm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vm.machine import PANIC, KernelPanic, Machine, MachineError, Outcome
from tests.vm.run import run_again

if TYPE_CHECKING:
    from typing import Any


class Scripted(Machine):
    """A machine whose boots end as told."""

    def __init__(self, *ends: Outcome | MachineError) -> None:
        self.variant = "v2"
        self.ends = list(ends)

    def run(self, *_: Any, **__: Any) -> Outcome:
        end = self.ends.pop(0)
        if isinstance(end, MachineError):
            raise end
        return end


FAILED = Outcome(1, "1 failed", "")


def test_a_panic_is_shown_and_the_machine_booted_again(capsys: pytest.CaptureFixture[str]) -> None:
    outcome, duration = run_again(Scripted(KernelPanic("soft lockup"), FAILED), [], 1, {})
    assert outcome == FAILED
    assert "second boot" in duration
    assert capsys.readouterr().err == "v2: soft lockup\nv2: booting once more\n"


def test_but_only_once() -> None:
    with pytest.raises(KernelPanic, match="again"):
        run_again(Scripted(KernelPanic("soft lockup"), KernelPanic("again")), [], 1, {})


@pytest.mark.parametrize("end", [FAILED, MachineError("not done after 1 s")])
def test_nothing_else_is_tried_again(end: Outcome | MachineError) -> None:
    machine = Scripted(end, Outcome(0, "", ""))
    try:
        assert run_again(machine, [], 1, {}) == (FAILED, "0 s")
    except MachineError as error:
        assert error is end
    assert len(machine.ends) == 1


def test_the_end_of_the_first_process_is_no_fault_of_the_kernel() -> None:
    assert PANIC.search("[    9.1] Kernel panic - not syncing: softlockup: hung tasks\n")
    assert not PANIC.search("[    9.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x100\n")
