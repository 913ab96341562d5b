"""Keys: the options of one mapping, and the pydantic model that holds written values against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from cdkit.spec.options import REQUIRED, Option, options_of

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True)
class Keys:
    """The options by name. What is missing is no mistake to the model: that is told with a place of its own."""

    options: Mapping[str, Option]

    @cached_property
    def model(self) -> type[BaseModel]:
        return model_of(
            {name: Option(name, o.hint, None if o.default is REQUIRED else o.default) for name, o in self.options.items()}
        )


@cache
def section_keys(section: type[Any]) -> Keys:
    """The keys of a section that is written as a class."""
    return Keys(options_of(section))


def model_of(options: Mapping[str, Option]) -> type[BaseModel]:
    """A strict pydantic model: no text as a number, no truth value as an integer, nothing infinite, no unknown key.

    TypeError for a hint that no spec can hold.
    """
    from pydantic import ConfigDict, Field, create_model
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

    config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())
    definitions: dict[str, Any] = {
        field_name(name): (option.hint, Field(alias=name, default=... if option.default is REQUIRED else option.default))
        for name, option in options.items()
    }
    try:
        return create_model("Options", __config__=config, **definitions)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise TypeError(f"an option has a type hint that no spec can hold: {str(error).splitlines()[0]}") from error


def field_name(option: str) -> str:
    """A name that collides with nothing of pydantic's own (`copy`, `schema`, `model_config`)."""
    return f"option_{option}"
