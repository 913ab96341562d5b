"""Changes put into functions that are imported already: no process has to import cdkit and find the tests for each of them.

What a function is made of (`__code__`) is exchanged where it stands, so that whoever holds the function runs the change. What
stands in no function, a constant of a module or the body of a class, cannot be changed so late: `exchanged` says so.
"""

from __future__ import annotations

import functools
import gc
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any

import pytest

Functions = Mapping[tuple[str, CodeType], Sequence[FunctionType]]  # by file and by what they are made of
Pair = tuple[CodeType, CodeType]  # as it is, and as it is to be
REMEMBERING = type(functools.cache(len))
OF_A_FUNCTION = inspect.CO_OPTIMIZED | inspect.CO_NEWLOCALS  # flags that the bodies of modules and classes do not have


class Collected:
    """A plugin of pytest: the tests are imported and found, and then `work` runs instead of them."""

    def __init__(self, work: Callable[[Collected], None]) -> None:
        self.work = work
        self.session: Any = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool:
        self.session = session
        self.work(self)
        return True

    def run(self, names: Sequence[str], *, through: bool = False) -> int:
        """Some of the tests, in this order, until one fails: 1 then, else 0. through: whatever fails."""
        items = {item.nodeid: item for item in self.session.items}
        chosen = [items[name] for name in names]
        for item, following in zip(chosen, [*chosen[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.session.testsfailed and not through:
                return 1
        return 0


def functions() -> Functions:
    """Every function that there is now."""
    found: dict[tuple[str, CodeType], list[FunctionType]] = {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType:
            found.setdefault((thing.__code__.co_filename, thing.__code__), []).append(thing)
    return found


def memories() -> list[Any]:
    """Every function of cdkit that remembers what it answered."""
    return [one for one in gc.get_objects() if type(one) is REMEMBERING and str(one.__module__).startswith("cdkit")]


def exchanged(plain: CodeType, other: CodeType, known: Functions) -> bool:
    """Make what runs of `plain`, a module, run as in `other`. False, with nothing done, where that is too late."""
    pairs = changed(plain, other)
    if not pairs or any((one.co_filename, one) not in known for one, _ in pairs):
        return False
    if any(not alike(one, two) and any((made.co_filename, made) in known for made in nested(one)) for one, two in within(pairs)):
        return False  # functions that it made are held already
    held = [(function, two) for one, two in within(pairs) for function in known.get((one.co_filename, one), ())]
    if any(function.__code__.co_freevars != code.co_freevars for function, code in held):
        return False
    for function, code in held:
        function.__code__ = code
    return True


def changed(plain: CodeType, other: CodeType) -> list[Pair] | None:
    """The functions that differ, outermost; None if what runs at import does."""
    if not alike(plain, other):
        return None
    found: list[Pair] = []
    for one, two in zip(nested(plain), nested(other), strict=True):
        if one.co_flags & OF_A_FUNCTION == OF_A_FUNCTION:
            found += [(one, two)] if one != two else []
        elif (inner := changed(one, two)) is None:
            return None
        else:
            found += inner
    return found


def within(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """These, and the functions in them that differ: some were made already, and are held by somebody."""
    for one, two in pairs:
        yield one, two
        yield from within((a, b) for a, b in zip(nested(one), nested(two), strict=False) if a != b)


def alike(plain: CodeType, other: CodeType) -> bool:
    """The same but for what is nested."""

    def own(code: CodeType) -> tuple[object, ...]:
        constants = tuple((type(one), repr(one)) for one in code.co_consts if not isinstance(one, CodeType))
        return code.co_code, code.co_names, code.co_varnames, constants

    return own(plain) == own(other)


def nested(code: CodeType) -> Iterator[CodeType]:
    return (one for one in code.co_consts if isinstance(one, CodeType))
