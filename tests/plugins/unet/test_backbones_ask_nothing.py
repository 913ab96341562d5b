"""A backbone has no `if` about conditioning: it asks its slots and knows neither who answers nor who answers in its place."""

from __future__ import annotations

import ast
from pathlib import Path

import cdkit_dit
import cdkit_unet
import pytest

FILES = [path for package in (cdkit_unet, cdkit_dit) for path in sorted(Path(package.__path__[0]).glob("*.py"))]
METHODS = (
    "cross_attention",
    "film",
    "adaln_zero",
    "adaln_single",
    "adagn",
    "in_context",
    "added_kv",
    "text_query",
    "decoupled",
    "gated",
    "perceiver",
    "spade",
    "concat",
    "caption",
    "prompt",
    "label",
    "approximat",
    "detour",
    "phase",
)
BRANCHES = (ast.If, ast.IfExp, ast.Match, ast.BoolOp, ast.Try)


def functions(tree: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def branches(source: str) -> list[str]:
    """Functions that are handed signals or a slot's answer, and branch."""
    told = [f for f in functions(ast.parse(source)) if {"signals", "joined"} & {a.arg for a in f.args.args}]
    return [f.name for f in told if any(isinstance(node, BRANCHES) for node in ast.walk(f))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_no_if_where_signals_pass(path: Path) -> None:
    assert branches(path.read_text()) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_no_method_is_named_in_code(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }
    assert not {name for name in names for method in METHODS if method in name}


def test_the_walk_finds_what_it_looks_for() -> None:
    assert branches("def forward(self, h, emb, signals):\n    return h if signals is None else 2 * h") == ["forward"]
