"""Small changes to a module, one at a time: what a slip of the pen would leave, and a test has to notice.

The changes are those of cosmic-ray's core operators (comparisons, arithmetic, and/or, not, numbers, truth values, break and
continue, exceptions that are caught, loops that do not begin) and two more: a call or a raise that is left out, a result that is
None. Texts are not changed: what messages say is matched by tests where it matters.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
COUNTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}  # fmt: skip
UNREAD = ("annotation", "returns", "decorator_list", "bases", "type_params")  # fields that say something to readers alone


class Change(NamedTuple):
    """What is changed, and where."""

    line: int
    what: str
    make: Callable[[], object]  # changes the tree that it was found in


def tree_of(source: str, file: str) -> ast.Module:
    return ast.parse(source, file)


def changes(tree: ast.Module) -> list[Change]:
    """Every change that can be made to a module, in the order of its nodes. Make one only, and of a tree read anew the next."""
    return [change for node in _read(tree) for change in _of(node)]


def _read(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes whose values matter when the module runs: no annotations, no docstrings, nothing for type checkers alone."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name in UNREAD:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _read(child)


def _of(node: ast.AST) -> Iterator[Change]:
    for kind, found in FINDERS.items():
        if isinstance(node, kind):
            yield from found(node)


def _setting(node: Any, name: str, value: object) -> Callable[[], object]:
    return lambda: setattr(node, name, value)


def _compare(node: ast.Compare) -> Iterator[Change]:
    for place, sign in enumerate(node.ops):
        other = COMPARED[type(sign)]
        signs = [*node.ops[:place], other(), *node.ops[place + 1 :]]
        yield Change(node.lineno, f"{type(sign).__name__} -> {other.__name__}", _setting(node, "ops", signs))


def _binary(node: ast.BinOp | ast.AugAssign) -> Iterator[Change]:
    if (other := COUNTED.get(type(node.op))) is not None:
        yield Change(node.lineno, f"{type(node.op).__name__} -> {other.__name__}", _setting(node, "op", other()))


def _boolean(node: ast.BoolOp) -> Iterator[Change]:
    other = ast.Or if isinstance(node.op, ast.And) else ast.And
    yield Change(node.lineno, f"{type(node.op).__name__} -> {other.__name__}", _setting(node, "op", other()))


def _unary(node: ast.UnaryOp) -> Iterator[Change]:
    yield Change(node.lineno, f"without {type(node.op).__name__}", _setting(node, "op", ast.UAdd()) if isinstance(
        node.op, ast.USub
    ) else _becoming(node, ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])))  # fmt: skip


def _becoming(node: ast.AST, other: ast.expr) -> Callable[[], object]:
    """The node is another kind of node from now on, where it stands."""

    def become() -> None:
        ast.fix_missing_locations(ast.copy_location(other, node))
        fields = dict(ast.iter_fields(other))
        node.__class__ = other.__class__
        node.__dict__.update(fields)

    return become


def _condition(node: ast.If | ast.While | ast.IfExp) -> Iterator[Change]:
    if not isinstance(node.test, (ast.UnaryOp, ast.Compare)):  # those have changes of their own that do the same
        yield Change(node.test.lineno, "condition negated", _setting(node, "test", ast.UnaryOp(ast.Not(), node.test)))


def _filters(node: ast.comprehension) -> Iterator[Change]:
    for place, test in enumerate(node.ifs):
        if not isinstance(test, (ast.UnaryOp, ast.Compare)):
            tests = [*node.ifs[:place], ast.UnaryOp(ast.Not(), test), *node.ifs[place + 1 :]]
            yield Change(test.lineno, "filter negated", _setting(node, "ifs", tests))


def _constant(node: ast.Constant) -> Iterator[Change]:
    if isinstance(node.value, bool):
        yield Change(node.lineno, f"{node.value} -> {not node.value}", _setting(node, "value", not node.value))
    elif isinstance(node.value, (int, float)):
        yield Change(node.lineno, f"{node.value} -> {node.value + 1}", _setting(node, "value", node.value + 1))


def _returned(node: ast.Return) -> Iterator[Change]:
    if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
        yield Change(node.lineno, "returns None", _setting(node, "value", ast.Constant(None)))


def _left_out(node: ast.Expr | ast.Raise) -> Iterator[Change]:
    if isinstance(node, ast.Raise) or isinstance(node.value, ast.Call):
        yield Change(node.lineno, f"without {ast.unparse(node)[:60]!r}", _passed(node))


def _passed(node: ast.stmt) -> Callable[[], object]:
    def become() -> None:
        node.__class__ = ast.Pass  # pyright: ignore[reportAttributeAccessIssue]

    return become


def _leap(node: ast.Break | ast.Continue) -> Iterator[Change]:
    other = ast.Continue if isinstance(node, ast.Break) else ast.Break

    def become() -> None:
        node.__class__ = other  # pyright: ignore[reportAttributeAccessIssue]

    yield Change(node.lineno, f"{type(node).__name__} -> {other.__name__}", become)


def _caught(node: ast.ExceptHandler) -> Iterator[Change]:
    if node.type is not None:
        nothing = ast.Name("ZeroDivisionError", ast.Load())
        yield Change(node.lineno, f"{ast.unparse(node.type)} not caught", _setting(node, "type", nothing))


def _loop(node: ast.For) -> Iterator[Change]:
    yield Change(node.lineno, "loop does not begin", _setting(node, "iter", ast.Tuple([], ast.Load())))


FINDERS: dict[Any, Callable[[Any], Iterator[Change]]] = {
    ast.Compare: _compare,
    (ast.BinOp, ast.AugAssign): _binary,
    ast.BoolOp: _boolean,
    ast.UnaryOp: _unary,
    (ast.If, ast.While, ast.IfExp): _condition,
    ast.comprehension: _filters,
    ast.Constant: _constant,
    ast.Return: _returned,
    (ast.Expr, ast.Raise): _left_out,
    (ast.Break, ast.Continue): _leap,
    ast.ExceptHandler: _caught,
    ast.For: _loop,
}
