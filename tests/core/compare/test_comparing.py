"""A comparison from file to page: arms that start alike, a budget that is kept, an interruption that changes nothing."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cdkit.compare.arms import birth, cells
from cdkit.compare.job import Unfinished
from cdkit.compare.price import price_of
from cdkit.compare.read import read_comparison
from cdkit.compare.report import report
from cdkit.compare.result import as_csv, result_of
from cdkit.compare.run import Comparing
from cdkit.errors import CdkitError, SpecError, UsageError
from cdkit.spec import SpecErrors
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parents[3]
BASE = """
cdkit: 1
name: base
sample: {channels: 1, height: 8, width: 8}
conditions:
  text: {use: bytes, dim: 8, depth: 1, heads: 1, dropout: 0.2}
injectors:
  - {use: cross_attention, streams: [text], heads: 1}
backbone: {use: unet, width: 8, mult: [1], blocks: 1, attention: [0], heads: 1}
diffusion: {schedule: cosine, prediction: v}
guidance: {use: cfg, scale: 1.5}
sampler: {use: euler, steps: 2}
data: {use: digits}
train: {steps: 4, batch: 4, warmup: 1, log_every: 1, sample_every: 0, checkpoint_every: 2, prompts: [seven]}
"""
COMPARISON = """
compare: 1
name: small
base: base.yaml
seeds: [0, 1]
guidance: [1.0]
timing: false
arms:
  asked:
  told: {injectors: [{use: film, streams: [text]}]}
  none: {conditions: null, injectors: [], guidance: null, train: {prompts: null}}
score: {use: identification, pairs: 12, candidates: 4, levels: [0.5]}
prompts: [one, seven]
"""
Write = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Write:
    """A comparison's file beside its base, with replacements in either."""

    def write(*replacements: tuple[str, str]) -> Path:
        texts = {"base.yaml": BASE, "small.yaml": COMPARISON}
        for old, new in replacements:
            assert any(old in text for text in texts.values()), old
            texts = {name: text.replace(old, new) for name, text in texts.items()}
        for name, text in texts.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / "small.yaml"

    return write


def compared(path: Path, folder: Path, minutes: float | None = None) -> tuple[dict[str, Any], list[str]]:
    """What came of it, and what was said on the way."""
    said: list[str] = []
    comparing = Comparing(read_comparison(path), folder, device="cpu", minutes=minutes, say=said.append)
    return result_of(comparing, comparing.go()), said


def timeless(result: dict[str, Any]) -> str:
    """A result without what a clock says."""
    arms = {name: {key: value for key, value in arm.items() if key != "seconds"} for name, arm in result["arms"].items()}
    return json.dumps([arms, result["verdicts"], result["births"]], sort_keys=True)


def test_from_the_file_to_the_page(written: Write, tmp_path: Path) -> None:
    result, said = compared(written(), tmp_path / "out")
    assert said[0] == "1 of 6: asked, seed 0, 4 steps"
    assert list(result["arms"]) == ["asked", "told", "none"]
    assert set(result["verdicts"]["identification"]) == {"told", "none"}
    assert result["arms"]["none"]["guidance"] is None
    assert result["budget"]["steps"]["deviation"] == {"asked": 0.0, "told": 0.0, "none": 0.0}
    assert any("film" in line for line in result["differences"]["told"])
    page = report(result, tmp_path / "out")
    assert not re.findall(r"https?://", page), "it asks no network"
    assert set(re.findall(r'id="picture-(\w+)-\d+"', page)) == {"asked", "told", "none"}
    assert len(as_csv(result).splitlines()) == 1 + 3 * 2


def test_a_finished_comparison_is_not_run_again(written: Write, tmp_path: Path) -> None:
    path = written()
    first, _ = compared(path, tmp_path / "out")
    again, said = compared(path, tmp_path / "out")
    assert said == []
    assert timeless(again) == timeless(first)


@pytest.mark.slow
def test_one_changed_arm_is_run_and_no_other(written: Write, tmp_path: Path) -> None:
    compared(written(), tmp_path / "out")
    _, said = compared(written(("{use: film, streams: [text]}", "{use: add, streams: [text]}")), tmp_path / "out")
    assert {line.split(", ")[0].split(": ")[-1] for line in said} == {"told"}


@pytest.mark.slow
def test_an_interrupted_comparison_ends_the_same(written: Write, tmp_path: Path) -> None:
    path = written()
    whole, _ = compared(path, tmp_path / "whole")
    comparing = Comparing(read_comparison(path), tmp_path / "cut", device="cpu", minutes=None, say=lambda _: None)
    for cell in comparing.cells[:3]:
        comparing.train(cell, "some")
    with pytest.raises(Unfinished):
        compared(path, tmp_path / "cut", minutes=1e-6)
    rest, said = compared(path, tmp_path / "cut")
    assert said[0].startswith("4 of 6")
    assert timeless(rest) == timeless(whole)


def test_backbones_are_bit_equal_at_birth(written: Write) -> None:
    made = cells(read_comparison(written()).arms, (0, 1), dict.fromkeys(("asked", "told", "none"), 4))
    births = {(cell.arm, cell.seed): birth(cell.spec) for cell in made}
    assert len({births[arm, 0] for arm in ("asked", "told", "none")}) == 1
    assert births["asked", 0] != births["asked", 1]


@pytest.mark.slow
def test_every_method_speaks_as_loudly_at_birth_if_asked(written: Write, tmp_path: Path) -> None:
    path = written(("name: small", "name: small\ninit: unit_response"))
    result, said = compared(path, tmp_path / "out")
    assert said[0].startswith("1 of 6")
    for arm, method in (("asked", "cross_attention"), ("told", "film")):
        assert all(abs(response[method] / 0.1 - 1) <= 0.05 for response in result["arms"][arm]["responses"])
    assert result["arms"]["none"]["responses"] == [{}, {}]
    _, again = compared(written(), tmp_path / "out")
    assert len([line for line in again if "of 6" in line]) == 6, "another birth is another training"


@pytest.mark.slow
def test_guidance_and_average_are_chosen_together_on_the_validation_split(written: Write, tmp_path: Path) -> None:
    path = written(
        ("guidance: [1.0]", "guidance: [1.0, 3.0]\nema: [0.06, 0.15]"),
        ("steps: 4,", "steps: 32,"),
        ("seeds: [0, 1]", "seeds: [0]"),
    )
    result, _ = compared(path, tmp_path / "out")
    told = result["arms"]["told"]
    assert set(told["validation"]) == {"1.0-0.06", "3.0-0.06", "1.0-0.15", "3.0-0.15"}
    best = max(told["validation"].values())
    assert told["validation"][f"{told['guidance']}-{told['ema']}"] == best
    assert set(result["arms"]["none"]["validation"]) == {"None-0.06", "None-0.15"}


@pytest.mark.slow
def test_exchanging_the_reference_mirrors_the_verdict(written: Write, tmp_path: Path) -> None:
    there, _ = compared(written(), tmp_path / "out")
    back, _ = compared(written(("name: small", "name: small\nreference: told")), tmp_path / "out")
    one, other = there["verdicts"]["identification"]["told"], back["verdicts"]["identification"]["asked"]
    assert (one["difference"], one["low"], one["high"]) == (-other["difference"], -other["high"], -other["low"])


@pytest.mark.parametrize("axis", ["macs", pytest.param("seconds", marks=pytest.mark.slow)])
def test_a_budget_is_matched(written: Write, tmp_path: Path, axis: str) -> None:
    path = written(("steps: 4,", "steps: 200,"), ("name: small", f"name: small\nmatch: {axis}"))
    comparing = Comparing(read_comparison(path), tmp_path / "out", device="cpu", minutes=None, say=lambda _: None)
    steps = {cell.arm: cell.spec.train.steps for cell in comparing.cells}
    assert steps["asked"] == 200
    if axis == "macs":
        spent = {arm: steps[arm] * comparing.prices[arm].step for arm in steps}
        assert all(abs(value / spent["asked"] - 1) <= 0.01 for value in spent.values())
        assert steps["none"] > 200, "who does less gets more steps"
    else:
        again = Comparing(read_comparison(path), tmp_path / "out", device="cpu", minutes=None, say=lambda _: None)
        assert {cell.arm: cell.spec.train.steps for cell in again.cells} == steps, "measured once"


def test_a_budget_of_too_few_steps_is_refused(written: Write, tmp_path: Path) -> None:
    path = written(("name: small", "name: small\nmatch: macs"))
    with pytest.raises(UsageError, match="miss the budget in macs by") as caught:
        Comparing(read_comparison(path), tmp_path / "out", device="cpu", minutes=None, say=lambda _: None)
    assert "give the reference more train.steps" in caught.value.hint


def test_a_price_is_what_is_multiplied(written: Write) -> None:
    """The same network with real tensors: torch's own counter, and the weights one by one.

    Attention is asked for as plain products: not every torch counts what its fused kernel does on a CPU.
    """
    import torch
    from cdkit.build import assemble
    from torch.nn.attention import SDPBackend, sdpa_kernel

    spec = read_comparison(written()).arms["told"]
    price, model = price_of(spec), assemble(spec)
    with torch.no_grad():
        signals = model.prepare(model.joined(model.encode({"text": ["one"]})))
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model.backbone(torch.zeros(1, 1, 8, 8), torch.zeros(1), signals)
    assert price.forward == counter.get_total_flops() // 2
    assert price.parameters == sum(weight.numel() for weight in model.backbone.parameters())
    assert price.taps == sum(w.numel() for name, w in model.backbone.named_parameters() if ".taps." in name)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("none: {", "none: {sample: {height: 16}, ", r"arms.none: differs from 'asked' in sample, and arms may differ in"),
        ("prompts: null", "prompts: null, lr: 0.1", r"arms.none: differs from 'asked' in train"),
        ("seeds:", "seed:", r"unknown key 'seed'; did you mean 'seeds'\?"),
        ("use: film", "use: flim", r"there is no injector 'flim'; did you mean 'film' \(cdkit=="),
        ("name: small", "name: small\nreference: asking", r"reference: there is no arm 'asking'; arms are asked, told, none"),
        ("use: identification", "use: identificatoin", r"there is no metric 'identificatoin'"),
        ("base: base.yaml", "base: https://example.org/base.yaml", r"is no path from here; expected a spec such as \.\./digits"),
        ("told:", "To ld:", r"'To ld' is no name; expected lower-case letters"),
        ("[1.0]", "[-1.0]", r"guidance.0: -1.0 is out of range"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(written: Write, old: str, new: str, message: str) -> None:
    with pytest.raises(SpecErrors, match=message) as caught:
        read_comparison(written((old, new)))
    assert re.search(r"\.yaml:\d+:\d+: ", str(caught.value))


def test_unfair_on_purpose_has_to_be_said(written: Write) -> None:
    declared = ("name: small", "name: small\nvary: [conditions, injectors, guidance, train]")
    assert read_comparison(written(("prompts: null", "prompts: null, lr: 0.1"), declared)).arms["none"].train.lr == 0.1


def test_what_every_arm_gets_is_said_once(written: Write) -> None:
    comparison = read_comparison(
        written(("name: small", "name: small\nevery: {train: {steps: 9, prompts: null}, backbone: {width: 16}}"))
    )
    assert {spec.train.steps for spec in comparison.arms.values()} == {9}
    assert {spec.backbone.options["width"] for spec in comparison.arms.values()} == {16}


def test_two_arms_are_the_least(written: Write) -> None:
    with pytest.raises(SpecErrors, match="arms: a mapping of 1; expected a mapping of two arms at least"):
        read_comparison(written(("  told: {injectors: [{use: film, streams: [text]}]}\n", ""), ("  none:", "  asked:")))


def test_an_arm_that_ignores_its_words_is_refused(written: Write, tmp_path: Path) -> None:
    path = written(
        (
            "told: {injectors: [{use: film, streams: [text]}]}",
            "told: {injectors: [{use: film, streams: [text], sites: [nowhere]}]}",
        )
    )
    with pytest.raises(SpecError, match=r"arm 'told': .*matches no site"):
        Comparing(read_comparison(path), tmp_path / "out", device="cpu", minutes=None, say=lambda _: None)


@pytest.mark.parametrize("path", sorted((ROOT / "specs" / "compare").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_comparisons_read(path: Path) -> None:
    comparison = read_comparison(path)
    assert comparison.keys.name == path.stem
    for spec in comparison.arms.values():
        price_of(spec)


def test_two_scores_of_one_name_are_refused(written: Write) -> None:
    path = written(("prompts: [one, seven]", "also:\n  - {use: identification, pairs: 6}\nprompts: [one, seven]"))
    with pytest.raises(SpecErrors, match=r"small\.yaml:\d+:\d+: also: a second identification; scores are told apart"):
        read_comparison(path)


@pytest.mark.slow
def test_what_an_arm_takes_is_measured_once_and_is_in_page_and_table(written: Write, tmp_path: Path) -> None:
    path, folder = written(("timing: false", "timing: true")), tmp_path / "out"
    result, said = compared(path, folder)
    turns = [f"{arm}: how fast is it? {number} of 3" for number in (1, 2, 3) for arm in result["arms"]]
    assert [line for line in said if "how fast" in line] == turns, "in turn, so that what slows the machine slows all"
    for arm in result["arms"].values():
        assert arm["speed"]["pictures_a_second"] > 0
        assert 0 < arm["speed"]["latency"]["16"] < arm["speed"]["latency"]["1"]
        assert arm["speed"]["training_memory"] > 4 * 3 * arm["price"]["parameters"], "weights, gradients and moments at least"
        assert arm["speed"]["sampling_memory"] > 4 * arm["price"]["parameters"]
    assert "ms a picture, 16 at once" in report(result, folder)
    rows = list(csv.DictReader(io.StringIO(as_csv(result))))
    assert float(rows[0]["seconds_a_picture"]) == result["arms"]["asked"]["speed"]["latency"]["1"]
    again, said = compared(path, folder)
    assert not [line for line in said if "how fast" in line]
    assert again["arms"]["asked"]["speed"] == result["arms"]["asked"]["speed"]


@pytest.mark.slow
def test_it_is_asked_after_how_many_steps_words_are_heard(written: Write, tmp_path: Path) -> None:
    hears = "heard: {use: identification, pairs: 12, candidates: 4, levels: [0.5]}"
    result, _ = compared(written(("prompts: [one, seven]", f"{hears}\nprompts: [one, seven]")), tmp_path / "out")
    arms = result["arms"]
    assert arms["none"]["heard"] == []
    for name in ("asked", "told"):
        for seed, step in enumerate(arms[name]["heard"]):
            kept = json.loads((tmp_path / "out" / "scores" / f"{arms[name]['runs'][seed]}-heard.json").read_text())
            asked = {int(at): share for at, share in kept["asked"].items()}
            passed = [at for at, share in asked.items() if share >= 0.25 + 0.10]
            assert step == (passed[0] if passed else None)
            assert max(asked) == (step or 4), "asked no further than where it was heard"
    assert "heard after steps" in report(result, tmp_path / "out")


@pytest.mark.slow
def test_a_metric_that_knows_no_chance_cannot_say_when_words_are_heard(written: Write, tmp_path: Path) -> None:
    path = written(("prompts: [one, seven]", "heard: {use: frechet, pictures: 16, epochs: 1}\nprompts: [one, seven]"))
    with pytest.raises(CdkitError, match="Frechet does not say what chance is"):
        compared(path, tmp_path / "out")
