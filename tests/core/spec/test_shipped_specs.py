"""The specs that ship: each is read, filled and read again; and every key of sd_like, spelt wrongly, is refused with its name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cdkit.registry import Registry
from cdkit.spec import SpecErrors, read_spec

SPECS = Path(__file__).parents[3] / "specs"
SD_LIKE = (SPECS / "sd_like.yaml").read_text(encoding="utf-8")
TEXT = re.sub(r"#.*", lambda comment: " " * len(comment.group()), SD_LIKE)  # comments hold no keys
KEYS = list(re.finditer(r"\b([a-z_]+):(?= |$)", TEXT, re.MULTILINE))
NAMES = {"text"}  # a condition's name is free


@pytest.fixture(scope="module")
def installed() -> Registry:
    return Registry.installed()


@pytest.mark.parametrize("path", sorted(SPECS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_spec_is_right_and_its_filled_form_is_the_same(path: Path, installed: Registry) -> None:
    spec = read_spec(path, registry=installed)
    again = read_spec(spec.to_yaml(), registry=installed)
    assert again.filled() == spec.filled()
    assert again.digest() == spec.digest()


@pytest.mark.parametrize(
    "key", [key for key in KEYS if key.group(1) not in NAMES], ids=lambda key: f"{key.start()}-{key.group(1)}"
)
def test_every_wrong_key_of_sd_like_is_refused_with_its_name(key: re.Match[str], installed: Registry) -> None:
    word = key.group(1)
    wrong = word[0] + word[2] + word[1] + word[3:] if len(word) > 2 else word * 2
    if wrong == word:
        wrong = word + "x"
    before = SD_LIKE[: key.start(1)]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    with pytest.raises(SpecErrors) as caught:
        read_spec(before + wrong + SD_LIKE[key.end(1) :], registry=installed)
    told = {(problem.place.line, problem.place.column): problem.message for problem in caught.value.problems}
    if word == "use":
        assert any(message.startswith("missing key 'use'") for message in told.values())
        return
    assert told[line, column] == f"unknown key {wrong!r}; did you mean {word!r}?"
