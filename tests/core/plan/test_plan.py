"""The plan beside what was measured, and what has to hold of any plan."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from cdkit.cli.app import cdkit
from cdkit.plan.counted import Counted, counted
from cdkit.plan.machine import MACHINES
from cdkit.plan.plan import Way, course_of, memory_of, step_of
from cdkit.spec import read_spec
from click.testing import CliRunner

SPECS = Path(__file__).parents[3] / "specs"
H100 = MACHINES["h100"]
SD = Counted(867_397_572, 0, 815_533_444, 2_392_066_621_440, 274_814_016, 28_426_240, 18_360_832, 0)  # as `counted` has it
ONE = Way(gpus=1)
# Two H200, torch 2.11, 2026-11-27, docs/scaling.py: seconds of a step, bytes at most, those of recordings too.
MEASURED = {
    "one": (ONE, 0.1281, 30_626_807_808),
    "late": (Way(gpus=2), 0.1376, 31_771_852_800),
    "ddp": (Way(gpus=2, strategy="ddp"), 0.2340, 32_194_760_704),
    "fsdp2": (Way(gpus=2, strategy="fsdp2"), 0.4078, 26_415_158_272),
    "ddp, recompute": (Way(gpus=2, strategy="ddp", recompute=True), 0.3633, 21_988_228_608),
    "late, recompute": (Way(gpus=2, recompute=True), 0.3807, 19_772_069_376),
    "fsdp2, recompute": (Way(gpus=2, strategy="fsdp2", recompute=True), 0.5968, 12_648_882_688),
}


@pytest.mark.parametrize("name", MEASURED)
def test_it_is_within_fifteen_percent_of_what_was_measured(name: str) -> None:
    way, seconds, most = MEASURED[name]
    assert step_of(SD, H100, way).seconds == pytest.approx(seconds, rel=0.15)
    assert memory_of(SD, H100, way).most == pytest.approx(most, rel=0.15)


@pytest.mark.slow
def test_stable_diffusion_is_counted_as_it_says_here() -> None:
    told = ("conditions.text={use: bytes, dim: 768, heads: 12, depth: 1}", "autoencoder=null")
    found = counted(read_spec(SPECS / "sd_like.yaml", overrides=told))
    assert replace(found, levels=()) == SD
    assert [level.stride for level in found.levels] == [1, 2, 4, 8]


def test_divided_weights_need_less_the_more_gpus_there_are() -> None:
    most = [memory_of(SD, H100, Way(gpus=gpus, strategy="fsdp2", recompute=True)).most for gpus in (1, 2, 8, 64, 1000)]
    assert most == sorted(most, reverse=True)
    whole = {memory_of(SD, H100, Way(gpus=gpus)).most for gpus in (2, 8, 1000)}
    assert len(whole) == 1, "late needs as much on any number"


def test_more_gpus_take_less_time_but_for_the_price_of_being_several() -> None:
    for strategy in ("ddp", "late", "fsdp2"):
        steps = [step_of(SD, H100, Way(gpus=gpus, strategy=strategy)) for gpus in (1, 2, 8, 64, 1024)]
        assert [step.efficiency for step in steps] == sorted((step.efficiency for step in steps), reverse=True)
        days = [course_of(SD, step, Way(gpus=gpus), 1e9).days for step, gpus in zip(steps, (1, 2, 8, 64, 1024), strict=True)]
        assert days[1:] == sorted(days[1:], reverse=True)
    slow = step_of(SD, H100, Way(gpus=64, network=1e9))
    assert slow.exposed > 6, "seconds: gigabytes through one gigabyte a second can be hidden by nothing"


def test_failures_and_checkpoints_follow_from_their_rates() -> None:
    way = Way(gpus=1000)
    course = course_of(SD, step_of(SD, H100, way), way, 16e9)
    assert course.steps == 1_000_000
    assert course.checkpoint == 16 * SD.trained
    assert course.failures == pytest.approx(course.days * 1000 * 419 / 54 / 16_384)
    between = 86_400 / (1000 * 419 / 54 / 16_384)
    saving = course.checkpoint / way.disk
    assert course.interval == pytest.approx(math.sqrt(2 * saving * between))
    worse = [replace(course, interval=course.interval * factor) for factor in (0.5, 2)]
    lost = [saving / one.interval + (one.interval / 2 + way.restart) / between for one in worse]
    assert course.lost < min(lost), "no other interval loses less"


def test_a_small_network_is_counted_and_planned_by_the_command() -> None:
    asked = ["plan", str(SPECS / "digits.yaml"), "--gpus", "2", "--data", "2M", "--each", "32"]
    done = CliRunner().invoke(cdkit, [*asked, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["course"]["steps"] == 2_000_000 / 64
    assert told["memory"]["fits"]
    assert told["counted"]["trained"] > 0
    words = CliRunner().invoke(cdkit, [*asked, "--price", "2"]).stdout
    assert "31,250 steps" in words
    assert "cost" in words


def test_levels_that_are_made_again_are_planned() -> None:
    asked = ["plan", str(SPECS / "digits.yaml"), "--gpus", "1", "--data", "1M"]
    words = CliRunner().invoke(cdkit, [*asked, "--set", "train.recompute=[0, 1]"]).stdout
    assert words.startswith("digits on 1 x h100, late, recompute at level 0, 1, 16 pictures a step\n")
    done = CliRunner().invoke(cdkit, [*asked, "--set", "train.recompute=[2]"])
    assert "unet has no level 2; its levels are 0 (stride 1), 1 (stride 2)" in str(done.exception)


def test_what_cannot_be_planned_is_said() -> None:
    done = CliRunner().invoke(cdkit, ["plan", str(SPECS / "digits.yaml"), "--gpus", "2", "--data", "many"])
    assert "no number of pictures" in done.output
    done = CliRunner().invoke(cdkit, ["plan", str(SPECS / "digits.yaml"), "--gpus", "2", "--data", "1M", "--machine", "abacus"])
    assert "not measured; those that are: h100" in str(done.exception)
