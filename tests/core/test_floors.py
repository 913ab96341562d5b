"""The house stands: imports point down only, core imports no plugin, plugins import the interfaces and nothing else."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core" / "cdkit"
PLUGINS = ROOT / "plugins"
EXAMPLES = PLUGINS / "examples"  # distributions of their own, each with its src and tests
VERBS = {"cdkit_page"}  # a verb stands above the engine: it uses cdkit as any program does, by its front door
FLOORS = {
    "__main__": 7,
    "cli": 6,
    "compare": 5,
    "plan": 5,
    "engine": 4,
    "build": 3,
    "fast": 3,
    "model": 3,
    "registry": 2,
    "scaffold": 2,
    "spec": 2,
    "conditions": 1,
    "diffusion": 1,
    "testing": 3,
    "parts": 0,
    "hooks": 0,
    "errors": 0,
    "version": 0,
    "cache": 0,
    "adaptable": 0,
    "figures": 0,
    "foreign": 0,
    "judging": 0,
    "learning": 0,
    "pretrained": 0,
    "activated": 0,
    "added": 0,
    "kernels": 0,
}


def imported(path: Path, *, typing: bool = False) -> Iterator[str]:
    """Every module that a file imports, wherever in it; those for type checkers alone only if asked for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            hidden.update(child for statement in node.body for child in ast.walk(statement))
    for node in ast.walk(tree):
        if node in hidden and not typing:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def floor(module: str) -> int:
    """The floor of `cdkit.x.y`; the package itself stands above all."""
    parts = module.split(".")
    return FLOORS[parts[1]] if len(parts) > 1 else 7


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py"))


@pytest.mark.parametrize("path", files(CORE), ids=lambda path: str(path.relative_to(CORE)))
def test_imports_point_down(path: Path) -> None:
    here = "cdkit." + ".".join(path.relative_to(CORE).with_suffix("").parts)
    if here == "cdkit.__init__":
        return
    for module in imported(path):
        if module == "cdkit" or module.startswith("cdkit."):
            assert floor(module) <= floor(here), f"{here} (floor {floor(here)}) imports {module} (floor {floor(module)})"


@pytest.mark.parametrize("path", files(CORE), ids=lambda path: str(path.relative_to(CORE)))
def test_core_names_no_plugin(path: Path) -> None:
    assert not [module for module in imported(path, typing=True) if module.startswith("cdkit_")]


@pytest.mark.parametrize(
    "path",
    [path for path in files(PLUGINS) if path.parent != EXAMPLES],
    ids=lambda path: str(path.relative_to(PLUGINS)),
)
def test_plugins_import_the_interfaces_alone(path: Path) -> None:
    within = path.relative_to(EXAMPLES if EXAMPLES in path.parents else PLUGINS).parts
    own = within[0].replace("-", "_")
    allowed = {"cdkit.parts", "cdkit.hooks"} | ({"cdkit.testing"} if "tests" in within else set[str]())
    allowed |= {"cdkit"} if own in VERBS else set[str]()
    for module in imported(path, typing=True):
        top = module.split(".")[0]
        if top == "cdkit":
            assert module in allowed, f"{path.name} imports {module}"
        elif top.startswith("cdkit_"):
            assert top == own, f"{path.name} imports {module} of another plugin"


def test_the_folders_are_no_packages() -> None:
    assert not (ROOT / "core" / "__init__.py").exists()
    assert not (PLUGINS / "__init__.py").exists()
    assert importlib.util.find_spec("core") is None, "run plain `pytest`: a second copy of cdkit is importable"
