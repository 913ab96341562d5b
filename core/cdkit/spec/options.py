"""Options: the keyword arguments of a constructor are a part's keys in a spec, and their type hints the schema."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import SimpleNamespace
from typing import Any, get_type_hints

REQUIRED = inspect.Parameter.empty
SUPPLIED = {"injector": 2, "backbone": 2, "joiner": 1}  # what core passes by position: streams and widths, mount and sample
NAMED = {"encoder": {"sample"}}  # what core passes by name


@dataclass(frozen=True, slots=True)
class Option:
    """One key: its type hint, its default (REQUIRED where it has none), and whether core reads it, not the part."""

    name: str
    hint: Any
    default: Any = REQUIRED
    core: bool = False


def options_of(factory: Callable[..., Any], role: str = "") -> dict[str, Option]:
    """The options of a part by name, without what core supplies to parts of this role.

    TypeError for an option without a type hint, or one whose hint cannot be read.
    """
    parameters = [p for p in inspect.signature(factory).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    first = SUPPLIED.get(role, 0)
    own = [p for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY or i >= first]
    own = [p for p in own if p.name not in NAMED.get(role, ())]
    for parameter in own:
        if parameter.annotation is REQUIRED:
            raise TypeError(f"the option {parameter.name!r} has no type hint; expected one, since hints are the schema")
    hints = resolved({p.name: p.annotation for p in own}, globals_of(factory))
    defaults = _made_defaults(factory)
    return {p.name: Option(p.name, hints[p.name], defaults.get(p.name, p.default)) for p in own}


def resolved(annotations: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """Annotations that may be text -> the types that they name, limits kept."""
    try:
        return get_type_hints(SimpleNamespace(__annotations__=dict(annotations)), dict(names), include_extras=True)
    except NameError as error:
        raise TypeError(f"a type hint of its options cannot be read: {error}") from error


def globals_of(factory: Callable[..., Any]) -> dict[str, Any]:
    """The names that a factory's hints were written among; for a class those of its bases too, nearest last."""
    if inspect.isclass(factory):
        names: dict[str, Any] = {}
        for base in reversed(factory.__mro__):
            names |= vars(sys.modules[base.__module__]) if base.__module__ in sys.modules else {}
        return names
    inner: Any = inspect.unwrap(getattr(factory, "func", factory))
    return getattr(inner, "__globals__", {})


def _made_defaults(factory: Callable[..., Any]) -> dict[str, Any]:
    """Defaults that a dataclass makes anew for each instance, which its signature does not show."""
    if not (inspect.isclass(factory) and is_dataclass(factory)):
        return {}
    return {f.name: f.default_factory() for f in fields(factory) if f.default_factory is not MISSING}
