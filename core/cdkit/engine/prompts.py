"""Prompts from a file: one a line, UTF-8, blank lines skipped."""

from __future__ import annotations

from pathlib import Path

from cdkit.errors import PromptError, UsageError

LARGEST = 16 * 2**20  # bytes


def read_prompts(path: Path) -> list[str]:
    """The prompts of a file. A line that is not UTF-8 is named by its number."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file of prompts")
    if path.stat().st_size > LARGEST:
        raise PromptError(f"{path}: larger than {LARGEST >> 20} MiB; expected one prompt a line")
    lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    return [text for number, line in enumerate(lines, 1) if (text := _decoded(path, number, line).strip())]


def _decoded(path: Path, number: int, line: bytes) -> str:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        column = error.start + 1
        raise PromptError(f"{path}:{number}:{column}: not UTF-8; expected text", hint="save the file as UTF-8") from error
    if "\0" in text:
        raise PromptError(f"{path}:{number}:{text.index(chr(0)) + 1}: a NUL character; expected text", hint="remove it")
    return text
