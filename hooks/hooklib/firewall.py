"""Packet filter rules of a bridge: containers reach the world, and the world reaches published ports.

The rules are always written as a whole, from the leases; so none is ever left over.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from hooklib.program import HookError

if TYPE_CHECKING:
    from hooklib.leases import Leases

#: Hooks may run without an environment.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find(name: str) -> str:
    """Return the firewall to use: ``name``, or for "auto" the one that the host has.

    iptables comes first: beside Docker's rules, which drop what they do not know, only its rules
    can let packets pass. Raises HookError.
    """
    for candidate in ("iptables", "nft") if name == "auto" else (name,):
        if _program(candidate):
            return candidate
    raise HookError(
        f"{'neither iptables nor nft' if name == 'auto' else f'no {name}'} found: install one, or publish no"
        " ports and use --no-masquerade"
    )


def apply(name: str, leases: Leases) -> None:
    """Make the rules those of the leases. Raises HookError."""
    if name == "nft":
        _run("nft", "-f", "-", text=nft_rules(leases))
        return
    _run("iptables-restore", "--noflush", "--wait", text=iptables_rules(leases))
    for table, chain, *rest in _jumps(leases.bridge):
        if not _succeeds("iptables", "--wait", "-t", table, "-C", chain, *rest):
            _run("iptables", "--wait", "-t", table, "-I", chain, *rest)


def remove(name: str, bridge: str) -> None:
    """Remove all rules of a bridge. Raises HookError."""
    if name == "nft":
        # Declared first, so that there is something to delete.
        _run("nft", "-f", "-", text=f"table ip {_table(bridge)}\ndelete table ip {_table(bridge)}\n")
        return
    for table, chain, *rest in _jumps(bridge):
        if _succeeds("iptables", "--wait", "-t", table, "-C", chain, *rest):
            _run("iptables", "--wait", "-t", table, "-D", chain, *rest)
    for table, chain in (("nat", "POST"), ("nat", "PRE"), ("filter", "FWD")):
        if _succeeds("iptables", "--wait", "-t", table, "-F", _chain(chain, bridge)):
            _run("iptables", "--wait", "-t", table, "-X", _chain(chain, bridge))


def iptables_rules(leases: Leases) -> str:
    """Return the bridge's own chains as iptables-restore(8) reads them; naming a chain empties it."""
    bridge = leases.bridge
    post, pre, forward = (_chain(name, bridge) for name in ("POST", "PRE", "FWD"))
    nat = ["*nat", f":{post} - [0:0]", f":{pre} - [0:0]"]
    filter = ["*filter", f":{forward} - [0:0]"]
    filter.append(f"-A {forward} -i {bridge} -j ACCEPT")
    filter.append(f"-A {forward} -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
    for lease in leases.all:
        if lease.masquerade:
            nat.append(f"-A {post} -s {lease.address} ! -o {bridge} -j MASQUERADE")
        for port in lease.ports:
            listen = f"-d {port.listen} " if port.listen else ""
            nat.append(
                f"-A {pre} {listen}-p {port.protocol} --dport {port.host}"
                f" -j DNAT --to-destination {lease.address}:{port.container}"
            )
            filter.append(
                f"-A {forward} -o {bridge} -d {lease.address} -p {port.protocol}"
                f" --dport {port.container} -j ACCEPT"
            )
    return "\n".join([*nat, "COMMIT", *filter, "COMMIT", ""])


def nft_rules(leases: Leases) -> str:
    """Return the bridge's own table as nft(8) reads it: emptied and filled in one transaction."""
    table = _table(leases.bridge)
    masquerades, forwards = [], []
    for lease in leases.all:
        if lease.masquerade:
            masquerades.append(f'  ip saddr {lease.address} oifname != "{leases.bridge}" masquerade')
        for port in lease.ports:
            listen = f"ip daddr {port.listen} " if port.listen else ""
            target = f"{lease.address}:{port.container}"
            forwards.append(
                f"  {listen}fib daddr type local {port.protocol} dport {port.host} dnat to {target}"
            )
    lines = [
        f"table ip {table}",
        f"delete table ip {table}",
        f"table ip {table} {{",
        " chain postrouting {",
        "  type nat hook postrouting priority 100;",
        *masquerades,
        " }",
        " chain prerouting {",
        "  type nat hook prerouting priority -100;",
        *forwards,
        " }",
        " chain output {",
        "  type nat hook output priority -100;",
        *(line.replace("  ", "  ip daddr != 127.0.0.0/8 ", 1) for line in forwards),
        " }",
        "}",
        "",
    ]
    return "\n".join(lines)


def _jumps(bridge: str) -> list[list[str]]:
    """Return how the kernel's chains lead to the bridge's own: table, chain, rule."""
    local = ["-m", "addrtype", "--dst-type", "LOCAL", "-j", _chain("PRE", bridge)]
    return [
        ["nat", "POSTROUTING", "-j", _chain("POST", bridge)],
        ["nat", "PREROUTING", *local],
        # Not the loopback's own addresses: their packets cannot leave for a bridge.
        ["nat", "OUTPUT", "!", "-d", "127.0.0.0/8", *local],
        ["filter", "FORWARD", "-j", _chain("FWD", bridge)],
    ]


def _chain(name: str, bridge: str) -> str:
    return f"NAJA-{name}-{bridge}"


def _table(bridge: str) -> str:
    return f"naja-{bridge}"


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", _PATH) + ":" + _PATH)


def _run(name: str, *words: str, text: str = "") -> None:
    """Run a command with ``text`` on its standard input. Raises HookError with what it said."""
    program = _program(name)
    if program is None:
        raise HookError(f"{name} not found")
    done = subprocess.run([program, *words], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split()) or "it said nothing"
        raise HookError(f"{name} {' '.join(words)} failed: {said}")


def _succeeds(name: str, *words: str) -> bool:
    program = _program(name)
    return (
        program is not None
        and not subprocess.run(
            [program, *words], stdin=subprocess.DEVNULL, capture_output=True, check=False
        ).returncode
    )
