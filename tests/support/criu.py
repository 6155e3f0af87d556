"""Whether CRIU works on this machine; where it does not, tests that need it are skipped and say why."""

from __future__ import annotations

import functools
import glob
import os
import shutil
import subprocess

import pytest

from naja.criu import service
from tests.support.command import REPOSITORY

#: What CRIU looks for in the kernel, beside what the guests of tests/vm load for themselves, each after
#: what it needs. (Looking for them in the guest would take a minute.)
_MODULES = (
    *("crypto/crc32c_generic", "lib/libcrc32c", "net/unix/unix_diag", "net/ipv4/inet_diag"),
    *("net/ipv4/tcp_diag", "net/ipv4/udp_diag", "net/ipv4/raw_diag", "net/netlink/netlink_diag"),
    *("net/packet/af_packet_diag", "drivers/net/tun", "net/netfilter/nfnetlink"),
    *("net/netfilter/nf_tables", "net/netfilter/x_tables", "net/netfilter/nft_compat"),
    *("net/netfilter/xt_mark", "net/ipv4/netfilter/nf_defrag_ipv4", "net/ipv6/netfilter/nf_defrag_ipv6"),
    *("net/netfilter/nf_conntrack", "net/netfilter/nf_conntrack_netlink"),
    *("net/ipv4/netfilter/ip_tables", "net/ipv4/netfilter/iptable_filter"),
    *("net/ipv6/netfilter/ip6_tables", "net/ipv6/netfilter/ip6table_filter"),
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
    for directory in glob.glob(f"{REPOSITORY}/build/vm/kernel/package/lib/modules/*/kernel"):
        for name in _MODULES:
            # What is loaded already is refused, and what is missing CRIU tells.
            path = f"{directory}/{name}.ko"
            subprocess.run(["busybox", "insmod", path], capture_output=True, check=False)
