"""Errors for people: one class an exit code, each a sentence about what is wrong and a hint on how to mend it."""

from __future__ import annotations

from typing import ClassVar


class CdkitError(ValueError):
    """What is wrong, where, and what was expected; `hint` says how to mend it. Never shown as a traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(CdkitError):
    """The command line itself is wrong."""

    exit_code = 2


class SpecError(CdkitError):
    """A spec does not say what can be built."""

    exit_code = 3


class PluginError(CdkitError):
    """An installed plugin cannot be used."""

    exit_code = 4


class DataError(CdkitError):
    """A data set, an image or a caption cannot be read."""

    exit_code = 5


class PromptError(DataError):
    """A raw value of a condition cannot be read."""


class CheckpointError(CdkitError):
    """A checkpoint is missing, damaged, or of another model."""

    exit_code = 6


class EnvironmentFault(CdkitError):
    """This machine lacks something: a device, a package, room, a permission, weights."""

    exit_code = 7


class NumericsError(CdkitError):
    """Numbers went wrong: NaN or infinity in loss, gradients or weights."""

    exit_code = 8
