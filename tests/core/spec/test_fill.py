"""A filled spec reads back as itself, whatever was written; the digest holds what decides the weights' meaning, no more."""

# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cdkit.registry import Registry
from cdkit.spec import Spec, read_spec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Read = Callable[..., Spec]
SIMPLE = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=24) | st.sampled_from(
    ["no", "on", "1e-4", "0o17", "010", "12:30", "null", "~", "", ".nan", "0x1f", "- a", "a: b", "#x", "'", '"', "\n", " x ", "猫", "\u200b"]
)  # fmt: skip
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.integers(1, 2**63 - 1)
LAST = st.fixed_dictionaries(
    {},
    optional={
        "conditions.text.dim": POSITIVE,
        "conditions.text.model": TEXTS,
        "conditions.text.padding": st.sampled_from(["mask", "attend"]),
        "conditions.text.column": TEXTS.filter(bool),
        "conditions.text.dropout": st.floats(0, 1),
        "conditions.text.trainable": st.booleans(),
        "conditions.label.names": st.lists(TEXTS, max_size=4),
        "backbone.depth": POSITIVE | st.lists(st.integers(0, 9), max_size=4),
        "backbone.heads": st.none() | POSITIVE,
        "backbone.wide": st.booleans(),
        "guidance.scale": st.floats(1e-300, 1e300),
        "guidance.interval": st.tuples(NUMBERS, NUMBERS).map(list),
        "guidance.scales": st.dictionaries(TEXTS.filter(lambda text: text != "<<"), NUMBERS, max_size=3),
        "train.lr": st.floats(1e-12, 1e3),
        "train.ema": st.none() | st.floats(0, 1),
        "train.prompts": st.lists(TEXTS, max_size=3),
        "train.seed": st.integers(-(2**63), 2**63 - 1),
        "seed": st.integers(0, 2**63 - 1),
        "sampler.orders": st.lists(st.integers(-9, 9), max_size=3),
    },
)


def put(whole: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        whole = whole[parent]
    whole[last] = value


@SIMPLE
@given(changes=LAST)
def test_a_filled_spec_reads_back_as_itself(good: str, registry: Registry, changes: dict[str, Any]) -> None:
    whole = read_spec(good, registry=registry).filled()
    for path, value in changes.items():
        put(whole, path, value)
    from cdkit.spec.fill import Plain

    text = yaml.dump(whole, Dumper=Plain, sort_keys=False, allow_unicode=True)
    spec = read_spec(text, registry=registry)
    again = read_spec(spec.to_yaml(), registry=registry)
    assert spec.filled() == again.filled() == whole
    assert spec.digest() == again.digest()
    assert spec.to_yaml() == again.to_yaml()


def test_every_default_is_written_out(read: Read, good: str) -> None:
    whole = read(good).filled()
    assert whole["conditions"]["text"] == {
        "use": "words", "dim": 16, "model": "small", "padding": "mask", "column": "text", "dropout": 0.1, "trainable": False
    }  # fmt: skip
    assert whole["injectors"][0] == {"use": "film", "heads": 2, "gate": None, "name": "film", "streams": ["text"], "sites": ["*"]}
    assert whole["sampler"] == {"use": "ddim", "eta": 0.5, "orders": [1, 2], "steps": 20, "spacing": "trailing", "ends": "clean"}
    assert whole["train"]["precision"] == "auto"
    assert "autoencoder" not in whole


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("name: good", "name: other", True),
        ("seed: 7", "seed: 8", True),
        ("lr: 1e-4", "lr: 2e-4", True),
        ("scale: 2.5", "scale: 5", True),
        ("steps: 20", "steps: 30", True),
        ("dim: 16", "dim: 16, dropout: 0.2", True),
        ("dim: 16", "dim: 16, model: small", True),
        ("schedule: cosine,", "schedule: cosine, weighting: min_snr, clip: 1,", True),
        (
            "  text: {use: words, dim: 16}\n  label:\n    use: label\n    names: [cat, dog]\n",
            "  label:\n    use: label\n    names: [cat, dog]\n  text: {use: words, dim: 16}\n",
            True,
        ),
        ("width: 64", "width: 32", False),
        ("heads: 2", "heads: 4", False),
        ("dim: 16", "dim: 8", False),
        ("prediction: v", "prediction: sample", False),
        ("schedule: cosine", "schedule: linear", False),
        ("height: 8", "height: 16", False),
        ("[cat, dog]", "[dog, cat]", False),
        ("[text, label]", "[label, text]", False),
        ("sites: [down.*, mid]", "sites: [down.*]", False),
    ],
)
def test_the_digest_holds_what_weights_mean(read: Read, good: str, old: str, new: str, same: bool) -> None:
    assert good.count(old) == 1
    assert (read(good).digest() == read(good.replace(old, new)).digest()) is same


def test_the_digest_of_yesterday_is_todays(read: Read, good: str) -> None:
    """It lies in checkpoints: where it becomes another, every run that there is stands apart from its own spec."""
    assert read(good).digest() == "eff3cbe2a1bdc36676f53224ada996230920d55e1fd03a7e9079de59df49f526"
    assert (
        read(good.replace("[cat, dog]", "[cat, 犬]") + "lora: {rank: 2}\nautoencoder: {use: kl}\n").digest()
        == "da8731b46925c0dc62df05b4f5bc546dac73bc171a0ed8299ed7a8e7b72cf7ae"
    )


def test_what_lies_beside_a_spec_is_a_path_where_it_is_filled(read: Read, good: str, tmp_path: Path) -> None:
    """`here:` would be somewhere else there; any other text is left as it is."""
    for written, filled in (("here:weights", str(tmp_path / "weights")), ("weights", "weights"), ("null", None)):
        whole = read(f"{good}autoencoder: {{use: kl, folder: {written}}}\n").filled()
        assert whole["autoencoder"]["folder"] == filled


def test_what_is_filled_reads_as_it_was_written(read: Read, good: str) -> None:
    """In the order of the sections, in the letters of its author, without quotes that nobody needs."""
    spec = read(good.replace("[cat, dog]", "[猫, '12', '99999999999999999999999999', '1e-4']"))
    text = spec.to_yaml()
    assert json.loads(json.dumps(spec.filled())) == spec.filled(), "lists, and no tuples"
    assert [line.partition(":")[0] for line in text.splitlines() if line[0].isalpha()] == list(spec.filled())
    assert "\nname: good\n" in text
    assert '- 猫 - "12" - "99999999999999999999999999" - "1e-4"' in " ".join(text.split())


def test_specs_are_compared_by_what_they_say(good: str, registry: Registry) -> None:
    """Not by the registry that they were read with, which no text of them shows."""
    one, two = read_spec(good, registry=registry), read_spec(good, registry=registry.extended({("metric", "more"): dict}))
    assert one == two
    assert one.backbone == two.backbone
    assert "Registry" not in repr(one)
    assert one != read_spec(good.replace("seed: 7", "seed: 8"), registry=registry)


def test_provenance_names_who_provides_each_part(read: Read, good: str) -> None:
    spec = read(good)
    assert spec.provenance["backbone.net"] == "in-memory"
    assert set(spec.provenance) == {
        "encoder.words", "encoder.label", "injector.film", "injector.add", "backbone.net", "guider.cfg", "sampler.ddim",
        "dataset.digits", "metric.score",
    }  # fmt: skip


@pytest.mark.parametrize("letter", ["\x85", "\u2028", "\u2029", "\ufeff", "\n", "\t", "\xa0"])
def test_letters_that_yaml_folds_come_back(letter: str, good: str, registry: Registry) -> None:
    for text in (letter, f"a{letter}b", f"{letter}b"):
        spec = read_spec(good, overrides=[f"conditions.label.names=[{json.dumps(text)}]"], registry=registry)
        again = read_spec(spec.to_yaml(), registry=registry)
        assert again.conditions["label"].part.options["names"] == (text,)
