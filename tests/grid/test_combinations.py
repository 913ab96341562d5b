"""Methods side by side, on every backbone: each reaches the output, and each that is severed is named though the others live.

Among them is micro-conditioning: the encoder `size` through `add`, alone and beside words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from cdkit.build import assemble
from cdkit.build.liveness import Proof, prove
from cdkit.errors import SpecError
from cdkit.registry import Registry
from cdkit.spec import read_spec
from wrong_taps import Deaf, with_taps

INSTALLED = Registry.installed()
BACKBONES = {
    "unet": "width: 16, mult: [1, 2], blocks: 1, attention: [1], heads: 2",
    "controlnet": "width: 16, mult: [1, 2], blocks: 1, attention: [1], heads: 2",
    "unet_classic": "width: 16, mult: [1, 2], heads: 2, head_dim: 4",
    "dit": "patch: 2, width: 16, depth: 2, heads: 2",
    "mmdit": "patch: 2, width: 16, depth: 2, heads: 2",
}
CONDITIONS = {
    "text": "{use: bytes, dim: 16, depth: 1, heads: 2}",
    "boxes": "{use: bytes, dim: 16, depth: 1, heads: 2, column: boxes}",
    "layout": "{use: map, channels: 2}",
    "sizes": "{use: size, count: 6, dim: 8}",
    "both": "{use: join, of: [text, sizes], axis: pooled}",
}
Told = tuple[tuple[str, str, str], ...]  # (use, stream, further keys), of each injector
COMBINATIONS: dict[str, Told] = {
    "sizes alone": (("add", "sizes", ""),),
    "words twice": (("cross_attention", "text", ", heads: 2"), ("add", "text", "")),
    "words and sizes": (("cross_attention", "text", ", heads: 2"), ("add", "sizes", "")),
    "words and what is joined": (("cross_attention", "text", ", heads: 2"), ("add", "both", ", hidden: 16")),
    "words and a map": (("film", "text", ""), ("concat", "layout", "")),
    "boxes before words": (("gated", "boxes", ", heads: 2"), ("cross_attention", "text", ", heads: 2")),
    "words in context and in norms": (("in_context", "text", ""), ("adaln_single", "text", "")),
    "three": (("perceiver", "text", ", heads: 2"), ("adagn", "sizes", ""), ("weights", "boxes", ", rank: 2")),
}


def proof_of(backbone: str, told: Told, parts: Mapping[tuple[str, str], Any] | None = None, cut: int | None = None) -> Proof:
    """The proof of a spec that is told so; `cut`: which of the injectors is a severed one."""
    read = dict.fromkeys(stream for _, stream, _ in told)
    conditions = [name for name in CONDITIONS if name in read or ("both" in read and name in ("text", "sizes"))]
    injectors = [
        f"  - {{use: {use if place != cut else 'severed'}, name: {use}, streams: [{stream}]{more}}}"
        for place, (use, stream, more) in enumerate(told)
    ]
    text = "\n".join(
        [
            "cdkit: 1\nname: combined\nsample: {channels: 1, height: 8, width: 8}\nconditions:",
            *(f"  {name}: {CONDITIONS[name]}" for name in conditions),
            "injectors:",
            *injectors,
            f"backbone: {{use: {backbone}, {BACKBONES[backbone]}}}",
        ]
    )
    return prove(assemble(read_spec(text, registry=INSTALLED.extended(parts or {})), device="meta"))


@pytest.mark.parametrize("told", COMBINATIONS.values(), ids=COMBINATIONS)
@pytest.mark.parametrize(
    "backbone", [pytest.param(name, marks=[pytest.mark.slow] * (name not in ("unet", "mmdit"))) for name in BACKBONES]
)
def test_every_method_of_a_combination_reaches_the_output(backbone: str, told: Told) -> None:
    proof = proof_of(backbone, told)
    for use, stream, _ in told:
        for condition in ("text", "sizes") if stream == "both" else (stream,):
            assert use in proof.through[condition]
        assert proof.effects[use] > 1e-6


SEVERED = [
    pytest.param(told, place, id=f"{name}: {told[place][0]}") for name, told in COMBINATIONS.items() for place in range(len(told))
]


@pytest.mark.parametrize(("told", "place"), SEVERED)
@pytest.mark.parametrize("backbone", ["unet", "mmdit"])  # one of maps, and one whose words are a stream of their own
def test_one_that_is_severed_is_named_though_the_others_live(backbone: str, told: Told, place: int) -> None:
    use = told[place][0]
    with pytest.raises(SpecError, match=rf"what it says cannot reach the output through '{use}'"):
        proof_of(backbone, told, {("injector", "severed"): with_taps(INSTALLED.get("injector", use), Deaf)}, place)


def test_a_combination_starts_as_what_is_told_nothing() -> None:
    """Two identities, one after the other, are one: with the same seed the network draws the same, bit for bit."""
    spec = (
        "cdkit: 1\nname: born\nsample: {{channels: 1, height: 8, width: 8}}\n{told}\n"
        f"backbone: {{{{use: unet, {BACKBONES['unet']}}}}}"
    )
    told = (
        "conditions: {text: {use: bytes, dim: 16, depth: 1, heads: 2}, sizes: {use: size, dim: 8}}\n"
        "injectors: [{use: cross_attention, streams: [text]}, {use: add, streams: [text]}, {use: film, streams: [sizes]}]"
    )
    x, t = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([100.0, 900.0])
    alone, three = (assemble(read_spec(spec.format(told=part))) for part in ("", told))
    with torch.no_grad():
        assert torch.equal(alone(x, t, {}), three(x, t, {"text": ["a cat", "seven"], "sizes": [(8,) * 6, (4,) * 6]}))
