"""docs/properties.md, musts.md and security.md: no cell is empty, and what they name is there."""

from __future__ import annotations

import os
import re

import pytest

from tests.support.command import REPOSITORY

#: On a kernel without resctrl there is nothing to prove these on but a tree of files.
WITHOUT_KERNEL = "/linux/intelRdt/"
#: Directories whose tests talk to a kernel.
KERNEL = ("integration", "vm")


def rows(page: str) -> list[list[str]]:
    """Return the cells of all rows of a page's tables, without the headings."""
    with open(os.path.join(REPOSITORY, "docs", page), encoding="utf-8") as file:
        lines = [line.strip("|\n ").split(" | ") for line in file if line.startswith("| ")]
    return [
        [cell.strip() for cell in line]
        for line in lines
        if not line[0].startswith(("property", "place", "attack"))
    ]


def find_tests() -> dict[str, str]:
    """Return the directory of every test, by its module and function."""
    found = {}
    for directory in ("unit", "integration", "vm", "engines", "faults"):
        place = os.path.join(REPOSITORY, "tests", directory)
        for name in os.listdir(place) if os.path.isdir(place) else ():
            if name.startswith("test_") and name.endswith(".py"):
                with open(os.path.join(place, name), encoding="utf-8") as file:
                    for test in re.findall(r"^def (test_\w+)", file.read(), re.MULTILINE):
                        found[f"{name.removesuffix('.py')}::{test}"] = directory
    return found


TESTS = find_tests()
PROPERTIES, MUSTS, ATTACKS = rows("properties.md"), rows("musts.md"), rows("security.md")


@pytest.mark.parametrize(("page", "width"), [(PROPERTIES, 4), (MUSTS, 3), (ATTACKS, 3)])
def test_no_cell_is_empty(page: list[list[str]], width: int) -> None:
    for row in page:
        assert len(row) == width, row
        assert all(row), row


@pytest.mark.parametrize("page", [PROPERTIES, MUSTS, ATTACKS])
def test_the_tests_are_there(page: list[list[str]]) -> None:
    for row in page:
        for name in row[2].split(", "):
            assert name in TESTS, f"{row[0]}: no test {name}"


def test_a_real_kernel_proves_every_property_of_a_config() -> None:
    for property, _, tests, _ in PROPERTIES[: [row[0] for row in PROPERTIES].index("`/ociVersionMin`")]:
        if not property.startswith("`" + WITHOUT_KERNEL):
            assert any(TESTS[name] in KERNEL for name in tests.split(", ")), property


def test_the_operations_are_there() -> None:
    defined = set()
    place = os.path.join(REPOSITORY, "runtime/operations")
    for name in os.listdir(place):
        if name.endswith(".py"):
            with open(os.path.join(place, name), encoding="utf-8") as file:
                defined |= set(re.findall(r"^class (\w+)\(Operation\)", file.read(), re.MULTILINE))
    for row in PROPERTIES:
        for word in set(re.findall(r"\b[A-Z][a-z]+[A-Z]\w+\b", row[1])) - {"AppArmor"}:
            assert word in defined, f"{row[0]}: no operation {word}"


def test_the_modules_are_there() -> None:
    for row in PROPERTIES:
        for path in re.findall(r"`([a-z_0-9]+(?:/[a-z_0-9]+)*(?:\.py|/))`", row[1]):
            place = os.path.join(REPOSITORY, "runtime", path)
            assert os.path.exists(place) or os.path.exists(os.path.join(REPOSITORY, path)), (
                f"{row[0]}: no {path}"
            )
