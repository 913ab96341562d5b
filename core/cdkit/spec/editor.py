"""The JSON schema of specs (draft 2020-12), from the registered parts: what an editor completes, underlines and explains.

Which keys a part takes is told by its `use`: one `if` a part, and not one alternative, so that a mistake is underlined where it
stands and no editor has to guess which part was meant.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import cdkit.hooks as hooks
from cdkit.errors import PluginError
from cdkit.registry import Registry
from cdkit.spec.explain import docstring, said_of
from cdkit.spec.keys import model_of
from cdkit.spec.options import REQUIRED, Option, options_of
from cdkit.spec.roles import KEYS, core_keys, keys_of, role_of
from cdkit.spec.sections import HeadKeys, LoraSection, PartKeys, SampleSection, TrainSection
from cdkit.spec.words import expected

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PARTS = {
    "backbone": "backbone",
    "autoencoder": "autoencoder",
    "guidance": "guider",
    "sampler": "sampler",
    "data": "dataset",
}
KINDS = (*PARTS.values(), "encoder", "injector", "approximation", "metric", "callback")
USED: Mapping[str, Any] = {"type": "object", "required": ["use"]}
UNUSED: Mapping[str, Any] = {"type": "object", "not": {"required": ["use"]}}  # over a part that an extended spec names
WHOLE = ("cdkit", "name", "sample", "backbone")  # what a spec that extends no other has to say
EXTENDS = "A spec beside this one, which this one changes: mappings are merged, lists and values replaced, null takes a key away."


def editor_schema(registry: Registry) -> tuple[dict[str, Any], list[str]]:
    """The schema, and why parts are missing from it."""
    failed: list[str] = []
    definitions: dict[str, Any] = {}
    for kind in KINDS:
        definitions |= parts_of(registry, kind, failed)
    whole = {
        "$schema": DIALECT,
        "title": "cdkit spec",
        "type": "object",
        "additionalProperties": False,
        "properties": properties(),
        "if": {"required": ["extends"]},
        "else": {"required": list(WHOLE), "properties": naming()},
        "$defs": definitions,
    }
    return whole, failed


def properties() -> dict[str, Any]:
    """What each section holds. A null takes away what an extended spec says."""
    from cdkit.diffusion.process import Diffusion

    head = section(options_of(HeadKeys), lambda name: said_of(HeadKeys, name))["properties"]
    one = {kind: {"$ref": f"#/$defs/{kind}"} for kind in KINDS}
    conditions = {"type": ["object", "null"], "additionalProperties": one["encoder"]}
    return {
        **head,
        "extends": {"type": "string", "description": EXTENDS},
        "sample": documented(SampleSection),
        "conditions": {**conditions, "description": "What the model is told, by names of your own, and who encodes it."},
        "injectors": listed(one["injector"], "How the model is told: methods, at each site in the order of the list."),
        **{key: one[kind] for key, kind in PARTS.items()},
        "approximate": listed(one["approximation"], "What is saved while a picture is drawn, and costs some of its quality."),
        "diffusion": nullable(documented(Diffusion)),
        "lora": nullable(documented(LoraSection)),
        "train": nullable(documented(TrainSection)),
        "evaluate": listed(one["metric"], "What a model is scored by."),
        "callbacks": listed(one["callback"], "Who hears how the training goes."),
    }


def naming() -> dict[str, Any]:
    """Without a spec below, every part names itself by `use`, and the sample is whole."""
    use = {"required": ["use"]}
    return {
        "sample": {"required": list(options_of(SampleSection))},
        "conditions": {"additionalProperties": use},
        **{key: {"items": use} for key in ("injectors", "approximate", "evaluate", "callbacks")},
        **dict.fromkeys(PARTS, use),
    }


def listed(item: dict[str, Any], description: str) -> dict[str, Any]:
    return {"type": ["array", "null"], "items": item, "description": description}


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "type": ["object", "null"]}


def parts_of(registry: Registry, kind: str, failed: list[str]) -> dict[str, Any]:
    """The definition of a kind, `#/$defs/KIND`, and of each of its parts, `#/$defs/KIND.NAME`. Failures are added to."""
    parts: dict[str, dict[str, Any]] = {}
    for name in registry.names(kind):
        try:
            parts[name] = part_schema(registry, kind, name)
        except (PluginError, TypeError) as error:
            failed.append(f"{kind}.{name}: {error}" if isinstance(error, TypeError) else str(error))
    labels = {name: f"{kind}.{name.replace('/', '.')}" for name in parts}
    return {kind: any_of(registry, kind, parts, labels)} | {labels[name]: part for name, part in parts.items()}


def part_schema(registry: Registry, kind: str, name: str) -> dict[str, Any]:
    """The keys of one part, `use` among them. PluginError and TypeError as those who import and describe it raise them."""
    factory = registry.get(kind, name)
    keys = keys_of(kind, factory).options
    core = KEYS.get(role := role_of(kind, factory), PartKeys)
    made = section(keys, lambda key: said_of(core if key in core_keys(role) else factory, key))
    about = f"{name} ({registry.provider(kind, name)}): {about_of(factory, name)}"
    made["properties"]["use"] = {"description": about}
    made["required"] = ["use", *(key for key in made.get("required", []) if key != "use")]
    return {"description": about, **made}


def any_of(registry: Registry, kind: str, parts: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """Any part of a kind, told apart by `use`. Without `use` it is over a part that an extended spec names: any part's keys."""
    every = sorted({key for part in parts.values() for key in part["properties"]})
    patterns = {name: spelt(registry, kind, name) for name in parts}
    cases = [
        {"if": {**USED, "properties": {"use": {"pattern": f"^{patterns[name]}$"}}}, "then": {"$ref": f"#/$defs/{label}"}}
        for name, label in labels.items()
    ]
    use = {
        "type": "string",
        "anyOf": [
            *({"const": name, "description": part["description"]} for name, part in parts.items()),
            {"pattern": f"^({'|'.join(patterns.values())})$"},
        ],
    }
    return {
        "description": first_line(getattr(hooks, f"cdkit_{kind}")).replace(f" (`{kind}.NAME`)", ""),
        "type": ["object", "null"],
        "properties": {"use": use},
        "allOf": cases,
        "if": UNUSED,
        "then": {"propertyNames": {"enum": every}},
    }


def spelt(registry: Registry, kind: str, name: str) -> str:
    """A pattern of what `use` may say for a part: its name, also behind its distribution's."""
    dist, version, _ = registry.provider(kind, name).partition("==")
    written = name.replace(".", r"\.")
    return written if "/" in name or not version else f"({dist}/)?{written}"


def documented(keys: Any) -> dict[str, Any]:
    """A section that is written as a class, none of its keys required: an extended spec may have said them."""
    made = section(options_of(keys), lambda name: said_of(keys, name))
    made.pop("required", None)
    return {"description": first_line(keys), **made}


def section(options: Mapping[str, Option], said: Callable[[str], str]) -> dict[str, Any]:
    """A mapping of options, each with what is said of it; titles that pydantic invents are dropped."""
    made = model_of(options).model_json_schema(by_alias=True)
    made.pop("title", None)
    for name, prop in made.get("properties", {}).items():
        prop.pop("title", None)
        prop["description"] = description(options[name], said(name))
    return made


def description(option: Option, said: str) -> str:
    """What a key is, what it expects and what it is by default, for an editor's hover."""
    expects = expected(option.hint) or "a value"
    default = "required" if option.default is REQUIRED else f"default {json.dumps(option.default, default=str)}"
    return " ".join(filter(None, (capital(said), f"{capital(expects)}; {default}.")))


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def about_of(factory: Any, name: str) -> str:
    """What a part is: what its module says behind the part's name (`film: ...`), else its own docstring's first line."""
    module = inspect.getdoc(inspect.getmodule(factory)) or ""
    headed = re.match(rf"`?{re.escape(name)}`?: (.+)", " ".join(module.split("\n\n")[0].split()))
    return headed[1] if headed else first_line(factory) or "it says nothing of itself."


def first_line(documented: Any) -> str:
    """What a docstring begins with."""
    return (docstring(documented).splitlines() or [""])[0]
