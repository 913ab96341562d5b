"""`cdkit bench`: every row is measured and adds up; on a CPU plain and hastened are one path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cdkit.build import assemble
from cdkit.build.work import work
from cdkit.cli.app import cdkit
from cdkit.spec import read_spec
from click.testing import CliRunner

DIGITS = Path(__file__).parents[3] / "specs" / "digits.yaml"


def test_one_row_for_each_thing_and_batch() -> None:
    words = ["bench", str(DIGITS), "--device", "cpu", "--batch", "1", "--batch", "2", "--rounds", "1", "--json"]
    done = CliRunner().invoke(cdkit, [*words, "--set", "sampler.steps=2"], catch_exceptions=False)
    rows = json.loads(done.stdout)["rows"]
    assert [(row["what"], row["batch"]) for row in rows] == [(w, b) for w in ("denoiser", "sample", "train") for b in (1, 2)]
    for row in rows:
        assert row["plain"] > 0
        assert row["ratio"] == row["plain"] / row["fast"]
    macs = work(assemble(read_spec(DIGITS), device="meta")).macs
    assert rows[0]["macs"] == pytest.approx(macs / (rows[0]["fast"] / 1e3))


def test_the_work_of_stable_diffusion_is_the_published_one() -> None:
    """338.6 GMAC of convolutions and products, the figure that papers quote, and attention's beside them: 401.6 in all."""
    model = assemble(read_spec(DIGITS.with_name("sd_like.yaml"), overrides=()), device="meta")
    told = work(model)
    assert told.macs + told.prepare_macs * 77 // 7 == pytest.approx(401.6e9, rel=0.015)
    assert sum(told.parts.values()) == pytest.approx(told.macs, rel=1e-3)
    assert set(told.sites) == {site.name for site in model.sites}
    assert all(told.sites.values())
    assert 0.9e-3 < told.seconds < 1.5e-3, "at batch 1 the weights' way through memory counts"
    assert 1e9 < told.activations < 4e9
