"""Training sooner: channels side by side, kernels of our own, and every pass forward and back replayed where there is room."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from cdkit.fast.attention import best_attention
from cdkit.fast.convolution import tried_convolutions
from cdkit.fast.shapes import shapes
from cdkit.kernels import fast
from cdkit.model.plain import Plain
from cdkit.parts import Signals

if TYPE_CHECKING:
    from cdkit.model.network import Network

SMALL = 100_000_000  # weights; what a larger network keeps of a pass is held for one shape alone
KEPT = 4  # shapes, of text of different lengths, say
UNTRIED = 2  # passes of a larger network before it is known what they need


@contextmanager
def quick(device: torch.device) -> Generator[None]:
    """While it lasts, on a GPU: kernels of our own, the best attention, convolutions chosen by trial where they may differ."""
    if device.type != "cuda":
        yield
        return
    attention = nullcontext() if torch.are_deterministic_algorithms_enabled() else best_attention()
    with fast(), tried_convolutions(), attention, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The AccumulateGrad node's stream")  # recorded on a stream of its own, as is meant
        yield


def laid_out(backbone: nn.Module) -> nn.Module:
    """The same network, for training on a GPU: channels side by side."""
    return backbone.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def small(network: nn.Module) -> bool:
    return sum(parameter.numel() for parameter in network.parameters()) <= SMALL


class Training(Plain):
    """How a model learns on a GPU: its backbone's passes are replayed. It draws plainly.

    The backbone holds every weight that the passes change: no LoRA beside it, and one pass an update, for a second would
    overwrite the gradients of the first.
    """

    def __init__(self, backbone: nn.Module) -> None:
        self._replayed = Replayed(backbone)

    def predict(self, network: Network, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        return self._replayed(x, t, signals) if torch.is_grad_enabled() else network.backbone(x, t, signals)


class Replayed:
    """backbone(x, t, signals) with gradients, recorded once for each shape of what it is told, forward and back.

    Of a small network the first few shapes; of a larger one the first, if what a pass needs is there twice more. Other shapes
    are not replayed.
    """

    def __init__(self, backbone: nn.Module) -> None:
        self._backbone = backbone
        self._most, self._untried = (KEPT, 0) if small(backbone) else (1, UNTRIED)
        self._held: dict[Hashable, Callable[..., Tensor]] = {}

    def __call__(self, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        leaves, spec = tree_flatten(signals)
        asks = tuple(leaf.requires_grad for leaf in leaves)
        x = x.contiguous(memory_format=torch.channels_last)
        key = (shapes([x, t, *leaves]), asks, repr(spec), torch.is_autocast_enabled("cuda"))
        if key not in self._held:
            if not self._may():
                return self._backbone(x, t, signals)
            self._held[key] = recorded(self._backbone, spec, x, t, leaves)
        return self._held[key](x, t, *leaves)

    def _may(self) -> bool:
        """May another shape be recorded?"""
        if len(self._held) >= self._most:
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


class Flat(nn.Module):
    """The backbone as a function of tensors in a row."""

    def __init__(self, backbone: nn.Module, spec: TreeSpec) -> None:
        super().__init__()
        self.backbone, self.spec = backbone, spec

    def forward(self, x: Tensor, t: Tensor, *leaves: Tensor) -> Tensor:
        return self.backbone(x, t, tree_unflatten(leaves, self.spec))


def recorded(backbone: nn.Module, spec: TreeSpec, x: Tensor, t: Tensor, leaves: list[Tensor]) -> Callable[..., Tensor]:
    """One recording; casts of weights are not kept from step to step, as weights change."""
    torch.cuda.empty_cache()
    like = tuple(leaf.detach().clone().requires_grad_(leaf.requires_grad) for leaf in (x, t, *leaves))
    with torch.autocast("cuda", torch.bfloat16, enabled=torch.is_autocast_enabled("cuda"), cache_enabled=False):
        made: Any = torch.cuda.make_graphed_callables(Flat(backbone, spec), like, allow_unused_input=True)
    return cast("Callable[..., Tensor]", made)
