"""Replayed: a network's passes forward and back, each recorded once for a shape and then launched as one (CUDA graphs)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from cdkit.fast.marked import Marked, Sender
from cdkit.fast.shapes import shapes
from cdkit.fast.strides import in_strides_of
from cdkit.parts import Signals

SMALL = 100_000_000  # weights; what a larger network keeps of a pass is held for one shape alone
KEPT = 4  # shapes, of text of different lengths, say
UNTRIED = 2  # passes of a larger network before it is known what they need
WARM = 3  # passes before it is recorded: kernels are chosen and compiled in them


class Replayed:
    """backbone(x, t, signals) with gradients.

    Of a small network the first few shapes are recorded; of a larger one the first, if what a pass needs is there twice more.
    Other shapes run as they are. A replay puts the weights' gradients where they belong itself: what lay there is overwritten.
    sender: gets them in groups as soon as they are made; nothing is recorded before it knows its groups.
    """

    def __init__(self, backbone: nn.Module, sender: Sender | None = None) -> None:
        self._backbone, self._sender = backbone, sender
        large = sum(parameter.numel() for parameter in backbone.parameters()) > SMALL
        self._most, self._untried = (1, UNTRIED) if large else (KEPT, 0)
        self._held: dict[Hashable, Recording] = {}

    def __call__(self, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        leaves, spec = tree_flatten(signals)
        inputs = (x.contiguous(memory_format=torch.channels_last), t, *leaves)
        key = (shapes(inputs), tuple(one.requires_grad for one in inputs), repr(spec), torch.is_autocast_enabled("cuda"))
        if key not in self._held:
            if not self._may():
                return self._backbone(x, t, signals)
            self._held[key] = Recording(self._of(spec), inputs, list(self._backbone.parameters()), self._sender)
        return self._held[key](inputs)

    def _of(self, spec: TreeSpec) -> Callable[..., Tensor]:
        def call(x: Tensor, t: Tensor, *leaves: Tensor) -> Tensor:
            return self._backbone(x, t, tree_unflatten(leaves, spec))

        return call

    def _may(self) -> bool:
        """May another shape be recorded?"""
        if len(self._held) >= self._most or (self._sender is not None and self._sender.groups() is None):
            return False
        self._untried -= 1
        if self._untried == -1 and self._most == 1 and not roomy():
            self._most = 0
        return self._untried < 0 and self._most > 0


def roomy() -> bool:
    """Is what the passes so far needed there twice more: once while they are tried for the recording, and once in it?"""
    free, _ = torch.cuda.mem_get_info()
    idle = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return free + idle >= 2 * (torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated())


class Recording:
    """call(*inputs) -> a tensor, and the way back to the inputs that ask for gradients and to the weights, for one shape.

    Casts of weights are not kept from step to step, as weights change.
    """

    def __init__(
        self,
        call: Callable[..., Tensor],
        inputs: Sequence[Tensor],
        weights: Sequence[nn.Parameter],
        sender: Sender | None = None,
    ) -> None:
        self._call = call
        self._inputs = [one.detach().clone().requires_grad_(one.requires_grad) for one in inputs]
        self._weights = [weight for weight in weights if weight.requires_grad]
        self._asks = torch.zeros((), device=inputs[0].device, requires_grad=True)  # so that there is a way back in any case
        torch.cuda.empty_cache()
        self._aside()
        self._forth, self._back = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._forth):
            self.out = self._forward()
        self.slope = torch.empty_like(self.out)
        self._sender, groups = sender, None if sender is None else sender.groups()
        marked = Marked(groups or ())
        with torch.cuda.graph(self._back, pool=self._forth.pool()), marked.watched():
            slopes = self._backward(self.out, self.slope)
        self._early = marked.whole
        self._given = {**dict(zip(self._weights, slopes[len(inputs) :], strict=True)), **marked.gradients()}
        self._slopes = slopes[: len(inputs)]
        self.out = self.out.detach()

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        return Pass.apply(self, self._asks, *inputs)

    def replay(self, inputs: Sequence[Tensor]) -> Tensor:
        with torch.no_grad():
            for mine, new in zip(self._inputs, inputs, strict=True):
                mine.copy_(new)
        self._forth.replay()
        return self.out

    def replay_back(self, slope: Tensor) -> Sequence[Tensor | None]:
        """The inputs' gradients. The weights have theirs."""
        self.slope.copy_(slope)
        self._back.replay()
        for weight, found in self._given.items():
            if found is not None:  # what has no part in the passes may have one in what they are told
                weight.grad = found
        if self._sender is not None:
            for row, ready in self._early:
                self._sender.send(row, ready)
        return self._slopes

    def _forward(self) -> Tensor:
        with torch.autocast("cuda", torch.bfloat16, enabled=torch.is_autocast_enabled("cuda"), cache_enabled=False):
            return self._call(*self._inputs)

    def _backward(self, out: Tensor, slope: Tensor) -> list[Tensor | None]:
        """Of every input, None where it does not ask; and of every weight, laid out as it is, None where it has no part."""
        asking = [one for one in (*self._inputs, *self._weights) if one.requires_grad]
        found = iter(torch.autograd.grad(out, asking, slope, allow_unused=True))
        return [_laid_out(one, next(found)) if one.requires_grad else None for one in (*self._inputs, *self._weights)]

    def _aside(self) -> None:
        """A few passes on a stream of their own, as recording asks for."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM):
                out = self._forward()
                self._backward(out, torch.zeros_like(out))
                del out
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.empty_cache()


def _laid_out(one: Tensor, found: Tensor | None) -> Tensor | None:
    """As the optimizer's kernels expect it: a gradient in its weight's strides."""
    return None if found is None else in_strides_of(one, found)


class Pass(torch.autograd.Function):
    """One replay forth, and one back."""

    @staticmethod
    def forward(ctx: Any, recording: Recording, asks: Tensor, *inputs: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        del asks
        ctx.recording = recording
        return recording.replay(inputs).detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        slopes = ctx.recording.replay_back(grads[0])
        return None, None, *(None if slope is None else slope.detach() for slope in slopes)
