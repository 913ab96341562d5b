"""A change that is put into a function runs wherever the function is held; what ran at the import cannot be changed so."""

from __future__ import annotations

import sys
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from inplace import exchanged, functions

SOURCE = """
LIMIT = 2

class Box:
    size = 3

    def holds(self, number):
        return all(number <= most for most in (self.size, LIMIT))

def adder(one):
    def add(two):
        return one + two
    return add

held = adder(1)
"""


def code(source: str, file: Path) -> CodeType:
    return compile(source, str(file), "exec", dont_inherit=True)


def imported(file: Path) -> Any:
    module = ModuleType("imported")
    exec(code(SOURCE, file), vars(module))
    return module


@pytest.mark.parametrize(
    ("old", "new", "answer"),
    [
        ("one + two", "one - two", lambda module: module.adder(1)(2) == -1 and module.held(2) == -1),
        ("number <= most", "number < most", lambda module: not module.Box().holds(2)),
        ("all(", "any(", lambda module: module.Box().holds(3)),
    ],
)
def test_whoever_holds_the_function_runs_the_change(tmp_path: Path, old: str, new: str, answer: Any) -> None:
    file = tmp_path / "changed.py"
    module = imported(file)
    assert not answer(module)
    assert exchanged(code(SOURCE, file), code(SOURCE.replace(old, new), file), functions())
    assert answer(module)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 2", "LIMIT = 3"),
        ("size = 3", "size = 4"),
        ("adder(1)", "adder(2)"),
        ("return add", "return None"),
        ("one + two", "two"),
        ("one + two", "one + two"),
    ],
)
def test_what_ran_at_the_import_is_left_as_it_was(tmp_path: Path, old: str, new: str) -> None:
    file = tmp_path / "changed.py"
    module = imported(file)
    assert not exchanged(code(SOURCE, file), code(SOURCE.replace(old, new), file), functions())
    assert (module.LIMIT, module.Box.size, module.held(2)) == (2, 3, 3)
