"""The options of a mount: which words mean what (config.md, Linux mount options; mount(8))."""

from __future__ import annotations

from ..errors import NajaError
from ..linux import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    #: Name, value (None for a flag), JSON pointer of the option.
    Parameter = tuple[str, str | None, str]
    #: (id in the file system, id on the host, how many)
    Mapping = tuple[int, int, int]

_ATIME = mounts.MOUNT_ATTR_ATIME

#: Attributes of the mount: what each word sets, and what it clears first.
_ATTRIBUTES = {
    "ro": (mounts.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, mounts.MOUNT_ATTR_RDONLY),
    "nosuid": (mounts.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, mounts.MOUNT_ATTR_NOSUID),
    "nodev": (mounts.MOUNT_ATTR_NODEV, 0),
    "dev": (0, mounts.MOUNT_ATTR_NODEV),
    "noexec": (mounts.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, mounts.MOUNT_ATTR_NOEXEC),
    "nosymfollow": (mounts.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, mounts.MOUNT_ATTR_NOSYMFOLLOW),
    "nodiratime": (mounts.MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, mounts.MOUNT_ATTR_NODIRATIME),
    "noatime": (mounts.MOUNT_ATTR_NOATIME, _ATIME),
    "strictatime": (mounts.MOUNT_ATTR_STRICTATIME, _ATIME),
    "relatime": (mounts.MOUNT_ATTR_RELATIME, _ATIME),
    # To have none of the others is to have relatime, the kernel's default since 2.6.30.
    "atime": (mounts.MOUNT_ATTR_RELATIME, _ATIME),
    "norelatime": (mounts.MOUNT_ATTR_RELATIME, _ATIME),
    "nostrictatime": (mounts.MOUNT_ATTR_RELATIME, _ATIME),
}

#: Attributes that are on or off, and those about times, of which one is always on.
_SWITCHES = mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV
_SWITCHES |= mounts.MOUNT_ATTR_NOEXEC | mounts.MOUNT_ATTR_NOSYMFOLLOW
_TIMES = _ATIME | mounts.MOUNT_ATTR_NODIRATIME

#: The same words with an "r" before them hold for all mounts below as well.
_RECURSIVE_ATTRIBUTES = {"r" + word: bits for word, bits in _ATTRIBUTES.items()}

_PROPAGATION = {
    "private": mounts.MS_PRIVATE,
    "shared": mounts.MS_SHARED,
    "slave": mounts.MS_SLAVE,
    "unbindable": mounts.MS_UNBINDABLE,
}
#: Mount flag by word; also the values of linux.rootfsPropagation.
PROPAGATION = {
    **_PROPAGATION,
    **{"r" + word: flag | mounts.MS_REC for word, flag in _PROPAGATION.items()},
}

#: Flags of the whole file system; a bind mount shares its source's.
_FILESYSTEM_FLAGS = ("sync", "dirsync", "iversion", "lazytime", "mand")
#: Words that take one of these back; by themselves they say what is so anyway.
_OPPOSITES = {"async": "sync", "noiversion": "iversion", "nolazytime": "lazytime", "nomand": "mand"}
#: What is so anyway. "silent" and "loud" are about the kernel's log.
_DEFAULTS = ("defaults", "silent", "loud")
#: Words about how naja mounts, by the attribute of MountOptions that they make true.
_MANNERS = {
    "bind": "bind",
    "rbind": "bind",
    "remount": "remount",
    "tmpcopyup": "copy_up",
    "idmap": "idmap",
    "ridmap": "idmap",
    "copy-symlink": "copy_symlink",
    "src-nofollow": "source_nofollow",
    "dest-nofollow": "destination_nofollow",
}

#: All words with a meaning of their own, for ``naja features``.
KNOWN = sorted(
    {
        *_ATTRIBUTES,
        *_RECURSIVE_ATTRIBUTES,
        *PROPAGATION,
        *_FILESYSTEM_FLAGS,
        *_OPPOSITES,
        *_DEFAULTS,
        *_MANNERS,
    }
)


def _words(text: str) -> list[str]:
    """Split what names several options, as mount(8) takes them ("size=1m,mode=700").

    It is one where anything after a comma is no option by itself: then the comma belongs to a value. An
    empty one asks for nothing: engines leave them (Podman 5 with --systemd), and mount(2) passes over them.
    """
    words = [word for word in text.split(",") if word]
    for word in words[1:]:
        name, equals, _ = word.partition("=")
        if word not in KNOWN and not (equals and name.replace("_", "").isalnum()):
            return [text]
    return words


class MountOptions:
    """The options of one mount, sorted by whom they are for."""

    def __init__(self, options: list[str], origin: str) -> None:
        """Sort ``options``, which stand at ``origin`` in config.json. Raises NajaError."""
        self.origin = origin
        #: (set, clear) for the mount itself, and for all mounts below too.
        self.attributes = (0, 0)
        self.recursive_attributes = (0, 0)
        #: MS_SHARED and its like, with MS_REC or without; 0 where nothing is said.
        self.propagation = 0
        #: What only the file system understands, in its order.
        self.parameters: list[Parameter] = []
        self.bind = self.remount = self.copy_up = self.idmap = False
        self.copy_symlink = self.source_nofollow = self.destination_nofollow = False
        #: crun's "idmap=uids=...;gids=...": mappings by "uids" and "gids".
        self.mappings: dict[str, list[tuple[Mapping, bool]]] = {}
        #: Where each word stands, for complaints about it.
        self.places: dict[str, str] = {}
        for index, words in enumerate(options):
            for word in _words(words):
                self.places[word] = f"{origin}/{index}"
                self._sort(word)

    def _sort(self, word: str) -> None:
        if word in _ATTRIBUTES:
            self.attributes = _add(self.attributes, _ATTRIBUTES[word])
        elif word in _RECURSIVE_ATTRIBUTES:
            self.recursive_attributes = _add(self.recursive_attributes, _RECURSIVE_ATTRIBUTES[word])
        elif word in PROPAGATION:
            self.propagation = PROPAGATION[word]
        elif word in _MANNERS:
            setattr(self, _MANNERS[word], True)
        elif word.startswith(("idmap=", "ridmap=")):
            self.idmap = True
            self.mappings = _mappings(word, self.places[word])
        elif word in _OPPOSITES:
            self.parameters = [entry for entry in self.parameters if entry[0] != _OPPOSITES[word]]
        elif word not in _DEFAULTS:
            name, equals, value = word.partition("=")
            self.parameters.append((name, value if equals else None, self.places[word]))

    @property
    def recursive(self) -> bool:
        """True where a bind takes the mounts below its source along."""
        return "rbind" in self.places

    @property
    def recursive_idmap(self) -> bool:
        """True where the ids of the mounts below are mapped too."""
        return any(word.startswith("ridmap") for word in self.places)

    def all_attributes(self) -> tuple[int, int]:
        """Return (set, clear) for a new mount, which has nothing below it."""
        return _add(self.recursive_attributes, self.attributes)

    def unnamed(self) -> int:
        """Return what a bind does not take over of its source's attributes: where one is named, all others.

        Times stay as they are unless one of their words is there, as with mount(2).
        """
        if self.attributes == (0, 0):
            return 0
        named = self.attributes[0] | self.attributes[1]
        for_all = self.recursive_attributes[0] | self.recursive_attributes[1]
        unnamed = _SWITCHES | (_TIMES if named & _TIMES else 0)
        if (named | for_all) & _ATIME:
            unnamed &= ~_ATIME
        return unnamed & ~(named | for_all)

    def place(self, *words: str) -> str:
        """Return the JSON pointer of the first of these words that is there; "" where none is."""
        return next((self.places[word] for word in words if word in self.places), "")

    def has_parameter(self, name: str) -> bool:
        """Tell whether the file system is given a value for ``name``."""
        return any(parameter[0] == name for parameter in self.parameters)


def _add(bits: tuple[int, int], more: tuple[int, int]) -> tuple[int, int]:
    """Let later words win over earlier ones."""
    (old_set, old_clear), (new_set, new_clear) = bits, more
    # What is cleared in order to be set (atime) has to stay in both.
    return old_set & ~new_clear | new_set, old_clear & ~(new_set & ~new_clear) | new_clear


def _mappings(word: str, origin: str) -> dict[str, list[tuple[Mapping, bool]]]:
    """Parse "idmap=uids=0-1000-1#@5-5-10;gids=...": triples, "@" where relative to the container's ids."""
    mappings: dict[str, list[tuple[Mapping, bool]]] = {}
    for part in word.partition("=")[2].split(";"):
        kind, _, text = part.partition("=")
        try:
            if kind not in ("uids", "gids"):
                raise ValueError(kind)
            triples = []
            for triple in text.split("#"):
                first, second, size = (int(number) for number in triple.removeprefix("@").split("-"))
                triples.append(((first, second, size), triple.startswith("@")))
        except ValueError:
            why = 'expected the form "idmap=uids=0-1000-10#20-2000-5;gids=0-1000-10"'
            raise NajaError(f"mount option {word!r} cannot be read", why=why, origin=origin) from None
        mappings[kind] = triples
    return mappings
