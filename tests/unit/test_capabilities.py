"""The names and masks of capabilities, against the kernel that runs the tests."""

from __future__ import annotations

import os

import pytest

from naja.linux import capabilities


def test_names_and_numbers() -> None:
    assert capabilities.NAMES[0] == "CAP_CHOWN"
    assert capabilities.NUMBERS["CAP_SYS_ADMIN"] == 21
    assert capabilities.NUMBERS["CAP_CHECKPOINT_RESTORE"] == 40
    assert len(set(capabilities.NAMES)) == 41


def test_masks() -> None:
    assert capabilities.mask([]) == 0
    assert capabilities.mask(["CAP_CHOWN", "CAP_BPF", "CAP_CHOWN"]) == 1 | 1 << 39
    assert capabilities.names(1 | 1 << 39 | 1 << 63) == ["CAP_CHOWN", "CAP_BPF"]
    everything = capabilities.mask(list(capabilities.NAMES))
    assert capabilities.names(everything) == list(capabilities.NAMES)


def test_an_unknown_name() -> None:
    with pytest.raises(KeyError):
        capabilities.mask(["CAP_TEST"])


def test_the_kernel_tells_the_same_sets() -> None:
    with open("/proc/self/status") as file:
        lines = dict(line.rstrip().split(":\t", 1) for line in file if line.startswith("Cap"))
    effective, permitted, inheritable = capabilities.get()
    assert effective == int(lines["CapEff"], 16)
    assert permitted == int(lines["CapPrm"], 16)
    assert inheritable == int(lines["CapInh"], 16)
    assert capabilities.bounded((1 << 64) - 1) == int(lines["CapBnd"], 16)
    proc = os.open("/proc", os.O_PATH)
    assert capabilities.bounding_set(proc) == int(lines["CapBnd"], 16)
    os.close(proc)


@pytest.mark.skipif(not os.path.exists("/proc/sys/kernel/cap_last_cap"), reason="needs /proc/sys")
def test_no_capability_of_this_kernel_is_unknown() -> None:
    with open("/proc/sys/kernel/cap_last_cap") as file:
        assert int(file.read()) < len(capabilities.NAMES)
