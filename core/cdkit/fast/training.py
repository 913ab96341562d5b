"""Training sooner: channels side by side, kernels of our own, and every pass forward and back replayed where there is room."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cdkit.fast.attention import best_attention
from cdkit.fast.convolution import tried_convolutions
from cdkit.fast.marked import Sender
from cdkit.fast.replayed import Replayed
from cdkit.kernels import fast
from cdkit.model.plain import Plain
from cdkit.parts import Signals

if TYPE_CHECKING:
    from cdkit.model.network import Network


@contextmanager
def quick(device: torch.device, *, kernels: bool = True) -> Generator[None]:
    """While it lasts, on a GPU: kernels of our own, the best attention, convolutions chosen by trial where they may differ.

    kernels: False where a compiler writes them.
    """
    if device.type != "cuda":
        yield
        return
    attention = nullcontext() if torch.are_deterministic_algorithms_enabled() else best_attention()
    with fast(kernels), tried_convolutions(), attention:
        yield


def laid_out(backbone: nn.Module) -> nn.Module:
    """The same network, for training on a GPU: channels side by side."""
    return backbone.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


class Training(Plain):
    """How a model learns on a GPU: its backbone's passes are replayed. It draws plainly.

    The backbone holds every weight that the passes change: no LoRA beside it, and one pass an update, for a second would
    overwrite the gradients of the first. sender: gets gradients while others are made.
    """

    def __init__(self, backbone: nn.Module, sender: Sender | None = None) -> None:
        self._replayed = Replayed(backbone, sender)

    def predict(self, network: Network, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        return self._replayed(x, t, signals) if torch.is_grad_enabled() else network.backbone(x, t, signals)
