"""Whether CRIU works on this machine; where it does not, tests that need it are skipped and say why."""

from __future__ import annotations

import functools
import glob
import os
import shutil
import subprocess

import pytest

from runtime.criu import service
from tests.support.command import REPOSITORY

#: What CRIU looks for in the kernel, beside what the guests of tests/vm load for themselves.
_MODULES = (
    *("crc32c_generic", "unix_diag", "inet_diag", "tcp_diag", "udp_diag", "raw_diag", "netlink_diag"),
    *("af_packet_diag", "tun", "nf_tables", "nft_compat", "xt_mark", "nf_conntrack_netlink"),
    *("ip_tables", "iptable_filter", "ip6_tables", "ip6table_filter"),
)


def need_criu() -> None:
    """Skip the running test where CRIU does not work."""
    if reason := complaint():
        pytest.skip(reason)


@functools.cache
def complaint() -> str:
    """Return why CRIU does not work here, "" where it does."""
    if not shutil.which("criu"):
        return "needs criu in PATH"
    if os.environ.get("NAJA_VM"):
        _load_modules()
    if service.works():
        return ""
    said = subprocess.run(["criu", "check"], capture_output=True, text=True, check=False)
    lines = [line for line in (said.stdout + said.stderr).splitlines() if "Error" in line]
    return f"CRIU does not work on this kernel: {lines[0] if lines else 'it does not say why'}"


def _load_modules() -> None:
    """Load the modules from the package that the guest was booted from; it has no other."""
    from tests.vm.kernel import module_files

    for directory in glob.glob(f"{REPOSITORY}/build/vm/kernel/package/lib/modules/*"):
        for path in module_files(directory, _MODULES):
            # What is loaded already is refused, and what is missing CRIU tells.
            subprocess.run(["busybox", "insmod", path], capture_output=True, check=False)
