"""Problem: one thing that is wrong in a spec. SpecErrors: all of them at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from cdkit.errors import PluginError, SpecError
from cdkit.registry.names import visible
from cdkit.spec.place import Place


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where in the file and where in the spec, and how to mend it; letters that deceive as their escapes."""

    place: Place
    path: str  # "backbone.width", "injectors.0.use"; "" for the file itself
    message: str
    hint: str = ""
    code: str = "value"
    plugin: bool = False  # the spec is right, and the plugin that it names is broken

    def __post_init__(self) -> None:
        for name in ("path", "message", "hint"):
            object.__setattr__(self, name, visible(getattr(self, name)))

    def __str__(self) -> str:
        return f"{self.place}: {self.path}: {self.message}" if self.path else f"{self.place}: {self.message}"

    def to_json(self) -> dict[str, str | int]:
        """One record for editors and `--json`."""
        return {
            "file": self.place.file,
            "line": self.place.line,
            "col": self.place.column,
            "path": self.path,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
        }


class SpecErrors(SpecError):
    """Everything that is wrong in a spec, one line each, in the order of the file.

    A single problem's hint is the error's; those of several stand under their lines.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(dict.fromkeys(problems), key=lambda p: (p.place.line == 0, p.place, p.path)))
        if len(self.problems) == 1:
            super().__init__(str(self.problems[0]), hint=self.problems[0].hint)
        else:
            super().__init__("\n".join(line for problem in self.problems for line in _lines(problem)))

    def records(self) -> list[dict[str, str | int]]:
        """The problems as plain values, for `--json`."""
        return [problem.to_json() for problem in self.problems]


class BrokenParts(SpecErrors, PluginError):
    """The spec is right; every problem is a plugin that it names and that cannot be used."""

    exit_code: ClassVar[int] = PluginError.exit_code


def refusal(problems: Iterable[Problem]) -> SpecErrors:
    """The error that holds these problems."""
    found = tuple(problems)
    return BrokenParts(found) if all(problem.plugin for problem in found) else SpecErrors(found)


def _lines(problem: Problem) -> list[str]:
    return [str(problem), *([f"  hint: {problem.hint}"] if problem.hint else [])]
