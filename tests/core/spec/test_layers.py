"""extends and --set: one spec over another, and the command line over both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cdkit.errors import UsageError
from cdkit.registry import Registry
from cdkit.spec import Spec, SpecErrors, read_spec

Read = Callable[..., Spec]
Complaints = Callable[..., list[str]]


def over(child: str, read: Read, good: str) -> Spec:
    return read(f"cdkit: 1\nextends: base.yaml\n{child}", others={"base.yaml": good})


def test_mappings_are_merged_and_lists_replaced(read: Read, good: str) -> None:
    spec = over(
        "name: child\ntrain: {steps: 5}\nbackbone: {mult: [1]}\ninjectors:\n  - {use: add, streams: [text, label]}\n", read, good
    )
    assert (spec.name, spec.train.steps, spec.train.lr) == ("child", 5, 1e-4)
    assert (spec.backbone.options["width"], spec.backbone.options["mult"]) == (64, (1,))
    assert [injector.name for injector in spec.injectors] == ["add"]


def test_another_use_replaces_the_whole_mapping(read: Read, good: str) -> None:
    spec = over("conditions:\n  text: {use: map}\n", read, good)
    assert (spec.conditions["text"].part.use, spec.conditions["text"].part.options) == ("map", {"scale": 1.0})
    assert over("conditions:\n  text: {use: words, model: big}\n", read, good).conditions["text"].part.options["dim"] == 16


def test_null_takes_away_and_is_null_where_an_option_takes_it(read: Read, good: str) -> None:
    spec = over("guidance: null\nbackbone: {width: null}\ntrain: {ema: null}\nevaluate: null\n", read, good)
    assert spec.guidance is None
    assert spec.backbone.options["width"] == 32
    assert spec.train.ema is None
    assert spec.evaluate == []
    gone = over("conditions: {label: null}\ninjectors:\n  - {use: film, streams: [text]}\n", read, good)
    assert list(gone.conditions) == ["text"]


def test_null_over_a_value_is_null_where_an_option_takes_it_and_the_default_elsewhere(read: Read, good: str) -> None:
    base = good.replace("steps: 100", "steps: 100\n  ema: 0.5")
    child = "cdkit: 1\nextends: base.yaml\ntrain: {ema: null, lr: null, batch: 2}\nbackbone: {width: null, mult: [1]}\n"
    spec = read(child, others={"base.yaml": base})
    assert (spec.train.ema, spec.train.lr, spec.train.batch) == (None, 3e-4, 2)
    assert (spec.backbone.options["width"], spec.backbone.options["mult"]) == (32, (1,))


def test_what_stands_behind_what_is_taken_away_is_read(read: Read, good: str) -> None:
    injectors = "injectors:\n  - {use: film, streams: [label]}\n"
    assert list(over(f"conditions: {{text: null}}\n{injectors}", read, good).conditions) == ["label"]


def test_places_are_those_of_the_file_that_says_it(complaints: Complaints, good: str) -> None:
    told = complaints(
        "cdkit: 1\nextends: base.yaml\ntrain: {lrr: 1}\n", others={"base.yaml": good.replace("width: 64", "widht: 64")}
    )
    assert told == [
        "base.yaml:15:22: backbone.widht: unknown key 'widht'; did you mean 'width'?",
        "s.yaml:3:9: train.lrr: unknown key 'lrr'; did you mean 'lr'?",
    ]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("s.yaml", "s.yaml:2:10: extends: specs extend each other in a circle: s.yaml -> s.yaml"),
        ("b.yaml", "c.yaml:1:10: extends: specs extend each other in a circle: b.yaml -> c.yaml -> b.yaml"),
        ("none.yaml", "s.yaml:2:10: extends: there is no spec none.yaml"),
        ("../b.yaml", "s.yaml:2:10: extends: '../b.yaml' is no file beside this one; expected a name such as base.yaml"),
        ("/etc/passwd", "s.yaml:2:10: extends: '/etc/passwd' is no file beside this one; expected a name such as base.yaml"),
        (
            "http://x/y.yaml",
            "s.yaml:2:10: extends: 'http://x/y.yaml' is no file beside this one; expected a name such as base.yaml",
        ),
        ("${HOME}.yaml", "s.yaml:2:10: extends: '${HOME}.yaml' is no file beside this one; expected a name such as base.yaml"),
        ("[a.yaml]", "s.yaml:2:10: extends: a list is no file beside this one; expected a name such as base.yaml"),
    ],
)
def test_what_cannot_be_extended_is_refused(complaints: Complaints, tmp_path: Path, name: str, line: str) -> None:
    others = {"b.yaml": "extends: c.yaml\n", "c.yaml": "extends: b.yaml\n"}
    told = complaints(f"cdkit: 1\nextends: {name}\n", others=others)
    assert [complaint.replace(f"{tmp_path}/", "") for complaint in told] == [line]


def test_a_link_does_not_hide_a_circle(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").symlink_to("a.yaml")
    with pytest.raises(SpecErrors, match="in a circle"):
        read_spec(tmp_path / "a.yaml", registry=registry)


@pytest.mark.parametrize(
    ("override", "where", "value"),
    [
        ("backbone.width=128", lambda s: s.backbone.options["width"], 128),
        ("train.lr=1e-3", lambda s: s.train.lr, 1e-3),
        ("train.ema=null", lambda s: s.train.ema, None),
        ("train.prompts=[a cat, two dogs]", lambda s: s.train.prompts, ("a cat", "two dogs")),
        ("injectors.0.heads=8", lambda s: s.injectors[0].part.options["heads"], 8),
        ("injectors.0={heads: 8}", lambda s: (s.injectors[0].streams, s.injectors[0].part.options["heads"]), (("text",), 8)),
        ("injectors.1={use: add, name: plus, streams: [label]}", lambda s: s.injectors[1].name, "plus"),
        ("backbone.mult.2=8", lambda s: s.backbone.options["mult"], (1, 2, 8)),
        ("sampler={use: ddim, steps: 5}", lambda s: (s.sampler.steps, s.sampler.part.options["eta"]), (5, 0.5)),
        ("guidance=null", lambda s: s.guidance, None),
        ("guidance.scales.text=2", lambda s: s.guidance.options["scales"], {"text": 2.0}),
        ("autoencoder.use=kl", lambda s: s.autoencoder.part.use, "kl"),
        ("name=other", lambda s: s.name, "other"),
        ("conditions.text.model=a=b", lambda s: s.conditions["text"].part.options["model"], "a=b"),
    ],
)
def test_set_goes_over_the_file(read: Read, good: str, override: str, where: Callable[[Spec], Any], value: Any) -> None:
    assert where(read(good, override)) == value


def test_set_does_not_change_what_it_does_not_name(read: Read, good: str) -> None:
    assert read(good, "train.steps=100").filled() == read(good).filled()
    changed = read(good, "train.steps=7").filled()
    assert {key for key, value in read(good).filled().items() if changed[key] != value} == {"train"}


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("backbone.widht=3", "--set backbone.widht: backbone.widht: unknown key 'widht'; did you mean 'width'?"),
        ("backbon.width=3", "--set backbon.width: backbon: unknown key 'backbon'; did you mean 'backbone'?"),
        ("train.steps=fifty", "--set train.steps: train.steps: 'fifty' is text; expected an integer greater than 0"),
        (
            "injectors.2.heads=3",
            "--set injectors.2.heads: injectors: '2' is no entry of this list; expected an index from 0 to 1",
        ),
        (
            "injectors.film.heads=3",
            "--set injectors.film.heads: injectors: 'film' is no entry of this list; expected an index from 0 to 1",
        ),
        (
            "backbone.mult=[1, 2",
            "--set backbone.mult: no YAML: expected ',' or ']', but got '<stream end>' while parsing a flow sequence",
        ),
        ("backbone.width=&a 3", "--set backbone.width: an anchor (&a); a spec is plain data"),
        ("backbone.width=99999999999999999999", "--set backbone.width: '99999999999999999999': integer out of 64-bit range"),
        ("sampler.use=ddmi", "--set sampler.use: sampler.use: there is no sampler 'ddmi'; did you mean 'ddim' (in-memory)?"),
        ("name=a\x07b", "--set name:1:2: the control character U+0007 at byte 1; expected text"),
        ("extends=other.yaml", "--set extends: extends: only a file can extend another"),
    ],
)
def test_a_wrong_set_is_named_by_itself(complaints: Complaints, good: str, override: str, line: str) -> None:
    assert complaints(good, override) == [line]


@pytest.mark.parametrize("override", ["backbone.width", "=3", "a..b=3", ".a=3", " a=3", ""])
def test_a_set_without_key_or_value_is_a_usage_error(read: Read, good: str, override: str) -> None:
    with pytest.raises(UsageError, match="is no KEY=VALUE") as caught:
        read(good, override)
    assert (caught.value.exit_code, caught.value.hint) == (2, "write it as --set backbone.width=64")
