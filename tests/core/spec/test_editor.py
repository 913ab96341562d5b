"""The JSON schema for editors: each part's own keys under its own name, from the live registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cdkit.registry import Registry
from cdkit.spec.editor import editor_schema


@pytest.fixture(scope="module")
def schema(registry: Registry) -> dict[str, Any]:
    made, failed = editor_schema(registry)
    assert not failed
    return json.loads(json.dumps(made))


def test_every_part_has_a_definition_told_apart_by_use(schema: dict[str, Any], registry: Registry) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for kind, section in [
        ("backbone", schema["properties"]["backbone"]),
        ("injector", schema["properties"]["injectors"]["items"]),
    ]:
        assert section["discriminator"] == {"propertyName": "use"}
        names = [one["$ref"].rpartition("/")[2] for one in section["oneOf"] if "$ref" in one]
        assert names == [f"{kind}.{name}" for name in registry.names(kind)]
    for label, definition in schema["$defs"].items():
        assert definition["properties"]["use"] == {"const": label.partition(".")[2]}
        assert definition["additionalProperties"] is False


def test_options_carry_their_limits_defaults_and_choices(schema: dict[str, Any]) -> None:
    net, words = schema["$defs"]["backbone.net"]["properties"], schema["$defs"]["encoder.words"]["properties"]
    assert net["width"] == {"default": 32, "exclusiveMinimum": 0, "type": "integer"}
    assert words["padding"] == {"default": "mask", "enum": ["mask", "attend"], "type": "string"}
    assert {"column", "dropout", "trainable"} <= set(words)
    assert schema["$defs"]["injector.film"]["required"] == ["use", "streams"]
    assert schema["properties"]["train"]["properties"]["lr"] == {"default": 3e-4, "exclusiveMinimum": 0, "type": "number"}
    assert "(in-memory)" in schema["$defs"]["backbone.net"]["description"]


def test_a_spec_that_extends_another_need_not_be_whole(schema: dict[str, Any]) -> None:
    assert schema["required"] == ["cdkit"]
    assert schema["if"] == {"not": {"required": ["extends"]}}
    assert schema["then"]["required"] == ["cdkit", "name", "sample", "backbone"]


def test_a_part_that_cannot_be_described_is_left_out_and_named(registry: Registry) -> None:
    def bad(streams: Any, widths: Any, *, heads=3): ...

    made, failed = editor_schema(registry.extended({("injector", "bad"): bad}))
    assert "injector.bad" not in made["$defs"]
    assert failed == ["injector.bad: the option 'heads' has no type hint; expected one, since hints are the schema"]


def test_the_schema_knows_every_key_that_the_reader_knows(schema: dict[str, Any], read: Callable[..., Any], good: str) -> None:
    from cdkit.spec.read import SECTIONS

    assert set(schema["properties"]) == set(SECTIONS)
    assert set(read(good).filled()) <= set(SECTIONS)
