"""init: unit_response: every method changes h by one share of it at birth, and the backbone is left alone."""

from __future__ import annotations

import pytest
import torch
from cdkit.build import assemble
from cdkit.compare.response import TARGET, calibrate, first_batch, responses
from cdkit.errors import NumericsError
from cdkit.spec import Spec, read_spec

BASE = """
cdkit: 1
name: base
sample: {channels: 1, height: 8, width: 8}
conditions:
  text: {use: bytes, dim: 16, depth: 1, heads: 2}
injectors: [%s]
backbone: {use: unet, width: 16, mult: [1, 2], blocks: 1, attention: [1], heads: 2}
diffusion: {schedule: cosine, prediction: v}
data: {use: digits}
"""
METHODS = {
    "cross_attention": "{use: cross_attention, streams: [text], heads: 2}",
    "film": "{use: film, streams: [text]}",
    "film_gain": "{use: film_gain, streams: [text]}",
    "adagn": "{use: adagn, streams: [text]}",
    "adaln_zero": "{use: adaln_zero, streams: [text]}",
    "add": "{use: add, streams: [text]}",
    "text_query": "{use: text_query, streams: [text], heads: 2}",
    "weights": "{use: weights, streams: [text]}",
    "two": "{use: cross_attention, streams: [text], heads: 2}, {use: film, streams: [text]}",
}


def of(name: str) -> Spec:
    return read_spec(BASE % METHODS[name])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_speaks_as_loudly(name: str) -> None:
    model = assemble(of(name))
    told = calibrate(model, 0)
    again = responses(model, first_batch(model, 0), 0)
    assert set(told) == {injector.name for injector in model.spec.injectors}
    assert all(abs(value / TARGET - 1) <= 0.05 for value in again.values()), again


def test_at_birth_nobody_speaks() -> None:
    model = assemble(of("film"))
    assert responses(model, first_batch(model, 0), 0) == {"film": 0.0}


def test_nothing_but_what_was_zero_is_touched() -> None:
    before, after = assemble(of("cross_attention")), assemble(of("cross_attention"))
    calibrate(after, 0)
    moved = {name for name, weight in after.named_parameters() if not torch.equal(weight, dict(before.named_parameters())[name])}
    assert moved
    assert all(".taps.cross_attention." in name for name in moved)
    assert not any(bool(dict(before.named_parameters())[name].any()) for name in moved)


def test_one_seed_one_draw() -> None:
    one, other, third = (assemble(of("film")) for _ in range(3))
    for model, seed in ((one, 1), (other, 1), (third, 2)):
        calibrate(model, seed)
    weights = [torch.cat([w.flatten() for name, w in m.named_parameters() if ".taps." in name]) for m in (one, other, third)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_method_that_cannot_be_scaled_is_named() -> None:
    spec = read_spec(BASE % "{use: in_context, streams: [text]}")
    with pytest.raises(NumericsError, match=r"init: unit_response: .* could not be brought to 0\.1") as caught:
        calibrate(assemble(spec), 0)
    assert caught.value.hint == "leave `init` at `zero`"
