"""The JSON schema for editors: each part's own keys under its own name, from the live registry."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from cdkit.registry import Registry
from cdkit.spec.compose import compose
from cdkit.spec.editor import KINDS, about_of, editor_schema, spelt
from cdkit.spec.nodes import plain
from cdkit.spec.roles import keys_of
from jsonschema import Draft202012Validator

GOOD = """\
cdkit: 1
name: good
sample: {channels: 1, height: 8, width: 8}
conditions:
  text: {use: words, dim: 16}
injectors:
  - {use: film, streams: [text], heads: 2}
backbone: {use: net, mult: [1, 2, 4]}
sampler: {use: ddim, eta: 0.5}
"""


@pytest.fixture(scope="module")
def schema(registry: Registry) -> dict[str, Any]:
    made, failed = editor_schema(registry)
    assert not failed
    return json.loads(json.dumps(made))


def test_every_part_has_a_definition_told_apart_by_use(schema: dict[str, Any], registry: Registry) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["properties"]["injectors"]["items"] == {"$ref": "#/$defs/injector"}
    for section, kind in [("backbone", "backbone"), ("guidance", "guider"), ("data", "dataset")]:
        assert schema["properties"][section] == {"$ref": f"#/$defs/{kind}"}
    for kind in KINDS:
        cases = schema["$defs"][kind]["allOf"]
        assert [case["then"]["$ref"] for case in cases] == [f"#/$defs/{kind}.{name}" for name in registry.names(kind)]
        names = [one["const"] for one in schema["$defs"][kind]["properties"]["use"]["anyOf"] if "const" in one]
        assert names == registry.names(kind)
        for name in registry.names(kind):
            definition = schema["$defs"][f"{kind}.{name}"]
            assert definition["additionalProperties"] is False
            assert set(definition["properties"]) == set(keys_of(kind, registry.get(kind, name)).options)


def test_options_carry_their_limits_defaults_and_choices(schema: dict[str, Any]) -> None:
    net, words = schema["$defs"]["backbone.net"]["properties"], schema["$defs"]["encoder.words"]["properties"]
    said = {"description": "An integer greater than 0; default 32."}
    assert net["width"] == {"default": 32, "exclusiveMinimum": 0, "type": "integer", **said}
    said = {"description": "One of 'mask', 'attend'; default \"mask\"."}
    assert words["padding"] == {"default": "mask", "enum": ["mask", "attend"], "type": "string", **said}
    assert {"column", "dropout", "trainable"} <= set(words)
    assert schema["$defs"]["injector.film"]["required"] == ["use", "streams"]
    said = {"description": "After the warmup. A number greater than 0; default 0.0003."}
    lr = {"default": 3e-4, "exclusiveMinimum": 0, "type": "number", **said}
    assert schema["properties"]["train"]["properties"]["lr"] == lr
    assert schema["$defs"]["backbone.net"]["description"].startswith("net (in-memory): ")


def test_only_what_a_docstring_says_is_said(registry: Registry) -> None:
    @dataclass
    class Mute:
        strength: float = 1.0

    class Told(Mute):
        """A part.

        strength: how much of it; all of it by default. Raises ValueError where it is too much.
        """

    made, _ = editor_schema(registry.extended({("metric", "mute"): Mute, ("metric", "told"): Told}))
    assert made["$defs"]["metric.mute"]["properties"]["strength"]["description"] == "A number; default 1.0."
    assert made["$defs"]["metric.mute"]["description"] == "mute (in-memory): it says nothing of itself."
    told = "How much of it; all of it by default. A number; default 1.0."
    assert made["$defs"]["metric.told"]["properties"]["strength"]["description"] == told


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (GOOD, True),
        ("cdkit: 1\nextends: a.yaml\n", True),
        ("extends: a.yaml\nbackbone: {width: 3}\nguidance: null\nconditions: {text: null}\ntrain: null\n", True),
        ("extends: a.yaml\nbackbone: {width: 3}\nsampler: {eta: 1}\nconditions: {text: {dim: 8}}\n", True),
        ("extends: a.yaml\nsample: {width: 4}\n", True),
        ("extends: a.yaml\nbackbone: {widht: 3}\n", False),
        (GOOD + "traim: {}\n", False),
        ("extends: a.yaml\ntraim: {}\n", False),
        ("extends: a.yaml\nsample: {width: 3.5}\n", False),
        (GOOD.replace("use: net", "use: nett"), False),
        (GOOD.replace("use: net, ", ""), False),
        (GOOD.replace("use: words, ", ""), False),
        (GOOD.replace("use: film, ", ""), False),
        (GOOD.replace("cdkit: 1\n", ""), False),
        (GOOD.replace("name: good\n", ""), False),
        (GOOD.replace(", width: 8}", "}"), False),
        (GOOD.replace("heads: 2", "width: 2"), False),
        (GOOD.replace("eta: 0.5", "eta: 1.5"), False),
    ],
)
def test_it_takes_what_the_reader_takes(schema: dict[str, Any], text: str, right: bool) -> None:
    assert Draft202012Validator(schema).is_valid(plain(compose(text, "s.yaml")[0])) is right


def test_a_part_is_known_behind_its_distribution_too() -> None:
    schema = Draft202012Validator(editor_schema(Registry.installed())[0])
    spec = {"cdkit": 1, "extends": "a.yaml", "backbone": {"use": "cdkit/unet", "width": 32}}
    assert schema.is_valid(spec)
    assert not schema.is_valid({**spec, "backbone": {"use": "cdkit/unet", "widht": 32}})
    assert not schema.is_valid({**spec, "backbone": {"use": "other/unet", "width": 32}})


def test_a_name_is_matched_as_it_is_spelt(registry: Registry) -> None:
    """Bare or behind its distribution; a dot is a dot."""
    ours = Registry.installed()
    assert spelt(ours, "backbone", "unet") == "(cdkit/)?unet"
    assert spelt(ours, "backbone", "cdkit/unet") == "cdkit/unet"
    assert spelt(registry, "backbone", "net") == "net"
    assert spelt(registry.extended({("metric", "a.b"): dict}), "metric", "a.b") == r"a\.b"


def test_a_part_is_described_by_its_module_or_by_itself() -> None:
    ours = Registry.installed()
    film = ours.get("injector", "film")
    module = inspect.getdoc(inspect.getmodule(film)) or ""
    assert " ".join(module.split()).startswith(f"`film`: {about_of(film, 'film')}")
    assert about_of(film, "another") == (inspect.getdoc(film) or "").splitlines()[0]


def test_no_title_is_invented(schema: dict[str, Any]) -> None:
    assert re.findall(r'"title": "(.*?)"', json.dumps(schema)) == ["cdkit spec"]


def test_a_part_that_cannot_be_described_is_left_out_and_named(registry: Registry) -> None:
    def bad(streams: Any, widths: Any, *, heads=3): ...

    made, failed = editor_schema(registry.extended({("injector", "bad"): bad}))
    assert "injector.bad" not in made["$defs"]
    assert failed == ["injector.bad: the option 'heads' has no type hint; expected one, since hints are the schema"]


def test_the_schema_knows_every_key_that_the_reader_knows(schema: dict[str, Any], read: Callable[..., Any], good: str) -> None:
    from cdkit.spec.read import SECTIONS

    assert set(schema["properties"]) == set(SECTIONS)
    assert set(read(good).filled()) <= set(SECTIONS)
