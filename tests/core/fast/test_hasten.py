"""A hastened model draws what it drew: in float32 to rounding, in bfloat16 within what its eight bits leave."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cdkit.build import assemble
from cdkit.conditions import Count
from cdkit.diffusion.process import Diffusion
from cdkit.fast import hasten
from cdkit.fast.recent import Recent
from cdkit.fast.rehearsal import rehearse
from cdkit.fast.shapes import row_of
from cdkit.model import Model
from cdkit.parts import Stream, Timed
from cdkit.registry import Registry
from cdkit.spec import read_spec

SPECS = Path(__file__).parents[3] / "specs"
PROMPTS = ["seven", "three"]


def made(*overrides: str, spec: str = "digits.yaml") -> Model:
    """Random weights with every zero gate opened, so that whatever is said shows."""
    model = assemble(read_spec(SPECS / spec, overrides=("sampler.steps=3", *overrides))).eval()
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1, generator=draws)
    for name in model.told:
        model.ledger.counts[name] = Count(told=9, silent=1)
    return model


def apart(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("spec", ["digits.yaml", "seed_text_query.yaml"])
def test_in_float32_it_draws_the_same_to_rounding(spec: str) -> None:
    values = PROMPTS
    plain = made(spec=spec).sample(values, seed=3, guidance=3.0).images
    drawn = hasten(made(spec=spec), torch.float32).sample(values, seed=3, guidance=3.0).images
    assert apart(drawn, plain) < 1e-5


def test_in_bfloat16_it_draws_nearly_the_same() -> None:
    plain = made().sample(PROMPTS, seed=3, guidance=3.0).images
    drawn = hasten(made()).sample(PROMPTS, seed=3, guidance=3.0).images
    other = made().sample(PROMPTS[::-1], seed=3, guidance=3.0).images
    assert 0 < apart(drawn, plain) < 0.15
    assert apart(drawn, plain) < apart(other, plain) / 2, "nearer to itself than to what another prompt draws"


def test_the_backbone_takes_and_gives_what_it_did() -> None:
    model = hasten(made())
    x = torch.randn(2, *model.shape)
    out = model.backbone(x, torch.full((2,), 500.0), model.branches({"text": PROMPTS}, 2)((frozenset(),)))
    assert out.dtype == x.dtype
    assert next(model.backbone.parameters()).dtype == torch.bfloat16


def test_a_null_that_is_trained_is_read_anew() -> None:
    model = hasten(made(), torch.float32)
    before = model.pace.silent(model, "text").tokens
    with torch.no_grad():
        for parameter in model.encoders["text"].parameters():
            parameter.add_(0.1)
    after = model.pace.silent(model, "text").tokens
    assert before is not None
    assert after is not None
    assert not torch.equal(before, after)


@pytest.mark.parametrize(
    ("name", "noisy"), [("ddim", False), ("dpmpp_2m", False), ("heun", False), ("ddpm", True), ("euler_ancestral", True)]
)
def test_the_rehearsal_knows_which_samplers_draw_noise(name: str, noisy: bool) -> None:
    seen = rehearse(Registry.installed().get("sampler", name)(), Diffusion().grid(5))
    assert seen.noisy is noisy
    assert set(seen.steps) <= set(range(5))
    assert len(seen.steps) >= 5


def test_streams_in_a_row_and_back() -> None:
    streams = {"a": Stream(tokens=torch.randn(2, 3, 4), mask=torch.ones(2, 3).bool()), "b": Stream(pooled=torch.randn(2, 5))}
    row = row_of(streams)
    back = row.streams(row.tensors)
    assert row.places == (("a", "tokens"), ("a", "mask"), ("b", "pooled"))
    assert back["a"].tokens is streams["a"].tokens
    assert back["a"].mask is streams["a"].mask
    assert back["b"].pooled is streams["b"].pooled
    assert back["b"].tokens is None


def test_the_one_asked_for_longest_ago_goes_first() -> None:
    recent: Recent[object] = Recent(2)
    first, _ = recent.get("a", object), recent.get("b", object)
    assert recent.get("a", object) is first
    recent.get("c", object)
    assert recent.get("a", object) is first
    assert len(recent) == 2


@torch.no_grad()
def test_moments_are_the_times_themselves() -> None:
    model = hasten(made(), torch.float32)
    x, t = torch.randn(2, *model.shape), torch.tensor([900.0, 3.0, 500.0])
    signals = model.branches({"text": PROMPTS}, 2)((frozenset(),))
    assert isinstance(model.backbone, Timed)
    moments = model.backbone.moments(t, 1)
    assert moments is not None
    drawn = [model.backbone(x, moment, signals) for moment in moments]
    for out, time in zip(drawn, t, strict=True):
        assert apart(out, model.backbone(x, time.expand(2), signals)) < 1e-5
    assert apart(drawn[0], drawn[1]) > 0.01, "another time is another answer"


@torch.no_grad()
def test_branches_share_what_comes_before_the_first_words() -> None:
    model = hasten(made("backbone.attention=[0, 1]", "injectors=[{use: cross_attention, streams: [text]}]"), torch.float32)
    x, seen = torch.randn(2, *model.shape).repeat(2, 1, 1, 1), []
    signals = model.branches({"text": PROMPTS}, 2)((frozenset(), frozenset({"text"})))
    assert isinstance(model.backbone, Timed)
    (once,), (twice,) = (model.backbone.moments(torch.tensor([500.0]), branches) or () for branches in (1, 2))
    alone = model.backbone(x, once, signals)
    for layer in (model.backbone.stem, model.backbone.out):
        layer.register_forward_hook(lambda _module, _args, out: seen.append(len(out)))
    assert apart(model.backbone(x, twice, signals), alone) < 1e-5
    assert seen == [2, 4]
    assert apart(alone[:2], alone[2:]) > 1e-3, "the branches differ"


def test_there_are_no_moments_where_words_are_added_to_the_time() -> None:
    words = "injectors=[{use: add, streams: [text]}]"
    model = assemble(read_spec(SPECS / "digits.yaml", overrides=(words,)))
    assert isinstance(model.backbone, Timed)
    assert model.backbone.moments(torch.tensor([1.0]), 1) is None
