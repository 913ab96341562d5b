"""Budgets: what is matched is alike within 1 %, on every axis that can be counted, or the arm is refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cdkit.build import assemble
from cdkit.compare import budget
from cdkit.compare.arms import UNLIKE, birth, cells
from cdkit.compare.budget import fitted, matched, step_times, training_macs
from cdkit.compare.price import price_of
from cdkit.compare.read import Axis, By, Comparison, read_comparison
from cdkit.compare.report import fairness
from cdkit.compare.report import matched as told
from cdkit.compare.resize import method_weights, nearest, with_inner
from cdkit.compare.result import result_of
from cdkit.compare.run import Comparing
from cdkit.errors import SpecError, UsageError
from cdkit.spec import SpecErrors
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[3]
SIX = read_comparison(ROOT / "specs" / "compare" / "budgets.yaml")
NAMES = [name for name in SIX.arms if name != SIX.reference]
BASE = """
cdkit: 1
name: base
sample: {channels: 1, height: 8, width: 8}
conditions:
  text: {use: bytes, dim: 16, depth: 1, heads: 1, dropout: 0.2}
injectors:
  - {use: cross_attention, streams: [text], heads: 1}
backbone: {use: unet, width: 16, mult: [1], blocks: 1, attention: [0], heads: 1}
diffusion: {schedule: cosine, prediction: v}
sampler: {use: euler, steps: 2}
data: {use: digits}
train: {steps: 4, batch: 4, warmup: 1, log_every: 1, sample_every: 0, checkpoint_every: 2, prompts: [seven]}
"""
COMPARISON = """
compare: 1
name: small
base: base.yaml
seeds: [0]
guidance: [1.0]
match: parameters
arms:
  asked:
  told: {injectors: [{use: film, streams: [text]}]}
  none: {conditions: null, injectors: [], train: {prompts: null}}
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


def asked(axis: Axis, by: By | None = None, arms: tuple[str, ...] = tuple(SIX.arms)) -> Comparison:
    """Some of the six, and their reference, matched in this axis."""
    kept = {name: SIX.arms[name] for name in (SIX.reference, *arms)}
    return replace(SIX, keys=replace(SIX.keys, match=axis, by=by), arms=kept)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_methods_get_as_many_weights(name: str) -> None:
    """Before, they had others by far; after, the network beside them is the same, and the whole arm so much nearer."""
    comparison = asked("parameters", arms=(name,))
    target = method_weights(comparison.arms[SIX.reference])
    assert abs(method_weights(SIX.arms[name]) / target - 1) > 0.1, "a test of nothing"
    arm = fitted(comparison).arms[name]
    assert abs(method_weights(arm) / target - 1) <= 0.01
    whole, beside = price_of(arm), price_of(SIX.arms[SIX.reference])
    assert whole.parameters - whole.taps == beside.parameters - beside.taps
    assert abs(whole.parameters / beside.parameters - 1) <= 0.001


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_arms_get_as_many_macs_by_their_width(name: str) -> None:
    arms = fitted(asked("macs", "inner", (name,))).arms
    assert abs(training_macs(arms[name]) / training_macs(arms[SIX.reference]) - 1) <= 0.01
    assert arms[name].train.steps == arms[SIX.reference].train.steps


def test_arms_get_as_many_macs_by_their_steps(tmp_path: Path) -> None:
    comparison = asked("macs")
    prices = {name: price_of(spec) for name, spec in comparison.arms.items()}
    steps = matched(comparison, prices, tmp_path, "cpu")
    spent = {name: steps[name] * prices[name].step for name in steps}
    assert all(abs(value / spent[SIX.reference] - 1) <= 0.01 for value in spent.values())
    assert fitted(comparison) is comparison, "no width is touched"


def test_a_batch_costs_what_its_pictures_do(tmp_path: Path) -> None:
    comparison = asked("macs", arms=("film",))
    halved = replace(SIX.arms["film"], train=replace(SIX.arms["film"].train, batch=32))
    comparison = replace(comparison, arms={**comparison.arms, "film": halved})
    prices = {name: price_of(spec) for name, spec in comparison.arms.items()}
    whole = matched(asked("macs", arms=("film",)), prices, tmp_path, "cpu")["film"]
    assert abs(matched(comparison, prices, tmp_path, "cpu")["film"] / whole - 2) < 0.01


def test_the_width_stands_in_the_spec_of_the_cell() -> None:
    spec = fitted(asked("parameters", arms=("add",))).arms["add"]
    inner = spec.filled()["injectors"][0]["inner"]
    assert inner == 270
    assert assemble(spec, device="meta").spec is spec
    assert cells({"add": spec}, (0,), {"add": 1})[0].key != cells({"add": SIX.arms["add"]}, (0,), {"add": 1})[0].key


def test_an_arm_that_is_alike_already_is_left_as_it_is() -> None:
    comparison = asked("parameters", arms=("film",))
    again = replace(comparison, arms={**comparison.arms, "twin": comparison.arms[SIX.reference]})
    assert fitted(again).arms["twin"] is comparison.arms[SIX.reference]


@given(st.integers(1, 10_000), st.integers(0, 10**6), st.floats(0.01, 1e6))
def test_the_nearest_width_is_found(grain: int, floor: int, target: float) -> None:
    """Of a cost that grows by leaps of any size: no width in thousandths is nearer, and none so near is shorter to write."""

    def cost(inner: float) -> float:
        return floor + grain * (round(inner * 1000) // 100)

    inner = nearest(cost, target)
    assert inner == round(inner, 1), "a leap is a tenth, so no more digits are needed"
    off = abs(cost(inner) - target)
    assert all(off <= abs(cost(max(1.0, inner + more)) - target) for more in (-0.1, 0.1))


def test_several_methods_are_resized_in_the_proportion_that_they_say(written: Write) -> None:
    arms = "told: {injectors: [{use: film, streams: [text], inner: 4}, {use: add, streams: [text], inner: 8}]}"
    comparison = read_comparison(written(("told: {injectors: [{use: film, streams: [text]}]}", arms), ("width: 16", "width: 32")))
    film, add = (injector.part.options["inner"] for injector in fitted(comparison).arms["told"].injectors)
    assert film == pytest.approx(add / 2, abs=1e-3)
    widths = [injector.part.options["inner"] for injector in with_inner(comparison.arms["told"], 10).injectors]
    assert widths == [5, 10]


def test_a_method_without_a_width_is_refused(written: Write) -> None:
    path = written(("{use: film, streams: [text]}", "{use: concat, streams: [text]}"))
    with pytest.raises(
        UsageError, match=r"arm 'told': the weights of its methods: 256, the reference's 4,288, and none"
    ) as found:
        fitted(read_comparison(path))
    assert "none of its injectors (concat) has an option `inner`" in str(found.value)
    assert "match another axis, or say `by: backbone`" in found.value.hint


def test_what_cannot_be_made_narrower_is_refused(written: Write) -> None:
    path = written(("{use: film, streams: [text]}", "{use: weights, streams: [text]}"))
    with pytest.raises(
        UsageError, match=r"at the nearest, with `inner: 1`, the reference's 4,288: \+\d+\.\d%, more than 1 %"
    ) as e:
        fitted(read_comparison(path))
    assert e.value.hint.startswith("narrower it cannot be: confine it to fewer `sites`")


def test_what_grows_by_leaps_is_refused(written: Write) -> None:
    """Sixteen heads at one site: attention's width is 16 or 32, and the reference's weights lie between."""
    path = written(
        ("  asked:", "  asked: {injectors: [{use: add, streams: [text], inner: 20}]}"),
        ("{use: film, streams: [text]}", "{use: cross_attention, streams: [text], heads: 16, sites: [mid.*]}"),
    )
    with pytest.raises(UsageError, match=r"arm 'told': .* at the nearest, with `inner: ") as found:
        fitted(read_comparison(path))
    assert "give its attention fewer `heads`" in found.value.hint


def test_a_reference_without_a_method_is_refused(written: Write) -> None:
    with pytest.raises(UsageError, match="the reference 'none' has no injector, so there is no weight to match"):
        fitted(read_comparison(written(("match: parameters", "match: parameters\nreference: none"))))


def test_two_names_of_one_width_are_refused(written: Write) -> None:
    path = written(("{use: film, streams: [text]}", "{use: add, streams: [text], hidden: 8}"))
    with pytest.raises(SpecError, match=r"add: hidden is 8 and inner is .*, but both name one width; expected one of the two"):
        fitted(read_comparison(path))


@pytest.mark.parametrize(
    ("axis", "by", "message"),
    [
        ("steps", "inner", "by: steps cannot be matched by the inner width of methods; expected steps"),
        ("parameters", "steps", "by: parameters cannot be matched by the number of steps; expected inner or backbone"),
        ("seconds", "backbone", "by: seconds cannot be matched by the backbone's width; expected steps"),
    ],
)
def test_an_axis_that_a_way_cannot_change_is_refused(written: Write, axis: str, by: str, message: str) -> None:
    with pytest.raises(SpecErrors, match=re.escape(message)):
        read_comparison(written(("match: parameters", f"match: {axis}\nby: {by}")))


WIDE = (("width: 16", "width: 128"), ("match: parameters", "match: parameters\nby: backbone"))


def test_a_backbone_is_widened_on_request(written: Write) -> None:
    comparison = read_comparison(written(*WIDE))
    arms = fitted(comparison).arms
    assert arms["none"].backbone.options["width"] > 128 == arms["asked"].backbone.options["width"]
    weights = {name: price_of(spec).parameters for name, spec in arms.items()}
    assert all(abs(count / weights["asked"] - 1) <= 0.01 for count in weights.values())
    assert abs(price_of(comparison.arms["none"]).parameters / weights["asked"] - 1) > 0.01, "a test of nothing"
    assert arms["told"].injectors == comparison.arms["told"].injectors


def test_a_small_backbone_that_grows_by_leaps_is_refused(written: Write) -> None:
    path = written(("match: parameters", "match: parameters\nby: backbone"))
    with pytest.raises(UsageError, match=r"arm '\w+': the weights of its network: .* with a backbone of `width: \d+`") as found:
        fitted(read_comparison(path))
    assert "take a wider one for all arms, or match `by: inner`" in found.value.hint


def test_the_report_says_that_weights_differ_at_birth(written: Write) -> None:
    """Proved of the births themselves: they are one without the request, and not with it."""
    arms = fitted(read_comparison(written(*WIDE))).arms
    assert birth(arms["asked"]) != birth(arms["none"])
    result = {"births": {"0": UNLIKE}, "init": "zero"}
    assert "not one network: their weights differed at birth" in fairness(result)
    assert "bit-equal" not in fairness(result)
    assert "bit-equal at birth (sha256 seed 0: abc)" in fairness(result | {"births": {"0": "abc"}})


@pytest.mark.slow
def test_a_comparison_in_parameters_from_file_to_result(written: Write, tmp_path: Path) -> None:
    comparing = Comparing(read_comparison(written()), tmp_path / "out", device="cpu", minutes=None, say=lambda _: None)
    result = result_of(comparing, comparing.go())
    assert set(result["budget"]) == {"steps", "parameters", "method", "macs", "seconds"}
    assert abs(result["budget"]["method"]["deviation"]["told"]) <= 0.01
    assert result["budget"]["method"]["deviation"]["none"] == -1
    assert any(line.startswith("+") and "inner: " in line for line in result["differences"]["told"])
    assert UNLIKE not in result["births"].values()
    assert told(result) == "parameters, by the inner width of methods; none had no method to be resized"


def test_a_busy_moment_does_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rounds go on until an arm's two fastest agree, and no longer; what was slow for a while is forgotten."""
    clock = iter([1.0, 2.0, 9.0, 2.01, 1.01, 2.3, 5.0, 7.0])
    monkeypatch.setattr(budget, "step_time", lambda *_: next(clock))
    assert step_times({"one": SIX.arms["film"], "other": SIX.arms["add"]}, tmp_path, "cpu") == {"one": 1.0, "other": 2.0}
    assert next(clock) == 5.0
