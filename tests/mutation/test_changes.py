"""Mutation testing is itself tested: which changes are made of which code, one at a time, and what its explanations are about."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
from changes import changes, tree_of  # noqa: E402  they lie beside this file, which is no package


def made(source: str) -> list[str]:
    """Every changed source, on one line each."""
    found: list[str] = []
    for number in range(len(changes(tree_of(source, "x.py")))):
        tree = tree_of(source, "x.py")
        changes(tree)[number].make()
        compile(ast.fix_missing_locations(tree), "x.py", "exec")
        found.append("; ".join(line.strip() for line in ast.unparse(tree).splitlines()))
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["a <= b"]),
        ("a == b is c", ["a != b is c", "a == b is not c"]),
        ("a + b // c", ["a - b // c", "a + b * c"]),
        ("a and b", ["a or b"]),
        ("x = not a", ["x = bool(a)"]),
        ("x = -a", ["x = +a"]),
        ("x = True", ["x = False"]),
        ("x = 2", ["x = 3"]),
        ("x += y", ["x -= y"]),
        ("if a: b", ["if not a:; b"]),
        ("[a for a in b if a]", ["[a for a in b if not a]"]),
        ("f(a)", ["pass"]),
        ("raise E", ["pass"]),
        ("while a:\n break", ["while not a:; break", "while a:; continue"]),
        ("def f():\n return a", ["def f():; return None"]),
        ("for a in b:\n pass", ["for a in ():; pass"]),
        ("try:\n pass\nexcept E:\n pass", ["try:; pass; except ZeroDivisionError:; pass"]),
        ("x: int = a", []),
        ('"""Text."""\nx = "text"', []),
        ("if TYPE_CHECKING:\n f(1)", []),
        ("def f(a: 'x < 1' = b) -> 2: ...", []),
    ],
)
def test_changes_of_code(source: str, expected: list[str]) -> None:
    assert made(source) == expected


def test_each_is_one_change_alone() -> None:
    source = (ROOT / "core/cdkit/diffusion/schedule.py").read_text()
    plain = ast.unparse(tree_of(source, "x.py")).splitlines()
    for number in range(len(changes(tree_of(source, "x.py")))):
        tree = tree_of(source, "x.py")
        changes(tree)[number].make()
        other = ast.unparse(ast.fix_missing_locations(tree)).splitlines()
        assert sum(a != b for a, b in zip(plain, other, strict=True)) == 1


def test_every_explanation_is_of_a_line_that_there_is() -> None:
    path = HERE / "survivors.json"
    explained: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for key, why in explained.items():
        module, code, _ = key.split(": ", 2)[0], key, why
        lines = {line.strip() for line in (ROOT / module).read_text(encoding="utf-8").splitlines()}
        assert any(f"{module}: {line}: " in code for line in lines if line), f"{key}: no such line"
        assert len(why) > 10
