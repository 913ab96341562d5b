"""What stands beside every kernel: the plain mathematics, which is all there is on a CPU, whatever the switch says."""

from __future__ import annotations

import pytest
import torch
from cdkit.build.mount import NormSlot
from cdkit.kernels import adds, attention, fast, gelu_gate, is_fast, layer_normed, normalised
from cdkit.kernels.attention import side_by_side
from cdkit.parts import Modulation, Passing, Signal, Site, Stream, Tap, activated, added
from torch import Tensor, nn


def rand(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def test_the_switch_is_off_and_goes_back() -> None:
    assert not is_fast()
    with fast():
        assert is_fast()
        with fast(False):
            assert not is_fast()
        assert is_fast()
    assert not is_fast()


@pytest.mark.parametrize("on", [False, True])
def test_normalised_is_each_group_at_mean_zero_and_variance_one(on: bool) -> None:
    h = rand(2, 6, 4, 5) * 3 + 7
    with fast(on):
        out = normalised(h, 3, torch.ones(6).double(), torch.zeros(6).double(), eps=0.0, silu=False)
    grouped = out.unflatten(1, (3, 2)).flatten(2)
    torch.testing.assert_close(grouped.mean(2), torch.zeros(2, 3).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(grouped.var(2, correction=0), torch.ones(2, 3).double(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("on", [False, True])
def test_what_is_told_scales_and_shifts_before_the_activation(on: bool) -> None:
    h, w, b, scale, shift, offset = rand(2, 6, 3, 3), rand(6), rand(6), rand(2, 6), rand(2, 6), rand(2, 6)
    with fast(on):
        out = normalised(h, 2, w, b, eps=1e-5, silu=True, scale=scale, shift=shift, offset=offset)
    moved = h + offset[:, :, None, None]
    z = nn.functional.group_norm(moved, 2, w, b, 1e-5) * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    torch.testing.assert_close(out, z * torch.sigmoid(z), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("on", [False, True])
def test_tokens_and_gates(on: bool) -> None:
    norm, h, both = nn.LayerNorm(6).double(), rand(2, 5, 6), rand(2, 5, 12)
    nn.init.normal_(norm.weight)
    value, gate = both.chunk(2, dim=-1)
    with fast(on):
        assert torch.equal(layer_normed(norm, h), norm(h))
        torch.testing.assert_close(gelu_gate(both), value * gate * (1 + torch.erf(gate / 2**0.5)) / 2, rtol=1e-12, atol=1e-12)


class Scaling(Tap):
    """h (1 + s) + b, with s and b read off the signal."""

    def prepare(self, *streams: Stream) -> Signal:
        return streams

    def modulation(self, signal: Signal, emb: Tensor) -> Modulation | None:
        del emb
        return signal

    def forward(self, h: Tensor, signal: Signal, emb: Tensor) -> Tensor:
        del emb
        scale, shift = signal
        return h * (1 + scale[:, :, None, None]) + shift[:, :, None, None]


class Squaring(Tap):
    """Nothing that a scale and a shift could do."""

    def prepare(self, *streams: Stream) -> Signal:
        return streams

    def forward(self, h: Tensor, signal: Signal, emb: Tensor) -> Tensor:
        del signal, emb
        return h * h


SITE = Site("n", "norm", "map", 6, 1, 4)


@pytest.mark.parametrize("taps", [0, 1, 2, 3])
def test_several_modulations_are_one(taps: int) -> None:
    slot = NormSlot(SITE, {f"t{i}": Scaling() for i in range(taps)})
    signals = {"n": {f"t{i}": (rand(2, 6), rand(2, 6)) for i in range(taps)}}
    norm, h, emb, offset = nn.GroupNorm(2, 6).double(), rand(2, 6, 3, 3), rand(2, 4), rand(2, 6)
    plain = activated(norm, slot, h, signals, emb, offset)
    with fast():
        assert slot.modulation(signals, emb) is not None
        torch.testing.assert_close(activated(norm, slot, h, signals, emb, offset), plain, rtol=1e-12, atol=1e-12)


def test_a_method_that_does_more_than_scale_and_shift_is_asked_itself() -> None:
    slot = NormSlot(SITE, {"a": Scaling(), "b": Squaring()})
    signals = {"n": {"a": (rand(2, 6), rand(2, 6)), "b": ()}}
    norm, h, emb = nn.GroupNorm(2, 6).double(), rand(2, 6, 3, 3), rand(2, 4)
    assert slot.modulation(signals, emb) is None
    with fast():
        assert torch.equal(activated(norm, slot, h, signals, emb), nn.functional.silu(slot(norm(h), signals, emb)))


class Heard(Passing):
    """A branch's slot that doubles what it gets, though it says that it passes it on."""

    passes = True  # pyright: ignore[reportAssignmentType]

    def forward(self, h: Tensor, signals: object, emb: Tensor) -> Tensor:
        del signals, emb
        return 2 * h


def test_without_a_gpu_the_branchs_slot_is_always_asked() -> None:
    conv, h, x = nn.Conv2d(3, 5, 3, padding=1).double(), rand(2, 5, 4, 4), rand(2, 3, 4, 4)
    with fast(), torch.no_grad():
        assert not adds(h)
        torch.testing.assert_close(added(h, conv, x, Heard(), {}, rand(2, 4)), h + 2 * conv(x), rtol=1e-12, atol=1e-12)


def test_parts_of_one_matrix_are_known_by_where_they_lie() -> None:
    together = torch.randn(2, 5, 12)
    q, k, v = together.chunk(3, dim=-1)
    found = side_by_side(q, k, v)
    assert found is not None
    assert found.data_ptr() == together.data_ptr()
    assert torch.equal(found, together)
    other = torch.randn(2, 5, 12)
    asked = [(k, q, v), (q, v, k), (q, k, k), (q, k, v.clone()), (q, k, other.chunk(3, dim=-1)[2]), (q, k[:, :4], v[:, :4])]
    assert [side_by_side(*each) for each in asked] == [None] * len(asked)
    assert side_by_side(*(part[:, :4] for part in (q, k, v))) is None


def test_self_attention_is_its_mathematics() -> None:
    q, k, v = rand(2, 5, 18).chunk(3, dim=-1)
    mask = torch.tensor([[True] * 5, [True, False, True, False, True]])
    scores = torch.einsum("bnhd,blhd->bhnl", *(each.unflatten(-1, (2, 3)) for each in (q, k))) / 3**0.5
    weights = scores.masked_fill(~mask[:, None, None], float("-inf")).softmax(-1)
    wanted = torch.einsum("bhnl,blhd->bnhd", weights, v.unflatten(-1, (2, 3))).flatten(2)
    torch.testing.assert_close(attention(q, k, v, mask, heads=2), wanted, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(attention(q[:1], k[:1], v[:1], None, heads=2), wanted[:1], rtol=1e-10, atol=1e-12)
