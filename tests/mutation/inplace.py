"""Changes put into functions that are imported already: no process has to import cdkit and find the tests for each of them.

What a function is made of (`__code__`) is exchanged where it stands, so that whoever holds the function runs the change. What
stands in no function, a constant of a module or the body of a class, cannot be changed so late: `exchanged` says so.
"""

from __future__ import annotations

import functools
import gc
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any

import pytest

Functions = Mapping[tuple[str, str], Sequence[FunctionType]]  # by file and qualified name
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
    found: dict[tuple[str, str], list[FunctionType]] = {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType:
            found.setdefault((thing.__code__.co_filename, thing.__code__.co_qualname), []).append(thing)
    return found


def memories() -> list[Any]:
    """Every function of cdkit that remembers what it answered."""
    return [one for one in gc.get_objects() if type(one) is REMEMBERING and str(one.__module__).startswith("cdkit")]


def exchanged(plain: CodeType, other: CodeType, known: Functions) -> bool:
    """Make what runs of `plain`, a module, run as in `other`. False, with nothing done, where that is too late."""
    new = changed(plain, other)
    if not new or any((code.co_filename, code.co_qualname) not in known for code in new):
        return False
    pairs = [(function, code) for code in new for function in known[code.co_filename, code.co_qualname]]
    if any(function.__code__.co_freevars != code.co_freevars for function, code in pairs):
        return False
    for function, code in pairs:
        function.__code__ = code
    return True


def changed(plain: CodeType, other: CodeType) -> list[CodeType] | None:
    """The functions that differ, outermost; None if what runs at import does."""
    if not alike(plain, other):
        return None
    found: list[CodeType] = []
    for one, two in zip(nested(plain), nested(other), strict=True):
        if one.co_flags & OF_A_FUNCTION == OF_A_FUNCTION:
            found += [two] if one != two else []
        elif (inner := changed(one, two)) is None:
            return None
        else:
            found += inner
    return found


def alike(plain: CodeType, other: CodeType) -> bool:
    """The same but for what is nested."""

    def own(code: CodeType) -> tuple[object, ...]:
        constants = tuple((type(one), repr(one)) for one in code.co_consts if not isinstance(one, CodeType))
        return code.co_code, code.co_names, code.co_varnames, constants

    return own(plain) == own(other)


def nested(code: CodeType) -> Iterator[CodeType]:
    return (one for one in code.co_consts if isinstance(one, CodeType))
