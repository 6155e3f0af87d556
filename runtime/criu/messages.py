"""The messages of CRIU's RPC, as far as they are used here (images/rpc.proto of CRIU).

On the wire a protocol buffer is a row of fields, each a key (number of the field and kind of its
value) and a value: kind 0 is an integer in groups of seven bits, kind 2 is bytes after their length.
"""

from __future__ import annotations

import os

from ..errors import NajaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# enum criu_req_type
DUMP, RESTORE, PRE_DUMP, NOTIFY, FEATURE_CHECK, VERSION = 1, 2, 4, 6, 9, 10

#: enum criu_cg_mode, by the words of --manage-cgroups-mode.
CGROUP_MODES = {"ignore": 0, "soft": 3, "full": 4, "strict": 5}

REQUEST = {"type": 1, "opts": 2, "notify_success": 3, "features": 5}
RESPONSE = {"type": 1, "success": 2, "notify": 5, "cr_errno": 7, "features": 8, "version": 10}
NOTIFICATION = {"script": 1, "pid": 2}
FEATURES = {"mem_track": 1, "lazy_pages": 2}
VERSION_ANSWER = {"major_number": 1, "minor_number": 2, "sublevel": 4}

#: criu_opts: what may be asked of a dump or a restore.
OPTIONS = {
    "images_dir_fd": 1,
    "pid": 2,
    "leave_running": 3,
    "ext_unix_sk": 4,
    "tcp_established": 5,
    "shell_job": 7,
    "file_locks": 8,
    "log_level": 9,
    "log_file": 10,
    "ps": 11,
    "notify_scripts": 12,
    "root": 13,
    "parent_img": 14,
    "track_mem": 15,
    "auto_dedup": 16,
    "work_dir_fd": 17,
    "link_remap": 18,
    "manage_cgroups": 24,
    "cg_root": 25,
    "rst_sibling": 26,
    "inherit_fd": 27,
    "manage_cgroups_mode": 34,
    "external": 37,
    "empty_ns": 38,
    "join_ns": 39,
    "freeze_cgroup": 44,
    "tcp_skip_in_flight": 46,
    "lazy_pages": 48,
    "orphan_pts_master": 50,
    "config_file": 51,
    "tcp_close": 52,
    "lsm_profile": 53,
    "lsm_mount_context": 63,
    "mntns_compat_mode": 65,
}
PAGE_SERVER = {"address": 1, "port": 2}
CGROUP_ROOT = {"ctrl": 1, "path": 2}
INHERITED = {"key": 1, "fd": 2}
JOINED = {"ns": 1, "ns_file": 2}

_INTEGER, _BYTES = 0, 2


def encode(numbers: Mapping[str, int], values: Mapping[str, Any]) -> bytes:
    """Return a message: ``values`` by name, ``numbers`` the table of its kind.

    A value is an integer, a bool, text, an encoded message, or a list of these (a repeated field).
    """
    message = bytearray()
    for name, value in values.items():
        for single in value if isinstance(value, list) else [value]:
            if isinstance(single, int):
                # A negative number is that of 64 bits with the same meaning.
                message += _varint(numbers[name] << 3 | _INTEGER) + _varint(single % 2**64)
            else:
                content = os.fsencode(single)
                message += _varint(numbers[name] << 3 | _BYTES) + _varint(len(content)) + content
    return bytes(message)


def _varint(number: int) -> bytes:
    """Write seven bits a byte, the lowest first; the top bit says that there are more."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def decode(numbers: Mapping[str, int], message: bytes) -> dict[str, Any]:
    """Return the values of a message by name, integers or bytes; fields not in the table are left out.

    Raises NajaError for what is no message.
    """
    names = {number: name for name, number in numbers.items()}
    values: dict[str, Any] = {}
    place = 0
    try:
        while place < len(message):
            key, place = _read_varint(message, place)
            value: int | bytes
            value, place = _read_varint(message, place)
            if key & 7 == _BYTES:
                end = place + value
                value, place = message[place:end], end
            elif key & 7 != _INTEGER:
                raise NajaError("CRIU's answer makes no sense", why=f"a field of kind {key & 7}")
            if key >> 3 in names:
                values[names[key >> 3]] = value
    except IndexError:
        raise NajaError("CRIU's answer makes no sense", why="it is cut off") from None
    return values


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    """Return the number at ``place`` and the place after it. Raises IndexError at the end."""
    number = shift = 0
    while True:
        group = message[place]
        number |= (group & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if group <= 0x7F:
            return number, place
