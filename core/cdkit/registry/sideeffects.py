"""Side effects: what an import changed beyond its own module. Taken before and after, in a process that is thrown away."""

from __future__ import annotations

import inspect
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

WATCHED = ("builtins", "torch", "cdkit")  # nobody else's to change
MOST = 20  # of a kind are named, the rest are counted


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a process was like. The objects are held, so that no new one takes the place of an old one in memory."""

    attributes: Mapping[tuple[str, str], Any]  # of modules and classes: (`torch.nn.functional`, `linear`)
    settings: Mapping[str, Any]  # by what they are called in a sentence
    environment: Mapping[str, str]


def snapshot() -> Snapshot:
    """The process as it is now."""
    return Snapshot(dict(_attributes()), {name: read() for name, read in SETTINGS.items()}, dict(os.environ))


def effects(before: Snapshot, after: Snapshot) -> list[str]:
    """A sentence for each thing that changed. What torch does to itself when a part of it is first used is not counted."""
    return [
        *_some(sorted(_patched(before.attributes, after.attributes))),
        *(f"{name} changed" for name, value in before.settings.items() if after.settings[name] != value),
        *_some(sorted(_environment(before.environment, after.environment))),
    ]


def _attributes() -> Iterator[tuple[tuple[str, str], Any]]:
    """Every function and class of the modules watched, and every method of those classes."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] not in WATCHED or name.startswith("torch._C"):  # compiled, and made anew by torch itself
            continue
        for key, value in list(vars(module).items()):
            if issubclass(type(value), ModuleType) or not callable(value):  # isinstance would ask the object itself
                continue
            yield (name, key), value
            if issubclass(type(value), type) and value.__module__ == name:
                yield from (((f"{name}.{key}", one), made) for one, made in list(vars(value).items()) if _is_method(made))


def _is_method(value: Any) -> bool:
    return callable(value) or isinstance(value, (staticmethod, classmethod, property))


def _patched(before: Mapping[tuple[str, str], Any], after: Mapping[tuple[str, str], Any]) -> Iterator[str]:
    """What was replaced, taken away, or added to a module or class that was there before."""
    homes = {home for home, _ in before}
    for (home, name), old in before.items():
        new = after.get((home, name))
        if new is None:
            yield f"{home}.{name} was taken away"
        elif new is not old and _foreign(new, home):
            yield f"{home}.{name} was replaced by {_called(new)}"
    for (home, name), new in after.items():
        if home in homes and (home, name) not in before and _foreign(new, home):
            yield f"{home}.{name} was added: {_called(new)}"


def _foreign(value: Any, home: str) -> bool:
    """Does it come from elsewhere than the package that it now is in? functools.wraps lies about a name, but not about a file."""
    package = home.split(".")[0]
    root = getattr(sys.modules.get(package), "__file__", None)
    file = _file(value)
    if file and root:
        return Path(root).parent not in Path(file).parents
    return str(getattr(value, "__module__", None) or type(value).__module__).split(".")[0] != package


def _file(value: Any) -> str:
    """Where the code of a function or class is; "" where nobody knows."""
    inner = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
    if code := getattr(inner, "__code__", None):
        return str(code.co_filename)
    if inspect.isclass(inner):
        return str(getattr(sys.modules.get(inner.__module__), "__file__", None) or "")
    return ""


def _called(value: Any) -> str:
    inner = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return f"{name} of {_file(value) or getattr(inner, '__module__', None) or type(inner).__module__}"


def _environment(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """Names alone: values may be secrets."""
    for name in before.keys() | after.keys():
        if before.get(name) != after.get(name):
            verb = "set" if name not in before else "changed" if name in after else "removed"
            yield f"the environment variable {name} was {verb}"


def _some(found: list[str]) -> list[str]:
    return found if len(found) <= MOST else [*found[:MOST], f"and {len(found) - MOST} more of that sort"]


def _torch(read: Callable[[Any], Any]) -> Callable[[], Any]:
    """A reading of torch; None while it is not imported."""
    return lambda: read(sys.modules["torch"]) if "torch" in sys.modules else None


def _numpy() -> Any:
    return sys.modules["numpy"].random.get_state()[1].tobytes() if "numpy" in sys.modules else None


def _signals() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


SETTINGS: dict[str, Callable[[], Any]] = {
    "the random state of `random`": random.getstate,
    "the random state of numpy": _numpy,
    "the random state of torch": _torch(lambda torch: torch.get_rng_state().numpy().tobytes()),
    "torch's default dtype": _torch(lambda torch: torch.get_default_dtype()),
    "torch's default device": _torch(lambda torch: str(torch.get_default_device())),
    "torch's number of threads": _torch(lambda torch: (torch.get_num_threads(), torch.get_num_interop_threads())),
    "torch's gradient mode": _torch(lambda torch: torch.is_grad_enabled()),
    "torch's deterministic mode": _torch(lambda torch: torch.are_deterministic_algorithms_enabled()),
    "torch's precision of matrix products": _torch(lambda torch: torch.get_float32_matmul_precision()),
    "cuDNN's benchmark mode": _torch(lambda torch: torch.backends.cudnn.benchmark),
    "whether CUDA is initialised": _torch(lambda torch: torch.cuda.is_initialized()),
    "the warnings filters": lambda: list(warnings.filters),
    "the working directory": os.getcwd,
    "the handlers of signals": _signals,
    "sys.path": lambda: list(sys.path),
    "sys.excepthook": lambda: sys.excepthook,
    "the recursion limit": sys.getrecursionlimit,
    "the root logger": lambda: (logging.root.level, list(logging.root.handlers)),
    "the threads that run": lambda: set(threading.enumerate()),
}
