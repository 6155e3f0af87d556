"""Which functions of naja the cold verbs and a shim use: writes runtime/startup/used.json.

    python -m conformance.used [--anew]

Needs root, strace and containerd. The command is this checkout's, with other words for Python to begin with:
each function that is called writes its name to a descriptor that is none, which only strace sees, so it may
be called in a container. What the file has of functions that are still there is kept, for other hosts have
other cgroups; but for --anew. What it is for: startup/layout.py.
"""

from __future__ import annotations

import argparse
import ast
import json
import marshal
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import defaultdict

from conformance.bench.seccomp import docker_profile
from conformance.bench_shim import contestants
from naja.startup import launcher, layout, precompile, precompiled
from tests.engines.catalogue import Engines
from tests.engines.stopwatch import Stopwatch
from tests.support.bundle import Bundle, make_rootfs
from tests.support.leaks import become_subreaper

Functions = dict[str, set[str]]

#: What Python runs instead of launcher.py's _MAIN.
_MAIN = """\
import posix, sys
del sys.argv[0]
sys.path.append({packages!r})
seen = set()
def trace(frame, event, _argument):
    code = frame.f_code
    module = frame.f_globals.get("__name__")
    if (module, code.co_name) == {stays!r}:
        seen.clear()
    if event == "call" and code not in seen:
        seen.add(code)
        try:
            file = posix.open({log!r}, posix.O_WRONLY | posix.O_APPEND | posix.O_CLOEXEC) if {log!r} else -1
            posix.write(file, f"{{module}} {{code.co_name}} {{posix.getpid()}}\\n".encode())
            posix.close(file)
        except OSError:
            pass
from naja.linux import libc
birth = libc.birth
def traced(life, flags):
    def lives():
        sys.setprofile(trace)
        life()
    return birth(lives, flags)
libc.birth = traced
from naja.cli.main import main
sys.setprofile(trace)
main()
"""

#: What is called before that.
_EARLIER = {
    "naja.startup.dumped": {"wake"},
    "naja.startup.quick.os": {"read_environment", "_environment"},
}

_TOLD = re.compile(r'write\(-1, "(naja[\w.]*) ([\w<>]+)')
_SECONDS = 30

#: What a shim uses that others do not, and the seconds until it has a nursery.
_SHIM = ("naja.shim.", "naja.resident.")
_NURSERY = 2

#: What a process calls that stays with a container; what others do soon ends with them.
_STAYS = ("naja.shim.serving", "begin")


def found() -> Functions:
    """Run the verbs; return the functions that they use, by module. Raises OSError, CalledProcessError."""
    functions: Functions = defaultdict(set)
    with tempfile.TemporaryDirectory() as scratch:
        command = _command(scratch)
        rootfs = os.path.join(scratch, "rootfs")
        make_rootfs(rootfs)

        def start(verb: str, *words: str) -> subprocess.Popen[bytes]:
            strace = ("strace", "-f", "-qq", "-s", "200", "-e", "trace=write", "-o", f"{scratch}/{verb}")
            line = (*strace, command, "--root", f"{scratch}/state", verb, *words)
            return subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

        def wait(process: subprocess.Popen[bytes]) -> None:
            if process.wait(_SECONDS):
                raise subprocess.CalledProcessError(process.returncode, process.args)

        bundle = Bundle(f"{scratch}/bundle", f"used{os.getpid()}", rootfs).args("/bin/true")
        bundle.linux["seccomp"] = docker_profile(bundle.process["capabilities"]["bounding"])
        limits = {"memory": {"limit": 1 << 30}, "cpu": {"shares": 512}, "pids": {"limit": 99}}
        bundle.linux["resources"] |= limits
        bundle.save()
        state = ("--root", f"{scratch}/state")
        # Once before, for the next time has the seccomp filter.
        subprocess.run([command, *state, "run", "--bundle", bundle.path, bundle.id], check=True)
        wait(start("run", "--bundle", bundle.path, bundle.id))
        bundle.args("/bin/sleep", "60").save()
        pid_file = f"{scratch}/pid"
        create = start("create", "--bundle", bundle.path, "--pid-file", pid_file, bundle.id)
        end = time.monotonic() + _SECONDS
        while not os.path.exists(pid_file) and time.monotonic() < end:
            time.sleep(0.05)
        subprocess.run([command, *state, "start", bundle.id], check=True)
        wait(start("exec", bundle.id, "/bin/true"))
        subprocess.run([command, *state, "delete", "--force", bundle.id], check=True)
        wait(create)
        for verb in ("create", "run", "exec"):
            with open(f"{scratch}/{verb}", encoding="utf-8", errors="replace") as file:
                for module, name in _TOLD.findall(file.read()):
                    functions[module].add(name)
    for module, names in _EARLIER.items():
        functions[module] |= names
    return _there(functions)


def found_in_shim() -> Functions:
    """Have containerd run containers; return the functions of the shim that it uses. Raises as ``found``."""
    functions: Functions = defaultdict(set)
    with tempfile.TemporaryDirectory() as scratch:
        # Nobody has to follow a shim: it can always open a file.
        log = os.path.join(scratch, "log")
        open(log, "w").close()
        shim = os.path.join(scratch, "containerd-shim-naja-v2")
        os.symlink(_command(scratch, log), shim)
        with Engines(shim) as engines:
            containerd = engines.containerd()
            stopwatch = Stopwatch(containerd.sandbox)
            each, *_ = contestants(containerd, stopwatch, os.path.join(scratch, "naja"))
            for id in ("first", "second"):  # The second is served by a fork of a nursery (shim/nursery.py).
                each.run(id, "--detach", words=("sleep", "100"))
                each.exec(id, "added")
                time.sleep(_NURSERY)
            each.remove(["second", "first"])
            stopwatch.close()
        stays = set()
        with open(log, encoding="utf-8") as file:
            for module, name, pid in map(str.split, file):
                if (module, name) == _STAYS:
                    stays.add(pid)
                if pid in stays and module.startswith(_SHIM):
                    functions[module].add(name)
    return _there(functions)


def _command(directory: str, log: str = "") -> str:
    """Write a command that starts the dump of this checkout with other words. Raises OSError.

    What it calls is told in the file ``log``, where one is given, and else to strace.
    """
    path = os.path.join(directory, "naja")
    was = launcher._MAIN
    # Its braces are for launcher.py, which fills in the packages.
    launcher._MAIN = _MAIN.replace("{log!r}", repr(log)).replace("{stays!r}", repr(_STAYS))
    try:
        packages = sysconfig.get_path("purelib")
        made = launcher.program(os.path.realpath(sys.executable), packages, precompile.build())
    finally:
        launcher._MAIN = was
    if made is None or not os.path.exists(launcher._WARM):
        raise FileNotFoundError("there is no dump: make command")
    precompile.replace(path, made, 0o755)
    return path


def known() -> Functions:
    """Return the functions that the file names, as far as they are there."""
    return _there({module: set(names) for module, names in marshal.loads(layout.used()).items()})


def _there(functions: Functions) -> Functions:
    """Leave out what is no function of a source: modules and classes, and what is made inside a function."""
    left: Functions = defaultdict(set)
    for module, names in functions.items():
        path = f"{precompiled.PACKAGE}/{module.partition('.')[2].replace('.', '/')}"
        for file in filter(os.path.exists, (f"{path}.py", f"{path}/__init__.py")):
            with open(file, "rb") as source:
                nodes = list(ast.walk(ast.parse(source.read())))
            left[module] = {node.name for node in nodes if isinstance(node, ast.FunctionDef)} & names
            left[module] |= {"<lambda>"} & names
    return left


def written(functions: Functions) -> str:
    """Return the file: a line for each module."""
    kept = ((module, sorted(names)) for module, names in sorted(functions.items()) if names)
    lines = (f"  {json.dumps(module)}: {json.dumps(names)}" for module, names in kept)
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Write anew which functions create, run and exec use.")
    parser.add_argument("--anew", action="store_true", help="drop what the file has")
    anew = parser.parse_args().anew
    become_subreaper()
    functions = found()
    for module, names in found_in_shim().items():
        functions[module] |= names
    if not anew:
        for module, names in known().items():
            functions[module] |= names
    with open(layout.USED, "w", encoding="utf-8") as file:
        file.write(written(functions))


if __name__ == "__main__":
    main()
