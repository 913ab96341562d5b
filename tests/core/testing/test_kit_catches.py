"""The kit's checks of encoders, networks, samplers and guiders pass what is right and catch what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from cdkit.parts import Adaptable, Denoise, Grid, Guider, Joined, Mount, SampleShape, Stream, TextEncoder, Widths, layers_of
from cdkit.testing import Reference, check_backbone, check_encoder, check_guider, check_sampler
from torch import Tensor, nn

# --------------------------------------------------------------------------- encoders


class Letters(TextEncoder):
    """One token a letter; right in every respect."""

    def __init__(self) -> None:
        super().__init__()
        self.widths = Widths(tokens=4, pooled=4)
        self.table = nn.Embedding(256, 4)

    def forward(self, raw: Sequence[Any]) -> Stream:
        ids = [[1, *value.encode()] for value in raw]
        longest = max(map(len, ids))
        padded = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
        mask = torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in ids])
        device = self.table.weight.device
        return self.read(self.table(padded.to(device)), mask.to(device))

    def read(self, tokens: Tensor, mask: Tensor) -> Stream:
        kept = tokens * mask[..., None]
        return Stream(tokens=tokens, mask=mask, pooled=kept.sum(1) / mask.sum(1, keepdim=True))

    def null(self, n: int) -> Stream:
        return self([""] * n)


class Widened(Letters):
    def __init__(self) -> None:
        super().__init__()
        self.widths = Widths(tokens=4, pooled=5)


class AveragesPadding(Letters):
    def read(self, tokens: Tensor, mask: Tensor) -> Stream:
        return Stream(tokens=tokens, mask=mask, pooled=tokens.mean(1))


class ReadsAlike(Letters):
    def read(self, tokens: Tensor, mask: Tensor) -> Stream:
        return super().read(torch.zeros_like(tokens), mask)


class DropsAlways(Letters):
    def read(self, tokens: Tensor, mask: Tensor) -> Stream:
        return super().read(nn.functional.dropout(tokens, 0.5, training=True), mask)


class NullSays(Letters):
    def null(self, n: int) -> Stream:
        return self([self.examples()[0]] * n)


class StaysFloat(Letters):
    def read(self, tokens: Tensor, mask: Tensor) -> Stream:
        return super().read(tokens.float(), mask)


def test_a_right_encoder_passes() -> None:
    check_encoder(Letters)


@pytest.mark.parametrize(
    ("encoder", "text"),
    [
        (Widened, r"^widths: pooled of 4 values: measured \(4, 4\), allowed \(batch, width\) \(4, 5\)"),
        (AveragesPadding, r"^batch: pooled of .*, beside 3 others: measured a relative difference of"),
        (ReadsAlike, r"^examples: (tokens|pooled) of .*: measured alike, allowed different"),
        (DropsAlways, r"^(batch|repeatable): "),
        (NullSays, r"^null: the null and .*: measured alike, allowed different"),
        (StaysFloat, r"^dtypes: tokens with weights of torch.float64: measured torch.float32, allowed torch.float64"),
    ],
)
def test_a_wrong_encoder_is_caught(encoder: type[Letters], text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        check_encoder(encoder)


# --------------------------------------------------------------------------- networks


class Dropping(nn.Module):
    """A slot whose answer is thrown away."""

    def __init__(self, slot: nn.Module) -> None:
        super().__init__()
        self.slot = slot

    def forward(self, h: Tensor, signals: Any, emb: Tensor) -> Tensor:
        self.slot(h, signals, emb)
        return h


class DropsASite(Reference):
    def __init__(self, mount: Mount, sample: SampleShape) -> None:
        super().__init__(mount, sample)
        self.skip = Dropping(self.skip)


class Rejoined(nn.Module):
    """A `sequence` slot whose answer is changed on its way to the attention."""

    def __init__(self, slot: nn.Module, change: Callable[[Joined], Joined]) -> None:
        super().__init__()
        self.slot, self.change = slot, change

    def forward(self, h: Tensor, signals: Mapping[str, Any], emb: Tensor) -> Joined:
        return self.change(self.slot(h, signals, emb))


class DropsKeys(Reference):
    """Declares that it takes keys and values, and reads the tokens alone."""

    def __init__(self, mount: Mount, sample: SampleShape) -> None:
        super().__init__(mount, sample)
        self.sequence = Rejoined(self.sequence, tokens_alone)


def tokens_alone(joined: Joined) -> Joined:
    return Joined(joined.tokens, None if joined.mask is None else joined.mask[:, : joined.tokens.shape[1]])


class HearsMaskedKeys(Reference):
    """Heeds the mask of tokens, and not that of the keys behind them."""

    def __init__(self, mount: Mount, sample: SampleShape) -> None:
        super().__init__(mount, sample)
        self.sequence = Rejoined(self.sequence, keys_unmasked)


def keys_unmasked(joined: Joined) -> Joined:
    if joined.mask is None or joined.keys is None:
        return joined
    read = joined.mask[:, : joined.tokens.shape[1]]
    return Joined(joined.tokens, torch.cat([read, read.new_ones(joined.keys.shape[:2])], dim=1), joined.keys, joined.values)


class CallsTwice(Reference):
    def forward(self, x: Tensor, t: Tensor, signals: Mapping[str, Any]) -> Tensor:
        return super().forward(x, t, signals) + super().forward(x, t, signals)


class Timeless(Reference):
    def forward(self, x: Tensor, t: Tensor, signals: Mapping[str, Any]) -> Tensor:
        return super().forward(x, t * 0, signals)


class MixesSamples(Reference):
    def forward(self, x: Tensor, t: Tensor, signals: Mapping[str, Any]) -> Tensor:
        return super().forward(x + x.roll(1, 0), t, signals)


class Adaptive(Reference):
    """Declares what it calls."""

    def adaptable(self) -> Mapping[str, Adaptable]:
        return {name: Adaptable(layer) for name, layer in layers_of(self)}


class Reading(nn.Module):
    """A layer whose weight is read: a correction that is hooked to it would be ignored."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, h: Tensor) -> Tensor:
        return nn.functional.linear(h, self.layer.weight, self.layer.bias)


class ReadsALayer(Adaptive):
    def __init__(self, mount: Mount, sample: SampleShape) -> None:
        super().__init__(mount, sample)
        self.feed = Reading(self.feed)


class NoSuchRows(Reference):
    def adaptable(self) -> Mapping[str, Adaptable]:
        return {"to_q": Adaptable(self.qkv, slice(48, 64))}


def test_a_right_network_passes() -> None:
    check_backbone(Reference)
    check_backbone(Adaptive)


@pytest.mark.parametrize(
    ("network", "text"),
    [
        (DropsASite, "^heard: map.skip returns something else; .*: measured a relative difference of 0, allowed more than"),
        (DropsKeys, "^heard: tokens.sequence joins keys and values; .*: measured a relative difference of 0, allowed more than"),
        (HearsMaskedKeys, "^heard: tokens.sequence joins masked keys and values: measured a relative difference of"),
        (CallsTwice, "^sites: calls of the slot at .* in one forward: measured 2, allowed 1"),
        (Timeless, "^time: another time step: measured a relative difference of 0"),
        (MixesSamples, "^time: samples in another order"),
        (ReadsALayer, "^adaptable: feed.layer answers something else; it must be called, not read"),
        (NoSuchRows, r"^adaptable: rows of to_q: measured range\(48, 48\), allowed some of 48"),
    ],
)
def test_a_wrong_network_is_caught(network: type[Reference], text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        check_backbone(network)


# --------------------------------------------------------------------------- samplers


def ddim(denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
    del generators
    for i in range(len(grid)):
        clean = denoise(x, i)
        noise = (x - grid.alpha[i] * clean) / grid.sigma[i]
        x = grid.alpha[i + 1] * clean + grid.sigma[i + 1] * noise
    return x


def divides_by_alpha(denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
    return ddim(denoise, x / grid.alpha[0] * grid.alpha[0], grid, generators)


def draws_globally(denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
    return ddim(denoise, x + torch.randn_like(x), grid, generators)


def mixes(denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
    return ddim(denoise, x - x.mean(0), grid, generators)


def stops_short(denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
    last = Grid(grid.t[:-1], grid.alpha[:-1], grid.sigma[:-1])
    return ddim(denoise, x, last, generators)


def test_a_right_sampler_passes() -> None:
    check_sampler(lambda: ddim)


@pytest.mark.parametrize(
    ("sampler", "text"),
    [
        (divides_by_alpha, "^finite: 10 steps, zero terminal SNR"),
        (draws_globally, "^pure: drawn again"),
        (mixes, "^batch: pictures"),
        (stops_short, "^lands: denoised to one clean picture"),
    ],
)
def test_a_wrong_sampler_is_caught(sampler: Callable[..., Tensor], text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        check_sampler(lambda: sampler)


# --------------------------------------------------------------------------- guiders


@dataclass(frozen=True)
class Guide(Guider):
    scale: float = 2.0
    surplus: float = 0.0
    mixing: float = 0.0

    def branches(self, conditions: Sequence[str], grid: Grid, index: int) -> Sequence[frozenset[str]]:
        del grid, index
        return frozenset(), frozenset(conditions)

    def combine(self, clean: Sequence[Tensor], grid: Grid, index: int) -> Tensor:
        del grid, index
        told, silent = clean
        guided = silent + self.scale * (told - silent) + self.surplus * told
        return guided + self.mixing * (told - silent).roll(1, 0)


class Repeats(Guide):
    def branches(self, conditions: Sequence[str], grid: Grid, index: int) -> Sequence[frozenset[str]]:
        del conditions, grid, index
        return frozenset(), frozenset()


def test_a_right_guider_passes() -> None:
    check_guider(Guide)


@pytest.mark.parametrize(
    ("guider", "text"),
    [
        (lambda: Guide(surplus=0.1), "^agreement: 2 equal branches at step 0"),
        (lambda: Guide(mixing=0.1), "^batch: samples in another order at step 0"),
        (Repeats, "^branches: branches of step 0: measured"),
    ],
)
def test_a_wrong_guider_is_caught(guider: Callable[[], Guider], text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        check_guider(guider)
