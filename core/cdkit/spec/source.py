"""Reading the file: what is no regular file is refused without waiting for it, what is no UTF-8 text with its offset."""

from __future__ import annotations

import os
import re
import stat
from difflib import get_close_matches
from pathlib import Path

from cdkit.errors import UsageError
from cdkit.spec.place import Place
from cdkit.spec.problem import Problem, SpecErrors, refusal

SIZE = 1 << 20
UNPRINTABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
UTF16 = (b"\xff\xfe", b"\xfe\xff")


def file_text(path: Path) -> str:
    """The text of a spec. UsageError if there is no such file to read, SpecErrors if it is no UTF-8 text of at most 1 MiB."""
    return decoded(file_bytes(path), str(path))


def file_bytes(path: Path) -> bytes:
    """At most one byte more than may be read. A FIFO is opened without waiting for its other end."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        raise missing(path, error) from error
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        kind = "folder" if stat.S_ISDIR(mode) else "pipe" if stat.S_ISFIFO(mode) else "device"
        raise UsageError(f"{path} is a {kind}; expected a YAML file", hint=beside(path))
    with os.fdopen(handle, "rb") as stream:
        return stream.read(SIZE + 1)


def missing(path: Path, error: Exception) -> UsageError:
    """Why a spec cannot be opened, and which ones lie there."""
    if isinstance(error, FileNotFoundError):
        return UsageError(f"there is no spec {path}", hint=beside(path))
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return UsageError(f"the spec {str(path)!r} cannot be read: {reason}")


def beside(path: Path) -> str:
    """The spec that was probably meant, or those that lie in the folder."""
    folder = path if path.is_dir() else path.parent
    names = sorted(entry.name for entry in folder.glob("*.yaml") if entry != path and entry.is_file()) if folder.is_dir() else []
    near = get_close_matches(path.name, names, n=1)
    if near:
        return f"did you mean {folder / near[0]}?"
    return f"in {folder} there are {', '.join(names[:12])}" if names else ""


def decoded(data: bytes, file: str) -> str:
    """Bytes -> text, less a byte order mark."""
    if len(data) > SIZE:
        raise refused(file, 1, 1, "larger than 1 MiB; expected a spec", code="limit")
    if data.startswith(UTF16) or data[:2].count(0) == 1:
        raise refused(file, 1, 1, "UTF-16; expected UTF-8", "save the file as UTF-8", code="encoding")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = position(data[: error.start].decode("utf-8", "replace"))
        message = f"byte {error.start} (0x{data[error.start]:02x}) is not UTF-8"
        raise refused(file, line, column, message, "save the file as UTF-8", code="encoding") from error
    return text


def check_characters(text: str, file: str) -> None:
    """NUL and other characters that YAML does not hold, by the offset of the first."""
    found = UNPRINTABLE.search(text)
    if found:
        char, before = found.group(), text[: found.start()]
        name = "NUL" if char == "\0" else f"the control character U+{ord(char):04X}"
        line, column = position(before)
        raise refused(file, line, column, f"{name} at byte {len(before.encode())}; expected text", "remove it", code="characters")


def position(before: str) -> tuple[int, int]:
    """Line and column, from 1, of what follows this text."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def refused(file: str, line: int, column: int, message: str, hint: str = "", *, code: str) -> SpecErrors:
    return refusal([Problem(Place(file, line, column), "", message, hint, code)])
