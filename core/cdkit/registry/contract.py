"""What a part must be before anybody makes one: the class of its kind, with no method missing."""

from __future__ import annotations

from inspect import isabstract, isclass
from pathlib import Path
from typing import Any

API = 1  # of cdkit.parts and cdkit.hooks
BASES = {
    "encoder": ("Encoder", "Joiner"),
    "backbone": ("Backbone",),
    "guider": ("Guider",),
    "autoencoder": ("Autoencoder",),
    "dataset": ("Dataset",),
    "metric": ("Metric",),
    "callback": ("Callback",),
    "format": ("Format",),
}
PATHS = ("run", "claim")  # what lies in a file or folder, and is no code
CALLS = {"injector": "tap", "sampler": "__call__"}


def keep_contract(kind: str, part: Any) -> None:
    """TypeError that says which method is missing, or which class was expected of this kind."""
    if kind in PATHS:
        if not isinstance(part, Path):
            raise TypeError(f"cdkit_{kind} returned {part!r}; expected a pathlib.Path")
        return
    if kind == "command":
        _keep_command(part)
        return
    if not callable(part):
        raise TypeError(f"cdkit_{kind} returned {part!r}; expected a class or a function that makes the part")
    if isclass(part):
        _keep_class(kind, part)


def _keep_command(part: Any) -> None:
    import click

    if not isinstance(part, click.Command):
        raise TypeError(f"cdkit_command returned {part!r}; expected a click.Command, as @click.command() makes one")


def _keep_class(kind: str, part: type[Any]) -> None:
    import cdkit.parts as parts

    names = BASES.get(kind, ())
    if names and not issubclass(part, tuple(getattr(parts, name) for name in names)):
        raise TypeError(f"{part.__name__} is no {kind}; expected a subclass of {' or '.join(names)} of cdkit.parts")
    if isabstract(part):
        missing = ", ".join(sorted(part.__abstractmethods__))
        raise TypeError(f"{part.__name__} does not define {missing}, which every {kind} must")
    call = CALLS.get(kind)
    if call and not any(call in vars(base) for base in part.__mro__):
        raise TypeError(f"{part.__name__} does not define {call}, which every {kind} must")
