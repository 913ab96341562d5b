"""What an import changed: told by name, whoever did it, and nothing told of what torch does to itself."""

from __future__ import annotations

import functools
import logging
import os
import random
import signal
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy
import pytest
import torch
from cdkit.registry.sideeffects import MOST, Snapshot, effects, snapshot

RELU = torch.nn.functional.relu
HERE = __file__


def mine() -> None: ...


@functools.wraps(RELU)
def disguised() -> None: ...


class Mine:
    @property
    def shown(self) -> int:
        return 1

    @classmethod
    def made(cls) -> None: ...

    @staticmethod
    def still() -> None: ...


def attributes(**found: Any) -> Snapshot:
    """Of torch, by name."""
    return Snapshot({("torch", name): value for name, value in found.items()}, {}, {})


def settings(**found: Any) -> Snapshot:
    return Snapshot({}, found, {})


def environment(**found: str) -> Snapshot:
    return Snapshot({}, {}, found)


@pytest.mark.parametrize(
    ("new", "by"),
    [
        (mine, f"mine of {HERE}"),
        (disguised, f"relu of {HERE}"),  # the name is a lie, the file is none
        (lambda: None, f"<lambda> of {HERE}"),
        (Mine, f"Mine of {HERE}"),
        (vars(Mine)["shown"], f"Mine.shown of {HERE}"),
        (vars(Mine)["made"], f"Mine.made of {HERE}"),
        (vars(Mine)["still"], f"Mine.still of {HERE}"),
        (OrderedDict, f"OrderedDict of {sys.modules['collections'].__file__}"),
        (len, "len of builtins"),
        (functools.partial(mine), "partial of functools"),
    ],
)
def test_what_comes_from_elsewhere_is_told_with_its_place(new: object, by: str) -> None:
    assert effects(attributes(x=RELU), attributes(x=new)) == [f"torch.x was replaced by {by}"]
    assert effects(attributes(other=RELU), attributes(other=RELU, x=new)) == [f"torch.x was added: {by}"]


@pytest.mark.parametrize("own", [torch.nn.functional.gelu, torch.nn.Linear, vars(torch.nn.Module)["forward"]])
def test_what_torch_does_to_itself_is_not_told(own: object) -> None:
    assert effects(attributes(x=RELU), attributes(x=own, y=own)) == []


def test_what_is_gone_is_told_whoever_took_it() -> None:
    assert effects(attributes(x=RELU, y=RELU), attributes(y=RELU)) == ["torch.x was taken away"]


def test_a_module_that_was_not_there_before_is_its_own_affair() -> None:
    before = attributes(x=RELU)
    after = Snapshot({**before.attributes, ("torch.late", "x"): mine}, {}, {})
    assert effects(before, after) == []


def test_builtins_have_no_file_and_are_told_by_module() -> None:
    before = Snapshot({("builtins", "sorted"): sorted}, {}, {})
    assert effects(before, Snapshot({("builtins", "sorted"): min}, {}, {})) == []
    assert effects(before, Snapshot({("builtins", "sorted"): mine}, {}, {})) == [
        f"builtins.sorted was replaced by mine of {HERE}"
    ]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (settings(one=1, two=2), settings(one=1, two=3), ["two changed"]),
        (environment(), environment(B="1", A="2"), ["the environment variable A was set", "the environment variable B was set"]),
        (environment(A="1", B="2"), environment(A="1"), ["the environment variable B was removed"]),
        (environment(A="1"), environment(A=""), ["the environment variable A was changed"]),
    ],
)
def test_settings_and_the_environment_are_compared(before: Snapshot, after: Snapshot, told: list[str]) -> None:
    assert effects(before, after) == told


@pytest.mark.parametrize(
    ("count", "more"), [(MOST, []), (MOST + 1, ["and 1 more of that sort"]), (90, ["and 70 more of that sort"])]
)
@pytest.mark.parametrize("of", [attributes, environment])
def test_many_of_a_sort_are_counted(count: int, more: list[str], of: Callable[..., Snapshot]) -> None:
    before: Mapping[str, Any] = {f"x{number:02d}": RELU if of is attributes else "y" for number in range(count)}
    found = effects(of(**before), of())
    verb = "torch.x{:02d} was taken away" if of is attributes else "the environment variable x{:02d} was removed"
    assert found == [verb.format(number) for number in range(MOST)] + more


def test_a_snapshot_holds_what_could_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions, classes and their methods of the modules watched; of what they borrow the name alone."""
    for name in ("cdkit.borrowed", "torch._C.borrowed", "borrowed"):
        module = ModuleType(name)
        own = type("Class", (Mine,), {**vars(Mine), "__module__": name, "size": 2, "method": mine})
        vars(module).update(function=mine, Class=own, Other=OrderedDict, constant=1, module=os)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("BORROWED", "1")
    taken = snapshot()
    found = {key for key in taken.attributes if "borrowed" in key[0]}
    assert found == {("cdkit.borrowed", name) for name in ("Other", "function", "Class")} | {
        ("cdkit.borrowed.Class", name) for name in ("method", "shown", "made", "still")
    }
    assert taken.attributes["builtins", "sorted"] is sorted
    assert taken.settings["the working directory"] == os.getcwd()
    assert taken.environment["BORROWED"] == "1"
    assert effects(taken, snapshot()) == []


CHANGES: dict[str, Callable[[], object]] = {
    "the random state of `random`": lambda: random.random(),
    "the random state of numpy": lambda: numpy.random.random(),
    "the random state of torch": lambda: torch.rand(1),
    "the root logger": lambda: logging.root.setLevel(logging.root.level + 1),
    "the handlers of signals": lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN),
    "torch's default device": lambda: torch.set_default_device("meta"),
    "torch's gradient mode": lambda: torch.set_grad_enabled(False),
    "torch's deterministic mode": lambda: torch.use_deterministic_algorithms(True),
    "torch's precision of matrix products": lambda: torch.set_float32_matmul_precision("medium"),
    "cuDNN's benchmark mode": lambda: setattr(torch.backends.cudnn, "benchmark", not torch.backends.cudnn.benchmark),
    "sys.excepthook": lambda: setattr(sys, "excepthook", mine),
    "the recursion limit": lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 1),
}


@pytest.fixture
def put_back() -> Any:
    """The settings of this process are what they were after the test."""
    before = (torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision())
    level, handler = logging.root.level, signal.getsignal(signal.SIGUSR2)
    others = (torch.backends.cudnn.benchmark, sys.excepthook, sys.getrecursionlimit())
    yield
    logging.root.setLevel(level)
    signal.signal(signal.SIGUSR2, handler)
    torch.set_default_device(None)
    torch.set_grad_enabled(before[0])
    torch.use_deterministic_algorithms(before[1])
    torch.set_float32_matmul_precision(before[2])
    torch.backends.cudnn.benchmark, sys.excepthook = others[:2]
    sys.setrecursionlimit(others[2])


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.usefixtures("put_back")
def test_each_setting_is_read(name: str) -> None:
    before = snapshot()
    CHANGES[name]()
    assert effects(before, snapshot()) == [f"{name} changed"]
