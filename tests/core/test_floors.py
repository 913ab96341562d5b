"""The house stands: imports point down and never go round, core imports no plugin, plugins import the interfaces alone."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from graphlib import TopologicalSorter
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
    "approximating": 0,
    "figures": 0,
    "foreign": 0,
    "judging": 0,
    "learning": 0,
    "pretrained": 0,
    "activated": 0,
    "added": 0,
    "biasless": 0,
    "geglu": 0,
    "heard": 0,
    "residual": 0,
    "site": 0,
    "kernels": 0,
}


def statements(path: Path, *, typing: bool, inside: bool = True) -> Iterator[ast.Import | ast.ImportFrom]:
    """A file's imports; those for type checkers alone, and those inside of functions, only if asked for."""

    def below(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                yield child
            elif isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
                yield from below(child) if typing else ()
            elif inside or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from below(child)

    return below(ast.parse(path.read_text(encoding="utf-8")))


def imported(path: Path, *, typing: bool = False) -> Iterator[str]:
    """Every module that a file imports, wherever in it; those for type checkers alone only if asked for."""
    for node in statements(path, typing=typing):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif node.module and not node.level:
            yield node.module


def floor(module: str) -> int:
    """The floor of `cdkit.x.y`; the package itself stands above all."""
    parts = module.split(".")
    return FLOORS[parts[1]] if len(parts) > 1 else 7


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py"))


def name_of(path: Path) -> str:
    """core/cdkit/spec/__init__.py -> cdkit.spec."""
    return ".".join(("cdkit", *path.relative_to(CORE).with_suffix("").parts)).removesuffix(".__init__")


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


MODULES = {name_of(path): path for path in files(CORE)}


def met(module: str, *, typing: bool, inside: bool) -> set[str]:
    """Core's modules that a module imports: `from cdkit.kernels import norm` is one of norm, where norm is a file."""
    found: set[str] = set()
    for node in statements(MODULES[module], typing=typing, inside=inside):
        home = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            found.add(f"{home}{alias.name}" if f"{home}{alias.name}" in MODULES else home.rstrip("."))
    return found & MODULES.keys() - {module}


def test_no_import_goes_round_when_cdkit_is_loaded() -> None:
    TopologicalSorter({module: met(module, typing=False, inside=False) for module in MODULES}).prepare()


MEANT = {"cdkit.spec.model": {"cdkit.spec.fill", "cdkit.spec.html"}}  # a Spec writes itself out, and shows itself in a notebook


@pytest.mark.parametrize("package", sorted({module.split(".")[1] for module in MODULES if module.count(".") > 1}))
def test_no_import_goes_round_within_a_package(package: str) -> None:
    """Those of functions and for type checkers count too: what two files share stands in a third, below both."""
    own = {module for module in MODULES if f"{module}.".startswith(f"cdkit.{package}.")}
    graph = {module: met(module, typing=True, inside=True) & own - MEANT.get(module, set()) for module in own}
    TopologicalSorter(graph).prepare()


def test_circles_that_are_meant_are_there() -> None:
    for module, others in MEANT.items():
        assert others <= met(module, typing=True, inside=True)


def test_the_folders_are_no_packages() -> None:
    assert not (ROOT / "core" / "__init__.py").exists()
    assert not (PLUGINS / "__init__.py").exists()
    assert importlib.util.find_spec("core") is None, "run plain `pytest`: a second copy of cdkit is importable"
