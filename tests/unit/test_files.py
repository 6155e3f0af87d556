"""Lookups below an untrusted root, on real directories of the test's own."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from naja.linux import files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "root").mkdir()
    descriptor = os.open(tmp_path / "root", os.O_PATH)
    yield descriptor
    os.close(descriptor)


def where(descriptor: int) -> str:
    """Return the path of what is open, and close it."""
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    os.close(descriptor)
    return path


def test_open_in_root_takes_the_root_for_the_root(root: int, tmp_path: Path) -> None:
    (tmp_path / "root" / "etc").mkdir()
    (tmp_path / "root" / "link").symlink_to("../../etc")
    assert where(files.open_in_root(root, "/link/..//../etc", os.O_PATH)) == str(tmp_path / "root/etc")
    with pytest.raises(OSError) as caught:
        files.open_in_root(root, "/link", os.O_PATH, symlinks=False)
    assert caught.value.errno == errno.ELOOP


def test_open_beneath_never_leaves(root: int, tmp_path: Path) -> None:
    (tmp_path / "root" / "inside").mkdir()
    (tmp_path / "root" / "out").symlink_to("..")
    (tmp_path / "root" / "in").symlink_to("inside")
    assert where(files.open_beneath(root, "in", os.O_PATH)) == str(tmp_path / "root/inside")
    for path in ("..", "/etc", "out", "inside/../.."):
        with pytest.raises(OSError) as caught:
            files.open_beneath(root, path, os.O_PATH)
        assert caught.value.errno == errno.EXDEV


def test_magic_links_are_not_followed() -> None:
    proc = os.open("/proc", os.O_PATH)
    for opener in (files.open_in_root, files.open_beneath):
        with pytest.raises(OSError) as caught:
            opener(proc, "self/root", os.O_PATH)
        assert caught.value.errno == errno.ELOOP
    os.close(proc)


@pytest.mark.parametrize(
    ("link", "target", "asked", "made"),
    [
        ("", "", "/a/b/c", "a/b/c"),
        ("run", "var/run", "/run/x", "var/run/x"),
        ("run", "/var/run", "/run/x", "var/run/x"),
        ("run", "../../var", "/run/x", "var/x"),
    ],
)
def test_directories_are_made_where_links_point(
    root: int, tmp_path: Path, link: str, target: str, asked: str, made: str
) -> None:
    if link:
        (tmp_path / "root" / link).symlink_to(target)
    assert where(files.mkdir_in_root(root, asked)) == str(tmp_path / "root" / made)
    assert os.listdir(tmp_path) == ["root"]


def test_links_that_lead_in_a_circle(root: int, tmp_path: Path) -> None:
    (tmp_path / "root" / "a").symlink_to("b")
    (tmp_path / "root" / "b").symlink_to("a")
    for make in (files.mkdir_in_root, files.create_file_in_root):
        with pytest.raises(OSError) as caught:
            make(root, "/a")
        assert caught.value.errno == errno.ELOOP


def test_a_file_in_the_way(root: int, tmp_path: Path) -> None:
    (tmp_path / "root" / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        files.mkdir_in_root(root, "/file/directory")


def test_files_are_made_with_their_directories(root: int, tmp_path: Path) -> None:
    (tmp_path / "root" / "link").symlink_to("/else/where")
    for asked, made in (("/a/b", "a/b"), ("/link", "else/where")):
        assert where(files.create_file_in_root(root, asked)) == str(tmp_path / "root" / made)
        assert stat.S_ISREG((tmp_path / "root" / made).stat().st_mode)


def test_what_exists_is_opened_as_it_is(root: int, tmp_path: Path) -> None:
    (tmp_path / "root" / "file").write_text("kept")
    assert where(files.create_file_in_root(root, "/file")) == str(tmp_path / "root/file")
    assert (tmp_path / "root" / "file").read_text() == "kept"


def test_a_nul_byte_does_not_shorten_a_path(root: int) -> None:
    with pytest.raises(OSError) as caught:
        files.open_in_root(root, "/\0/etc", os.O_PATH)
    assert caught.value.errno == errno.EINVAL


def test_names_need_not_be_utf_8(root: int, tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe")
    os.close(files.mkdir_in_root(root, f"/{name}/{name}"))
    assert os.listdir(os.fsencode(tmp_path / "root")) == [b"\xff\xfe"]


def test_descriptors_are_closed_by_exec(root: int) -> None:
    for descriptor in (files.open_in_root(root, "/", os.O_PATH), files.mkdir_in_root(root, "/d")):
        assert not os.get_inheritable(descriptor)
        os.close(descriptor)


names = st.sampled_from(["a", "b", "c"])
targets = st.lists(st.sampled_from(["a", "b", "c", "..", "", "/"]), max_size=4).map("/".join)


@settings(max_examples=200, deadline=None)
@example({"a": "b/.."}, ["a"], True)
@given(st.dictionaries(names, targets.filter(bool)), st.lists(names, min_size=1, max_size=4), st.booleans())
def test_whatever_links_there_are_nothing_is_made_outside(
    links: dict[str, str], path: list[str], file: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.mkdir(f"{directory}/root")
        os.mkdir(f"{directory}/root/c")
        for name, target in links.items():
            os.symlink(target, f"{directory}/root/{name if name != 'c' else 'c/c'}")
        root = os.open(f"{directory}/root", os.O_PATH)
        try:
            make = files.create_file_in_root if file else files.mkdir_in_root
            found = where(make(root, "/" + "/".join(path)))
        except OSError as error:
            assert error.errno in (errno.ELOOP, errno.EXDEV, errno.ENOTDIR, errno.EEXIST, errno.EISDIR), error
        else:
            assert found == f"{directory}/root" or found.startswith(f"{directory}/root/")
        finally:
            os.close(root)
        assert os.listdir(directory) == ["root"]
