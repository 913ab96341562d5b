"""`here:NAME` is NAME beside the file that says so; written out it is a path, and back."""
# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cdkit.spec.here import anchored, located, unanchored
from cdkit.spec.place import Place

FOLDER = Path("/specs")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("here:data", "/specs/data"),
        ("here:data/a.csv", "/specs/data/a.csv"),
        ("here:", "/specs"),
        ("data", "data"),
        ("there:data", "there:data"),
        ("/here:data", "/here:data"),
        (5, 5),
        (None, None),
        (("here:data",), ("here:data",)),
    ],
)
def test_an_option_means_what_lies_beside_its_spec(value: Any, path: Any) -> None:
    assert located(value, Place("/specs/s.yaml", 3, 4)) == path


WRITTEN = {
    "use": "folder",
    "root": "here:data",
    "lists": ["here:a", ["here:b", 3]],
    "inner": {"deep": {"file": "here:c/d"}},
    "n": None,
}
MEANT = {"use": "folder", "root": "/specs/data", "lists": ["/specs/a", ["/specs/b", 3]], "inner": {"deep": {"file": "/specs/c/d"}}, "n": None}  # fmt: skip


def test_plain_values_are_written_out_and_back() -> None:
    assert anchored(WRITTEN, FOLDER) == MEANT
    assert unanchored(MEANT, FOLDER) == WRITTEN


@pytest.mark.parametrize("value", ["here", "other:x", 1.5, True, "/specs", "/specs2/data", "data", "specs/data"])
def test_what_is_no_path_of_this_folder_stays(value: Any) -> None:
    assert anchored(value, FOLDER) == value
    assert unanchored(value, FOLDER) == value


def test_tuples_become_lists_as_in_a_file() -> None:
    assert anchored(("here:a", 1), FOLDER) == ["/specs/a", 1]
    assert unanchored(("/specs/a", 1), FOLDER) == ["here:a", 1]
