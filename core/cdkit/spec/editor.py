"""The JSON schema of specs (draft 2020-12), from the registered parts: what an editor completes and underlines."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import getdoc
from typing import Any

from cdkit.errors import PluginError
from cdkit.registry import Registry
from cdkit.spec.keys import model_of
from cdkit.spec.options import Option, options_of
from cdkit.spec.roles import keys_of
from cdkit.spec.sections import LoraSection, SampleSection, TrainSection

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PARTS = {
    "backbone": "backbone",
    "autoencoder": "autoencoder",
    "guidance": "guider",
    "sampler": "sampler",
    "data": "dataset",
}
PARTIAL = {"type": "object", "not": {"required": ["use"]}}  # over a part that an extended spec names


def editor_schema(registry: Registry) -> tuple[dict[str, Any], list[str]]:
    """The schema, and why parts are missing from it."""
    from cdkit.diffusion.process import Diffusion

    definitions: dict[str, Any] = {}
    failed: list[str] = []
    kinds = {
        kind: one_of(registry, kind, definitions, failed)
        for kind in (*PARTS.values(), "encoder", "injector", "metric", "callback")
    }
    properties: dict[str, Any] = {
        "cdkit": {"const": 1, "description": "The schema that the spec is written for."},
        "name": {"type": "string"},
        "extends": {"type": "string", "description": "A spec beside this one, which this one changes."},
        "seed": {"type": "integer", "minimum": 0, "default": 0},
        "task": {"enum": ["denoise", "autoencoder"], "default": "denoise", "description": "What is trained."},
        "sample": section(options_of(SampleSection)),
        "conditions": {"type": "object", "additionalProperties": kinds["encoder"]},
        "injectors": {"type": "array", "items": kinds["injector"]},
        **{key: kinds[kind] for key, kind in PARTS.items()},
        "diffusion": section(options_of(Diffusion)),
        "lora": {"anyOf": [section(options_of(LoraSection)), {"type": "null"}]},
        "train": section(options_of(TrainSection)),
        "evaluate": {"type": "array", "items": kinds["metric"]},
        "callbacks": {"type": "array", "items": kinds["callback"]},
    }
    whole = {
        "$schema": DIALECT,
        "title": "cdkit spec",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": ["cdkit"],
        "if": {"not": {"required": ["extends"]}},
        "then": {"required": ["cdkit", "name", "sample", "backbone"]},
        "$defs": definitions,
    }
    return whole, failed


def one_of(registry: Registry, kind: str, definitions: dict[str, Any], failed: list[str]) -> dict[str, Any]:
    """Any part of a kind, told apart by `use`, or null; definitions and failures are added to."""
    references: list[dict[str, Any]] = []
    for name in registry.names(kind):
        try:
            factory = registry.get(kind, name)
            made = section(keys_of(kind, factory).options)
        except (PluginError, TypeError) as error:
            failed.append(f"{kind}.{name}: {error}" if isinstance(error, TypeError) else str(error))
            continue
        made["properties"]["use"] = {"const": name}
        made["required"] = ["use", *(key for key in made.get("required", []) if key != "use")]
        made["description"] = f"{(getdoc(factory) or name).splitlines()[0]} ({registry.provider(kind, name)})"
        label = f"{kind}.{name.replace('/', '.')}"
        definitions[label] = made
        references.append({"$ref": f"#/$defs/{label}"})
    return {"oneOf": [*references, PARTIAL, {"type": "null"}], "discriminator": {"propertyName": "use"}}


def section(options: Mapping[str, Option]) -> dict[str, Any]:
    """A mapping of options; titles that pydantic invents are dropped."""
    made = model_of(options).model_json_schema(by_alias=True)
    made.pop("title", None)
    for prop in made.get("properties", {}).values():
        prop.pop("title", None)
    return made
