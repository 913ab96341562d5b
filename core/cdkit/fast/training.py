"""Training sooner: channels side by side, kernels of our own, and for a small network every pass forward and back replayed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from cdkit.fast.attention import best_attention
from cdkit.fast.recent import Recent
from cdkit.fast.shapes import shapes
from cdkit.kernels import fast
from cdkit.model.plain import Plain
from cdkit.parts import Signals

if TYPE_CHECKING:
    from cdkit.model.network import Network

SMALL = 100_000_000  # weights; a larger network keeps its GPU busy without being replayed
KEPT = 4  # lengths of text, say


@contextmanager
def quick(device: torch.device, *, kernels: bool = True) -> Generator[None]:
    """While it lasts, on a GPU: kernels of our own, the best attention, convolutions chosen by trial where they may differ.

    kernels: False where a compiler writes them.
    """
    if device.type != "cuda":
        yield
        return
    strict = torch.are_deterministic_algorithms_enabled()
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, not strict
    try:
        with fast(kernels), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The AccumulateGrad node's stream")  # recorded on a stream of its own, as is meant
            if strict:
                yield
            else:
                with best_attention():
                    yield
    finally:
        torch.backends.cudnn.benchmark = before


def laid_out(backbone: nn.Module) -> nn.Module:
    """The same network, for training on a GPU: channels side by side."""
    return backbone.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def small(network: nn.Module) -> bool:
    return sum(parameter.numel() for parameter in network.parameters()) <= SMALL


class Training(Plain):
    """How a small model learns on a GPU: its backbone's passes are replayed. It draws plainly.

    The backbone holds every weight that the passes change: no LoRA beside it, and one pass an update, for a second would
    overwrite the gradients of the first.
    """

    def __init__(self, backbone: nn.Module) -> None:
        self._replayed = Replayed(backbone)

    def predict(self, network: Network, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        return self._replayed(x, t, signals) if torch.is_grad_enabled() else network.backbone(x, t, signals)


class Replayed:
    """backbone(x, t, signals) with gradients, recorded once for each shape of what it is told, forward and back."""

    def __init__(self, backbone: nn.Module, most: int = KEPT) -> None:
        self._backbone = backbone
        self._held: Recent[Callable[..., Tensor]] = Recent(most)

    def __call__(self, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        leaves, spec = tree_flatten(signals)
        asks = tuple(leaf.requires_grad for leaf in leaves)
        x = x.contiguous(memory_format=torch.channels_last)
        key = (shapes([x, t, *leaves]), asks, repr(spec), torch.is_autocast_enabled("cuda"))
        return self._held.get(key, lambda: recorded(self._backbone, spec, x, t, leaves))(x, t, *leaves)


class Flat(nn.Module):
    """The backbone as a function of tensors in a row."""

    def __init__(self, backbone: nn.Module, spec: TreeSpec) -> None:
        super().__init__()
        self.backbone, self.spec = backbone, spec

    def forward(self, x: Tensor, t: Tensor, *leaves: Tensor) -> Tensor:
        return self.backbone(x, t, tree_unflatten(leaves, self.spec))


def recorded(backbone: nn.Module, spec: TreeSpec, x: Tensor, t: Tensor, leaves: list[Tensor]) -> Callable[..., Tensor]:
    """One recording; casts of weights are not kept from step to step, as weights change."""
    like = tuple(leaf.detach().clone().requires_grad_(leaf.requires_grad) for leaf in (x, t, *leaves))
    with torch.autocast("cuda", torch.bfloat16, enabled=torch.is_autocast_enabled("cuda"), cache_enabled=False):
        made: Any = torch.cuda.make_graphed_callables(Flat(backbone, spec), like, allow_unused_input=True)
    return cast("Callable[..., Tensor]", made)
