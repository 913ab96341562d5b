"""`cdkit bench`: every row is measured and adds up; on a CPU plain and hastened are one path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from cdkit.build import assemble
from cdkit.build.liveness.streams import random_streams
from cdkit.build.work import work
from cdkit.cli.app import cdkit
from cdkit.parts import Foreign, Stream
from cdkit.registry import Registry
from cdkit.spec import read_spec
from click.testing import CliRunner

DIGITS = Path(__file__).parents[3] / "specs" / "digits.yaml"


def test_one_row_for_each_thing_and_batch() -> None:
    words = ["bench", str(DIGITS), "--device", "cpu", "--batch", "1", "--batch", "2", "--rounds", "1", "--json"]
    done = CliRunner().invoke(cdkit, [*words, "--set", "sampler.steps=2"], catch_exceptions=False)
    rows = json.loads(done.stdout)["rows"]
    assert [(row["what"], row["batch"]) for row in rows] == [(w, b) for w in ("denoiser", "sample", "train") for b in (1, 2)]
    for row in rows:
        assert row["against"] == "plain"
        assert row["other"] > 0
        assert row["ratio"] == row["other"] / row["fast"]
    macs = work(assemble(read_spec(DIGITS), device="meta")).macs
    assert rows[0]["macs"] == pytest.approx(macs / (rows[0]["fast"] / 1e3))


LIKE_SD = ("backbone.width=32", "backbone.groups=8", "backbone.mult=[1, 2]", "backbone.attention=[0, 1]", "sample.height=16")
LIKE_SD += ("sample.width=16", "conditions.text={use: bytes, dim: 24, depth: 1}", "autoencoder=null")


def test_diffusers_network_is_measured_over_the_same_weights() -> None:
    words = ["bench", str(DIGITS.with_name("sd_like.yaml")), "--against", "diffusers", "--rounds", "1", "--device", "cpu"]
    for told in LIKE_SD:
        words += ["--set", told]
    rows = json.loads(CliRunner().invoke(cdkit, [*words, "--json"], catch_exceptions=False).stdout)["rows"]
    assert [(row["what"], row["against"]) for row in rows] == [("denoiser", "diffusers"), ("train", "diffusers")]
    assert all(row["other"] > 0 for row in rows)
    assert "other: diffusers\n" in CliRunner().invoke(cdkit, [*words, "--what", "denoiser"]).stdout


@pytest.mark.parametrize("method", ["cross_attention", "cdkit/cross_attention"])
def test_diffusers_network_answers_as_ours(method: str) -> None:
    named = f"injectors=[{{use: {method}, streams: [text], heads: 8, padding: attend}}]"
    spec = read_spec(DIGITS.with_name("sd_like.yaml"), overrides=(*LIKE_SD, named))
    model = assemble(spec).eval()
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.normal_(0, 0.1)
    peer = (
        Registry.installed().get("format", "diffusers")().network(Foreign(spec.filled(), model.backbone.state_dict(), None, {}))
    )
    x, t, streams = torch.randn(2, *model.shape), torch.tensor([10.0, 700.0]), random_streams(model, 2, torch.device("cpu"))
    with torch.no_grad():
        ours, theirs = model.backbone(x, t, model.prepare(streams)), peer(x, t, streams)
        other = peer(x, t, {"text": Stream(tokens=torch.zeros_like(streams["text"].tokens))})
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4 * float(ours.abs().max()))
    assert float((other - theirs).norm() / theirs.norm()) > 1e-3, "it hears the words"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["digits.yaml", "--against", "diffusers"], "Stable Diffusion's layout"),
        (["digits.yaml", "--against", "compvis"], "--against compvis: that format has no network to measure"),
        (["digits.yaml", "--against", "difusers"], "difusers"),
        (["sd_like.yaml", "--against", "diffusers", "--what", "sample"], "against diffusers there are denoiser and train"),
        (["digits.yaml", "--compiled"], "--compiled: says it of another library's network"),
    ],
)
def test_what_cannot_be_measured_is_said(words: list[str], said: str) -> None:
    done = CliRunner().invoke(cdkit, ["bench", str(DIGITS.with_name(words[0])), *words[1:], "--device", "cpu"])
    assert said in str(done.exception)


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
