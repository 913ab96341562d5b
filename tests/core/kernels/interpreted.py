"""Every kernel against float64, run by Triton's interpreter, which needs no GPU: prints {case: the worst relative error}.

Started by test_kernels_interpreted.py in a process of its own: Triton reads TRITON_INTERPRET when it is imported.
"""

from __future__ import annotations

import json
import sys

import torch
from cdkit.kernels import gate_triton, norm_launch, normalised, phases_triton, rows_triton, stem_triton, words_triton, woven
from cdkit.kernels.gate_triton import GeluGateFunction
from cdkit.kernels.norm_function import GroupNormFunction
from cdkit.kernels.phases_triton import WovenFunction
from cdkit.kernels.plus_triton import PlusFunction, launch
from cdkit.kernels.rows_triton import LayerNormFunction
from torch import Tensor
from torch.nn import functional as F


def apart(found: Tensor, wanted: Tensor) -> float:
    return float((found.detach().double() - wanted.detach()).norm() / wanted.detach().norm())


def pair(*shape: int, mean: float = 0.0) -> tuple[Tensor, Tensor]:
    """One tensor in float32 and in float64, both asked for gradients."""
    drawn = torch.randn(*shape) + mean
    return drawn.clone().requires_grad_(), drawn.double().requires_grad_()


def worst(found: Tensor, wanted: Tensor, inputs: list[tuple[Tensor, Tensor]]) -> float:
    """Of the answer and of every gradient."""
    grad = torch.randn_like(found)
    found.backward(grad)
    wanted.backward(grad.double())
    return max(apart(found, wanted), *(apart(mine.grad, true.grad) for mine, true in inputs if mine.grad is not None))


def group_norm(shape: tuple[int, ...], groups: int, *, told: bool, silu: bool) -> float:
    channels = shape[1]
    x, x64 = pair(*shape, mean=30.0)  # far from zero, where sums of squares cancel
    x = x.detach().to(memory_format=torch.channels_last).requires_grad_()
    inputs = [(x, x64), pair(channels), pair(channels)] + ([pair(*shape[:2]), pair(*shape[:2])] if told else [])
    (_, w), (_, b), *rest = ((m, d) for m, d in inputs[1:])
    mine = [m for m, _ in inputs] + [None] * (5 - len(inputs))
    scale, shift = (d for _, d in rest) if told else (None, None)
    found = GroupNormFunction.apply(*mine, None, groups, 1e-5, silu)
    return worst(found, normalised(x64, groups, w, b, eps=1e-5, silu=silu, scale=scale, shift=shift), inputs)


def moved(shape: tuple[int, ...], groups: int, *, told: bool) -> float:
    """With an offset a channel, a part of what all blocks are told."""
    channels = shape[1]
    x, x64 = pair(*shape, mean=3.0)
    x = x.detach().to(memory_format=torch.channels_last).requires_grad_()
    wide, wide64 = pair(shape[0], 3 * channels)
    inputs = [(x, x64), pair(channels), pair(channels), (wide, wide64)]
    inputs += [pair(*shape[:2]), pair(*shape[:2])] if told else []
    (_, _), (w, w64), (b, b64), _, *rest = inputs
    (scale, scale64), (shift, shift64) = rest if told else ((None, None), (None, None))
    offset, offset64 = (both[:, channels : 2 * channels] for both in (wide, wide64))
    found = GroupNormFunction.apply(x, w, b, scale, shift, offset, groups, 1e-5, True)
    wanted = normalised(x64, groups, w64, b64, eps=1e-5, silu=True, scale=scale64, shift=shift64, offset=offset64)
    return worst(found, wanted, inputs)


def two(shape: tuple[int, ...], more: int, groups: int) -> float:
    """A skip's channels behind h's, and the whole normalised."""
    h, skip = (torch.randn(shape[0], c, *shape[2:]).to(memory_format=torch.channels_last) for c in (shape[1], more))
    w, b = torch.randn(shape[1] + more), torch.randn(shape[1] + more)
    both, found = norm_launch.forward_of_two(h, skip, groups, norm_launch.Told(w, b, None, None), eps=1e-5)
    assert torch.equal(both, torch.cat([h, skip], dim=1))
    return apart(found, normalised(both.double(), groups, w.double(), b.double(), eps=1e-5, silu=True))


def attention(words: int, width: int) -> float:
    """Keys and values as parts of one matrix, and more queries than a program takes at a time."""
    q, both = torch.randn(2, 150, 3 * width), torch.randn(2, words, 6 * width)
    k, v = both.chunk(2, -1)
    q64, k64, v64 = (x.double().unflatten(-1, (3, width)).transpose(1, 2) for x in (q, k, v))
    wanted = F.scaled_dot_product_attention(q64, k64, v64).transpose(1, 2).flatten(2)
    return apart(words_triton.launch(q, k, v, 3), wanted)


def main() -> None:
    torch.manual_seed(0)
    found: dict[str, float] = {}
    for name, most, few in (("whole", norm_launch.MOST, norm_launch.FEW), ("parts", 0, norm_launch.FEW), ("rounds", 0, 1)):
        norm_launch.MOST, norm_launch.FEW = most, few
        norm_launch.ENOUGH = min(norm_launch.ENOUGH, few)
        found[f"group norm, {name}"] = group_norm((2, 20, 6, 5), 2, told=False, silu=True)
        found[f"group norm, {name}, told"] = group_norm((2, 12, 9, 7), 3, told=True, silu=True)
        found[f"group norm, {name}, no SiLU"] = group_norm((1, 30, 24, 5), 5, told=False, silu=False)
        found[f"group norm, {name}, moved"] = moved((2, 20, 6, 5), 4, told=False)
        found[f"group norm, {name}, moved and told"] = moved((3, 12, 9, 7), 3, told=True)
        found[f"group norm, {name}, of two"] = two((2, 70, 6, 5), 30, 5)
    for shares in (rows_triton.SHARES, 2):
        rows_triton.SHARES = shares
        inputs = [pair(5, 7, 40, mean=5.0), pair(40), pair(40)]
        (x, x64), (w, w64), (b, b64) = inputs
        found[f"layer norm, {shares}"] = worst(LayerNormFunction.apply(x, w, b, 1e-5), F.layer_norm(x64, (40,), w64, b64), inputs)
    both, both64 = pair(3, 5, 600)
    value, gate = both64.chunk(2, -1)
    found["gelu gate"] = worst(GeluGateFunction.apply(both, None), value * F.gelu(gate), [(both, both64)])
    for shares in (gate_triton.SHARES, 2):
        gate_triton.SHARES = shares
        inputs = [pair(3, 25, 600), pair(600)]
        (both, both64), (bias, bias64) = inputs
        value, gate = (both64 + bias64).chunk(2, -1)
        found[f"gelu gate, bias, {shares}"] = worst(GeluGateFunction.apply(both, bias), value * F.gelu(gate), inputs)
    h, more, bias = torch.randn(2, 70, 5, 3).to(memory_format=torch.channels_last), torch.randn(2, 70, 5, 3), torch.randn(70)
    found["plus"] = apart(launch(h, more, bias), h.double() + more.double() + bias.double()[:, None, None])
    inputs = [pair(2, 70, 5, 3), pair(2, 70, 5, 3), pair(70)]
    (h, h64), (more, more64), (bias, bias64) = inputs
    h = h.detach().to(memory_format=torch.channels_last).requires_grad_()
    inputs[0] = (h, h64)
    found["plus, gradients"] = worst(PlusFunction.apply(h, more, bias), h64 + more64 + bias64[:, None, None], inputs)
    x, w, b, bias = torch.randn(7, 40), torch.randn(40), torch.randn(40), torch.randn(40)
    normed, _, _, beside = rows_triton.forward(x, w, b, 1e-5, bias)
    found["layer norm, opened"] = apart(normed, F.layer_norm(x.double(), (40,), w.double(), b.double(), 1e-5))
    found["layer norm, what is added to"] = apart(beside, x.double() + bias.double())
    phases = torch.randn(2, 12, 4, 6).to(memory_format=torch.channels_last)
    found["phases"] = apart(phases_triton.launch(phases, None), woven(phases.double()))
    inputs = [pair(2, 12, 4, 6), pair(3)]
    (phases, phases64), (bias, bias64) = inputs
    phases = phases.detach().to(memory_format=torch.channels_last).requires_grad_()
    inputs[0] = (phases, phases64)
    found["phases, gradients"] = worst(WovenFunction.apply(phases, bias), woven(phases64, bias64), inputs)
    phases, bias = phases.detach(), bias.detach()
    found["phases, bias"] = apart(phases_triton.launch(phases, bias[:3]), woven(phases.double(), bias[:3].double()))
    for enough in (stem_triton.ENOUGH, 1):
        stem_triton.ENOUGH = enough
        x, w, b = torch.randn(2, 4, 7, 9), torch.randn(70, 4, 3, 3), torch.randn(70)
        x, w = (each.to(memory_format=torch.channels_last) for each in (x, w))
        found[f"stem, {enough}"] = apart(stem_triton.launch(x, w, b), F.conv2d(x.double(), w.double(), b.double(), padding=1))
    for enough in (words_triton.ENOUGH, 1):
        words_triton.ENOUGH = enough
        for words, width in ((77, 40), (1, 8), (16, 16), (128, 80), (33, 64)):
            found[f"attention, {words} words, heads of {width}, {enough}"] = attention(words, width)
    json.dump(found, sys.stdout)


main()
