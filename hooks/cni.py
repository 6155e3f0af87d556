#!/usr/bin/env python3
"""Connect a container to a CNI network: a hook for createRuntime (or prestart) and poststop.

Name it in both places with the same arguments. At createRuntime it runs the plugins of a network
(/etc/cni/net.d) to ADD the container, at poststop to DELete it, with the configuration and the result
that the first had. Capabilities such as portMappings come from annotations, naja.cni.portMappings for
that, as JSON, or from --publish.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
from typing import Any

from hooklib.leases import Port
from hooklib.program import Arguments, HookError, read_state, run

#: Where plugins are by custom, and where Debian has them.
_PLUGINS = ("/opt/cni/bin", "/usr/lib/cni")

#: Names of containers, networks and interfaces that CNI takes (SPEC.md, Parameters).
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")

#: Of a hook that may have no environment; plugins call iptables.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_ANNOTATION = "naja.cni."


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = Arguments("cni", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="", metavar="NAME", help="the network (that of the first file)")
    parser.add_argument("--interface", default="eth0", metavar="NAME", help="its name inside (eth0)")
    parser.add_argument(
        "--netns",
        default="",
        metavar="PATH",
        help="a network namespace that outlives the container's process",
    )
    parser.add_argument("--arg", action="append", default=[], metavar="KEY=VALUE", help="for CNI_ARGS")
    Port.add_option(parser)
    parser.add_argument("--configurations", default="/etc/cni/net.d", metavar="DIR", help="(/etc/cni/net.d)")
    parser.add_argument(
        "--plugins",
        default=os.environ.get("CNI_PATH", ":".join(_PLUGINS)),
        metavar="DIR[:DIR...]",
        help="where the plugins are ($CNI_PATH, or /opt/cni/bin:/usr/lib/cni)",
    )
    parser.add_argument("--directory", default="/run/naja-cni", help="for the results (/run/naja-cni)")
    return parser.parse_args()


def main() -> None:
    """Do what the container's state asks for."""
    options = arguments()
    state = read_state()
    for what, name in (("container", state["id"]), ("interface", options.interface)):
        if not _NAME.fullmatch(name):
            raise HookError(f"{what} {name!r} is no name that CNI takes")
    attachment = Attachment(options, state["id"])
    if state["status"] == "stopped":
        attachment.delete()
    else:
        attachment.add(state)


class Attachment:
    """A container's interface on a network."""

    def __init__(self, options: argparse.Namespace, id: str) -> None:
        self.options = options
        self.id = id

    def add(self, state: dict[str, Any]) -> None:
        """Connect the container. Raises HookError; then the plugins were told to take all back."""
        namespace = self.options.netns or f"/proc/{state['pid']}/ns/net"
        if os.path.samefile(namespace, "/proc/self/ns/net"):
            raise HookError("the container has no network namespace of its own")
        network = find_network(self.options.configurations, self.options.network)
        kept = {
            "network": network,
            "capabilities": self.capabilities(state.get("annotations") or {}),
            "args": self.args(),
            "result": None,
        }
        if os.path.exists(self.path(network["name"])):
            raise HookError(f"container {self.id} is connected to {network['name']} already")
        # Before the first plugin: whatever becomes of it, poststop knows what to take back.
        self.keep(kept)
        try:
            for plugin in network["plugins"]:
                kept["result"] = self.call("ADD", kept, plugin, namespace)
        except HookError as error:
            try:
                self.undo(kept, namespace)
            except HookError as second:
                raise HookError(f"{error}; and then: {second}") from None
            raise
        self.keep(kept)

    def delete(self) -> None:
        """Take back what ``add`` did, on all networks where it was. Raises HookError."""
        for kept in self.all_kept():
            # Else it went with the container's process, and all that plugins have put in there.
            self.undo(kept, self.options.netns)

    def undo(self, kept: dict[str, Any], namespace: str) -> None:
        """Run the plugins to delete, the last one first; all of them, whoever fails. Raises HookError."""
        errors = []
        for plugin in reversed(kept["network"]["plugins"]):
            try:
                self.call("DEL", kept, plugin, namespace)
            except HookError as error:
                errors.append(str(error))
        if errors:
            raise HookError("; ".join(errors))
        os.unlink(self.path(kept["network"]["name"]))

    def call(self, command: str, kept: dict[str, Any], plugin: dict[str, Any], namespace: str) -> Any:
        """Run a plugin; return its result, None for DEL. Raises HookError with what it said."""
        network = kept["network"]
        wanted = {
            name: value
            for name, value in kept["capabilities"].items()
            if (plugin.get("capabilities") or {}).get(name)
        }
        document = {key: value for key, value in plugin.items() if key != "capabilities"}
        document.update(cniVersion=network["cniVersion"], name=network["name"])
        if wanted:
            document["runtimeConfig"] = wanted
        if kept["result"] is not None:
            document["prevResult"] = kept["result"]
        environment = {
            **os.environ,
            "PATH": os.environ.get("PATH") or _PATH,
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": self.id,
            "CNI_NETNS": namespace,
            "CNI_IFNAME": self.options.interface,
            "CNI_ARGS": kept["args"],
            "CNI_PATH": self.options.plugins,
        }
        what = f"{command} {self.id} by plugin {plugin['type']} of network {network['name']}"
        program = find_plugin(self.options.plugins, plugin["type"])
        done = subprocess.run(
            [program], input=json.dumps(document).encode(), capture_output=True, env=environment, check=False
        )
        if done.returncode:
            raise HookError(f"{what}: {_said(done)}")
        if command == "DEL":
            return None
        try:
            result = json.loads(done.stdout)
        except ValueError:
            raise HookError(f"{what}: its result is no JSON") from None
        # Before 0.3 a result was of another form, which no later plugin reads.
        return result

    def capabilities(self, annotations: dict[str, str]) -> dict[str, Any]:
        """Return what the network is asked for beyond its configuration, by capability. Raises HookError."""
        found: dict[str, Any] = {}
        for name, text in annotations.items():
            if name.startswith(_ANNOTATION):
                try:
                    found[name.removeprefix(_ANNOTATION)] = json.loads(text)
                except ValueError as error:
                    raise HookError(f"annotation {name} is no JSON: {error}") from None
        if self.options.publish:
            mappings = found.setdefault("portMappings", [])
            if not isinstance(mappings, list):
                raise HookError(f"annotation {_ANNOTATION}portMappings is no list")
            mappings += [
                {
                    "hostPort": port.host,
                    "containerPort": port.container,
                    "protocol": port.protocol,
                    **({"hostIP": port.listen} if port.listen else {}),
                }
                for port in self.options.publish
            ]
        return found

    def args(self) -> str:
        """Return CNI_ARGS; plugins that do not know one are not to mind. Raises HookError."""
        for text in self.options.arg:
            key, equals, value = text.partition("=")
            if not key or not equals or ";" in text or "=" in value:
                raise HookError(f"--arg {text!r} is not KEY=VALUE")
        return ";".join(["IgnoreUnknown=1", *self.options.arg])

    def path(self, network: str) -> str:
        """Return the file that tells how a container was connected to a network."""
        return f"{self.options.directory}/{self.id}:{self.options.interface}:{network}.json"

    def keep(self, kept: dict[str, Any]) -> None:
        """Write down how the container is connected: poststop needs what was, not what is by then."""
        os.makedirs(self.options.directory, 0o700, exist_ok=True)
        path = self.path(kept["network"]["name"])
        descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w") as file:
            json.dump(kept, file)
        os.rename(f"{path}.new", path)

    def all_kept(self) -> list[dict[str, Any]]:
        """Return how the container was connected by this interface. Raises HookError."""
        network = self.options.network
        start, end = f"{self.id}:{self.options.interface}:", f"{network}.json"
        found = []
        try:
            names = sorted(os.listdir(self.options.directory))
        except FileNotFoundError:
            return []
        for name in names:
            if name.startswith(start) and name.endswith(end) and (not network or name == start + end):
                path = f"{self.options.directory}/{name}"
                try:
                    with open(path, "rb") as file:
                        found.append(json.load(file))
                except ValueError as error:
                    raise HookError(f"{path} is no JSON: {error}") from None
        return found


def find_network(directory: str, name: str) -> dict[str, Any]:
    """Return the configuration of a network as a list of plugins, the first one where none is named.

    Raises HookError.
    """
    try:
        files = sorted(os.listdir(directory))
    except OSError as error:
        raise HookError(f"{directory}: {error.strerror}") from None
    for file in files:
        if not file.endswith((".conflist", ".conf", ".json")):
            continue
        path = f"{directory}/{file}"
        try:
            with open(path, "rb") as opened:
                document = json.load(opened)
        except ValueError as error:
            raise HookError(f"{path} is no JSON: {error}") from None
        network = _as_list(document, path)
        if name in ("", network["name"]):
            return network
    raise HookError(f"no network {name} in {directory}" if name else f"no network in {directory}")


def _as_list(document: Any, path: str) -> dict[str, Any]:
    """Check a configuration; one of a single plugin becomes a list of it. Raises HookError."""
    if isinstance(document, dict) and "plugins" not in document:
        document = {**{key: document.get(key) for key in ("name", "cniVersion")}, "plugins": [document]}
    plugins = document.get("plugins") if isinstance(document, dict) else None
    if not isinstance(plugins, list) or not plugins:
        raise HookError(f"{path} has no plugins")
    if not isinstance(document.get("name"), str) or not _NAME.fullmatch(document["name"]):
        raise HookError(f"{path} has no name that CNI takes")
    for plugin in plugins:
        kind = plugin.get("type") if isinstance(plugin, dict) else None
        if not isinstance(kind, str) or not kind or "/" in kind:
            raise HookError(f"{path} has a plugin without a type")
    version = document.get("cniVersion") or "0.1.0"
    if not isinstance(version, str):
        raise HookError(f"{path} has a cniVersion that is no text")
    return {"name": document["name"], "cniVersion": version, "plugins": plugins}


def find_plugin(directories: str, kind: str) -> str:
    """Return the path of a plugin. Raises HookError."""
    for directory in filter(None, directories.split(":")):
        path = f"{directory}/{kind}"
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    raise HookError(f"no plugin {kind} in {directories}")


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return why a plugin failed, in a line: its error on stdout, or what it wrote to stderr."""
    try:
        error = json.loads(done.stdout)
        words = [error["msg"], *([error["details"]] if error.get("details") else [])]
        text = f"{': '.join(map(str, words))} (code {error['code']})"
    except (ValueError, KeyError, TypeError, AttributeError):
        text = done.stderr.decode(errors="replace") or f"it ended with {done.returncode}, and said nothing"
    return " ".join(text.split())


if __name__ == "__main__":
    run("cni", main)
