"""Where in a plugin it went wrong: the last frame of a traceback that is the plugin's own, or the definition at fault."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cdkit.registry.record import Entry


def last_frame(error: BaseException, entry: Entry) -> str:
    """`file:line` of the last frame inside the plugin's package; of the faulty line where it is a SyntaxError; "" if unknown."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_file():
        return f"{error.filename}:{error.lineno}"
    return innermost([f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)], entry)


def innermost(stack: Sequence[str], entry: Entry) -> str:
    """Of a stack of `file:line`, oldest call first, the last that is in the plugin's package; "" if none is."""
    package = entry.value.split(":")[0].split(".")[0].strip()
    for place in reversed(stack):
        path = Path(place.rpartition(":")[0])
        if package in path.parts or path.stem == package:
            return place
    return ""


def definition(culprit: Any, entry: Entry) -> str:
    """`file:line` where a class or function is defined; else the file of the entry's module; "" if neither is known."""
    with suppress(OSError, TypeError):
        if not inspect.ismodule(culprit):
            return f"{inspect.getsourcefile(culprit)}:{inspect.getsourcelines(culprit)[1]}"
    module = sys.modules.get(entry.value.split(":")[0].strip())
    return str(getattr(module, "__file__", None) or "")
