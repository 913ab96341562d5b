"""What a part must be before anybody makes one: the class of its kind, no method missing, each called as cdkit calls it."""

from __future__ import annotations

import inspect
from inspect import Parameter, isabstract, isclass
from pathlib import Path
from typing import Any

from cdkit.registry.misfit import Misfit

API = 1  # of cdkit.parts and cdkit.hooks
BASES = {
    "encoder": ("Encoder", "Joiner"),
    "backbone": ("Backbone",),
    "guider": ("Guider",),
    "approximation": ("Approximation",),
    "autoencoder": ("Autoencoder",),
    "dataset": ("Dataset",),
    "metric": ("Metric",),
    "callback": ("Callback",),
    "format": ("Format",),
}
PATHS = ("run", "claim")  # what lies in a file or folder, and is no code
PROTOCOLS = {"injector": ("ConditioningInjector", "tap"), "sampler": ("Sampler", "__call__")}


def keep_contract(kind: str, part: Any) -> None:
    """Misfit that says which method is missing, or which class was expected of this kind."""
    if kind in PATHS:
        if not isinstance(part, Path):
            raise Misfit(f"cdkit_{kind} returned {part!r}; expected a pathlib.Path")
        return
    if kind == "command":
        _keep_command(part)
        return
    if not callable(part):
        raise Misfit(f"cdkit_{kind} returned {part!r}; expected a class or a function that makes the part")
    if isclass(part):
        _keep_class(kind, part)


def _keep_command(part: Any) -> None:
    import click

    if not isinstance(part, click.Command):
        raise Misfit(f"cdkit_command returned {part!r}; expected a click.Command, as @click.command() makes one")


def _keep_class(kind: str, part: type[Any]) -> None:
    import cdkit.parts as parts

    bases: tuple[type[Any], ...] = tuple(getattr(parts, name) for name in BASES.get(kind, ()))
    if bases and not issubclass(part, bases):
        expected = " or ".join(base.__name__ for base in bases)
        raise Misfit(f"{part.__name__} is no {kind}; expected a subclass of {expected} of cdkit.parts", part)
    if isabstract(part):
        missing = ", ".join(sorted(part.__abstractmethods__))
        raise Misfit(f"{part.__name__} does not define {missing}, which every {kind} must", part)
    for base in filter(lambda base: issubclass(part, base), bases):
        for name in (name for name, value in vars(base).items() if _is_method(name, value)):
            _keep_signature(part, base, name)
    if kind in PROTOCOLS:
        protocol, call = PROTOCOLS[kind]
        if not any(call in vars(base) for base in part.__mro__):
            raise Misfit(f"{part.__name__} does not define {call}, which every {kind} must", part)
        _keep_signature(part, getattr(parts, protocol), call)


def _is_method(name: str, value: Any) -> bool:
    return (not name.startswith("_") or name == "__call__") and (inspect.isfunction(value) or isinstance(value, classmethod))


def _keep_signature(part: type[Any], base: type[Any], name: str) -> None:
    """The method has to take what the interface's is called with; names of arguments are free, those of keywords are not."""
    method, promised = getattr(part, name), inspect.signature(getattr(base, name))
    if not callable(method):
        raise Misfit(f"{part.__name__}.{name} is {method!r}; expected a method {name}{promised}", part)
    if method is getattr(base, name) or any(one.kind is Parameter.VAR_POSITIONAL for one in promised.parameters.values()):
        return
    taken = inspect.signature(method)
    keywords = {one.name: None for one in promised.parameters.values() if one.kind is Parameter.KEYWORD_ONLY}
    try:
        taken.bind(*[None] * (len(promised.parameters) - len(keywords)), **keywords)
    except TypeError as error:
        shown = [str(one).split(":")[0].split("=")[0].strip() for one in promised.parameters.values()]
        raise Misfit(f"{part.__name__}.{name}{taken} cannot be called as ({', '.join(shown)}): {error}", method) from None
