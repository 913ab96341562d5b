"""Group normalisation, modulation and SiLU as one function with a gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cdkit.kernels.norm_launch import Told, backward, forward


class GroupNormFunction(torch.autograd.Function):
    """`normalised` on a GPU, channels side by side. What is kept for the gradient is x and two numbers a group."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        scale: Tensor | None,
        shift: Tensor | None,
        offset: Tensor | None,
        groups: int,
        eps: float,
        silu: bool,
    ) -> Tensor:
        told = Told(weight, bias, *(None if form is None else form.contiguous() for form in (scale, shift)))
        y, mean, rstd = forward(x, groups, told, offset, eps=eps, silu=silu)
        ctx.save_for_backward(x, *told, offset, mean, rstd)
        ctx.silu = silu
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, scale, shift, offset, mean, rstd = ctx.saved_tensors
        told = Told(weight, bias, scale, shift)
        dy = grads[0].contiguous(memory_format=torch.channels_last)
        dx, first, second, moved = backward(x, dy, told, offset, mean, rstd, silu=ctx.silu)
        doffset = None if moved is None else moved.to(offset.dtype)
        if scale is None:
            return dx, second.sum(0).to(weight.dtype), first.sum(0).to(bias.dtype), None, None, doffset, None, None, None
        louder = 1 + scale.float()
        dweight, dbias = ((each * louder).sum(0).to(weight.dtype) for each in (second, first))
        dscale = (second * weight.float() + first * bias.float()).to(scale.dtype)
        return dx, dweight, dbias, dscale, first.to(shift.dtype), doffset, None, None, None
