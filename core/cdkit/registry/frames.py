"""Where in a plugin it went wrong: the last frame of a traceback that is the plugin's own."""

from __future__ import annotations

import traceback
from pathlib import Path

from cdkit.registry.record import Entry


def last_frame(error: BaseException, entry: Entry) -> str:
    """`file:line` of the last frame inside the plugin's package; of the faulty line where it is a SyntaxError; "" if unknown."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    package = entry.value.split(":")[0].split(".")[0]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if package in path.parts or path.stem == package:
            return f"{frame.filename}:{frame.lineno}"
    return ""
