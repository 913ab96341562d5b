"""The inner width: without one a method is what it was before there were any; with one it is as wide as was said."""

from __future__ import annotations

import json
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.parts import Widths
from cdkit.registry import Registry
from cdkit.testing import InjectorCase
from cdkit.testing.case import EVERY_FORM
from cdkit_injectors.add import Add
from cdkit_injectors.cross_attention import CrossAttention
from cdkit_injectors.heads import Heads
from cdkit_injectors.inner import whole

# Shapes and sums of squares of every tap's parameters on the reference network, as commit d81ae7f drew them.
BEFORE: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "drawn_without_inner.json").read_text(encoding="utf-8"))


def case_of(method: str, **options: Any) -> InjectorCase:
    widths = (EVERY_FORM, Widths(tokens=5)) if method == "decoupled" else (EVERY_FORM,)
    return InjectorCase({"it": partial(Registry.installed().get("injector", method), **options)}, widths)


def taps_of(method: str, **options: Any) -> dict[str, torch.Tensor]:
    return dict(case_of(method, **options).mounted(opened=False, dtype=torch.float32).taps)


@pytest.mark.parametrize("method", BEFORE)
def test_without_an_inner_width_weights_are_named_and_drawn_as_ever(method: str) -> None:
    found = taps_of(method)
    assert list(found) == list(BEFORE[method])
    for name, (shape, squares) in BEFORE[method].items():
        assert list(found[name].shape) == shape, name
        assert float(found[name].detach().double().square().sum()) == pytest.approx(squares, abs=1e-4), name


@pytest.mark.parametrize("method", BEFORE)
def test_weights_grow_with_the_inner_width(method: str) -> None:
    """Straight on from the least to the widest, so that there is one width for a number of weights."""
    sizes = [sum(value.numel() for value in taps_of(method, inner=inner).values()) for inner in (1, 8, 16, 64, 256)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("method", ["film", "adagn", "adaln_zero", "weights"])
def test_a_fraction_of_the_sites_is_wider(method: str) -> None:
    """The mean over many sites is what was said; a whole number is what every site gets."""
    sizes = {inner: sum(value.numel() for value in taps_of(method, inner=inner).values()) for inner in (4, 4.5, 5)}
    assert sizes[4] < sizes[4.5] < sizes[5]


@pytest.mark.parametrize("inner", [1, 3, 3.25, 7.9, 12.5])
def test_widths_are_on_the_mean_what_was_said(inner: float) -> None:
    widths = [whole(inner, f"down.{i}.res.{j}.norm1") for i in range(40) for j in range(25)]
    assert set(widths) <= {int(inner), int(inner) + 1}
    assert float(Fraction(sum(widths), len(widths))) == pytest.approx(inner, abs=0.02)
    if inner == int(inner):
        assert set(widths) == {inner}


def test_a_width_is_a_multiple_of_its_step() -> None:
    assert {whole(10, f"site {i}", 4) for i in range(50)} == {8, 12}
    assert whole(1, "any", 4) == 4


@pytest.mark.parametrize(
    ("heads", "inner", "expected"),
    [
        (Heads("it", 4, None), 32.0, (32, 4)),
        (Heads("it", 4, None), None, (16, 4)),
        (Heads("it", None, 8), 40.0, (40, 5)),
        (Heads("it"), 13.0, (13, 1)),
    ],
)
def test_heads_divide_the_inner_width(heads: Heads, inner: float | None, expected: tuple[int, int]) -> None:
    assert heads.inside(inner, 16, "here") == expected


def test_attention_is_as_wide_inside_as_was_said() -> None:
    found = InjectorCase({"it": partial(CrossAttention, heads=2, inner=6)}).mounted(dtype=torch.float32).taps
    inside = {name.rpartition("attn2.")[2]: value for name, value in found.items() if "attn2" in name}
    assert inside["to_q.weight"].shape[0] == inside["to_k.weight"].shape[0] == inside["to_v.weight"].shape[0] == 6
    assert inside["to_out.0.weight"].shape[1] == 6


def test_inner_is_another_name_of_hidden() -> None:
    named, other = taps_of("add", hidden=12), taps_of("add", inner=12)
    assert list(named) == list(other)
    assert all(torch.equal(named[name], other[name]) for name in named)
    with pytest.raises(ValueError, match="add: hidden is 8 and inner is 12, but both name one width; expected one of the two"):
        Add(("text",), (EVERY_FORM,), hidden=8, inner=12)


def test_an_inner_width_in_place_of_a_rank() -> None:
    assert {name: value.shape for name, value in taps_of("weights", inner=2).items()} == {
        name: value.shape for name, value in taps_of("weights", rank=2).items()
    }
