"""indexed: whether the tests exist that an index names, as `file::test` or `file::test[case]`."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import cache
from pathlib import Path


@cache
def parsed(file: Path) -> tuple[frozenset[str], frozenset[object]]:
    """The functions of a module, and every constant in it: ids of cases are among them."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return frozenset(names), frozenset(node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))


def check_named(number: int, tests: Sequence[str], root: Path, begins: tuple[str, ...] = ("test_",)) -> None:
    """Each is a function in a file below the root, whose name begins so."""
    for test in tests:
        file, _, rest = test.partition("::")
        name, _, case = rest.partition("[")
        functions, constants = parsed(root / file)
        assert name.startswith(begins), f"{number}: {file}::{name} is no test"
        assert name in functions, f"{number}: {file} has no test {name}"
        assert not case or case.removesuffix("]") in constants, f"{number}: {name} has no case {case.removesuffix(']')!r}"
