"""Roles: for each kind of part, the keys that core reads beside the part's own options."""

from __future__ import annotations

from functools import cache, lru_cache
from inspect import isclass
from typing import Any

from cdkit.spec.keys import Keys
from cdkit.spec.options import Option, options_of
from cdkit.spec.sections import AutoencoderKeys, EncoderKeys, InjectorKeys, JoinerKeys, PartKeys, SamplerKeys

KEYS: dict[str, type[Any]] = {
    "autoencoder": AutoencoderKeys,
    "encoder": EncoderKeys,
    "injector": InjectorKeys,
    "joiner": JoinerKeys,
    "sampler": SamplerKeys,
}


def role_of(kind: str, factory: Any) -> str:
    """The kind, but for an encoder of other conditions' streams, which is a joiner."""
    if kind != "encoder":
        return kind
    from cdkit.parts import Encoder, Joiner

    if not isclass(factory) or not issubclass(factory, Encoder | Joiner):
        raise TypeError("it is no subclass of Encoder or Joiner of cdkit.parts")
    return "joiner" if issubclass(factory, Joiner) else "encoder"


@lru_cache(maxsize=256)
def keys_of(kind: str, factory: Any) -> Keys:
    """Every key of a part: those that core reads, then the part's own. TypeError if the part cannot be described by keys."""
    role = role_of(kind, factory)
    core = core_keys(role)
    own = options_of(factory, role)
    if clash := sorted(core.keys() & own.keys()):
        raise TypeError(f"its option {clash[0]!r} is a key that core reads for every {role}; expected another name")
    keys = Keys({**core, **own})
    _ = keys.model  # TypeError now, and not when the first value is written
    return keys


@cache
def core_keys(role: str) -> dict[str, Option]:
    return {
        name: Option(name, option.hint, option.default, core=True)
        for name, option in options_of(KEYS.get(role, PartKeys)).items()
    }


def is_text_encoder(factory: Any) -> bool:
    from cdkit.parts import TextEncoder

    return isclass(factory) and issubclass(factory, TextEncoder)
