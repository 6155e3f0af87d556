"""What of the image's environment a hook has that is a program of the host's (createContainer). Pure.

Engines copy the variables of an image into process.env. By many of them a program is told to load a library
or a module, to read a file, or to run a command; the hook would do so with the host's rights, before the
pivot (CVE-2025-23266).
"""

from __future__ import annotations

#: Where the host's programs look for others of the host's.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: Beginnings of names, and names: of the loader and the C library, shells and interpreters, libraries that
#: load more, and what leads to files that these read.
_FAMILIES = (
    *("LD_", "GCONV_", "GLIBC_", "MALLOC_", "RES_", "RESOLV_", "BASH", "PYTHON", "PERL", "RUBY", "GEM_"),
    *(
        "BUNDLE_",
        "NODE_",
        "JAVA_",
        "_JAVA_",
        "JDK_",
        "LUA_",
        "TCL",
        "AWK",
        "OPENSSL_",
        "SSL_",
        "KRB5",
        "GIT_",
    ),
    *(
        "XTABLES_",
        "IPTABLES_",
        "MODPROBE_",
        "SYSTEMD_",
        "DBUS_",
        "XDG_",
        "TERMINFO",
        "TERMCAP",
        "LESS",
        "LLVM_",
    ),
)
_NAMES = frozenset(
    (
        *(
            "CDPATH",
            "CLASSPATH",
            "CURL_HOME",
            "EDITOR",
            "ENV",
            "FPATH",
            "GETCONF_DIR",
            "GLOBIGNORE",
            "GOCOVERDIR",
        ),
        *(
            "HOME",
            "HOSTALIASES",
            "IFS",
            "LOCALDOMAIN",
            "LOCPATH",
            "NIS_PATH",
            "NLSPATH",
            "PAGER",
            "PS4",
            "SHELL",
        ),
        *("PROMPT_COMMAND", "SHELLOPTS", "TMPDIR", "TZ", "TZDIR", "VISUAL", "WGETRC", "ZDOTDIR"),
    )
)


def harmless(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment without variables by which a program could be led to what is the image's."""
    kept = {name: value for name, value in environment.items() if not _leads(name, value)}
    if "PATH" in kept:
        kept["PATH"] = _PATH
    return kept


def _leads(name: str, value: str) -> bool:
    # Values like the last are functions to some shells.
    return name in _NAMES or name.startswith(_FAMILIES) or name.endswith("_OPTIONS") or value.startswith("()")
