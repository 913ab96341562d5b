"""specs/cdkit.schema.json: what our own parts take, as `cdkit schema` says it today; it takes our specs and refuses bent ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cdkit.cli.init import LINE
from cdkit.spec.editor import properties
from cdkit.spec.options import REQUIRED
from cdkit.spec.read import read_spec
from cdkit.spec.roles import core_keys
from jsonschema import Draft202012Validator

SPECS = Path(__file__).parents[3] / "specs"
COMMITTED = SPECS / "cdkit.schema.json"
COMMAND = "cdkit --no-plugins schema --out specs/cdkit.schema.json"
PROGRAM = "from cdkit.cli.app import main; main()"  # as the console script has it
SHIPPED = sorted(SPECS.glob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(COMMITTED.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def plain(text: str) -> Any:
    """YAML as editors read it: `1e-4` is a number."""
    from cdkit.spec.compose import compose
    from cdkit.spec.nodes import plain as values

    root, _ = compose(text, "s.yaml")
    return None if root is None else values(root)


def test_it_is_what_the_command_prints_today(tmp_path: Path) -> None:
    made = tmp_path / "cdkit.schema.json"
    command = [sys.executable, "-c", PROGRAM, *COMMAND.split()[1:-1], str(made)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert made.read_bytes() == COMMITTED.read_bytes(), f"the schema is out of date: {COMMAND}"


def test_its_sections_are_what_the_classes_say(validator: Draft202012Validator) -> None:
    """Every key with its limits and its default, and what is said of it."""
    schema: Any = validator.schema
    assert json.loads(json.dumps(properties())) == schema["properties"]


@pytest.mark.parametrize("part", ["encoder.bytes", "injector.film", "sampler.ddim", "autoencoder.kl", "backbone.unet"])
def test_what_core_reads_of_every_part_has_its_default(part: str, validator: Draft202012Validator) -> None:
    schema: Any = validator.schema
    made = schema["$defs"][part]["properties"]
    for name, option in core_keys(part.partition(".")[0]).items():
        said = [] if option.default is REQUIRED else [json.loads(json.dumps(option.default))]
        assert [made[name]["default"]] == said if "default" in made[name] else not said


def test_every_key_says_what_it_is(validator: Draft202012Validator) -> None:
    schema: Any = validator.schema
    mute = [
        f"{label}.{key}"
        for label, part in schema["$defs"].items()
        if "." in label
        for key, option in part["properties"].items()
        if not option["description"] or option["description"].startswith(("A list", "A number", "An integer", "Text", "One of '"))
    ]
    assert mute == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_spec_suits_it_whole_and_filled_and_says_so_to_editors(path: Path, validator: Draft202012Validator) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(LINE)
    assert list(validator.iter_errors(plain(text))) == []
    assert list(validator.iter_errors(yaml.safe_load(json.dumps(read_spec(path).filled())))) == []
