"""Recogniser: a small residual network that names a picture's class; its penultimate features measure distances.

Residual blocks after He et al. 2016, "Deep Residual Learning for Image Recognition", with the wide, shallow layout that
trains in few epochs; average pooling at the end makes the features (B, F) independent of where the thing stands.
"""

from __future__ import annotations

import torch
from cdkit.parts import SampleShape
from einops import reduce
from torch import Tensor, nn
from torch.nn import functional as F

from cdkit_metrics.learning import Pupil

SMALLEST = 7  # rows below which a map is not halved again


class Residual(nn.Module):
    """h + f(h) with f of two convolutions; its last normalisation starts at zero, so a new block is the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(*convolution(width, width), nn.ReLU(), *convolution(width, width))
        last = self.inner[-1]
        assert isinstance(last, nn.BatchNorm2d)
        nn.init.zeros_(last.weight)

    def forward(self, h: Tensor) -> Tensor:
        return torch.relu(h + self.inner(h))


class Recogniser(Pupil):
    """x (B, C, H, W) in [-1, 1] -> logits (B, K). H and W may be anything from 4 up."""

    def __init__(self, shape: SampleShape, *, classes: int, width: int = 32, blocks: int = 1) -> None:
        super().__init__()
        wide, rows = width, min(shape.height, shape.width)
        layers: list[nn.Module] = [*convolution(shape.channels, wide), nn.ReLU()]
        while rows >= 2 * SMALLEST or wide < 4 * width:
            stride = 2 if rows >= SMALLEST else 1
            layers += [*convolution(wide, 2 * wide, stride=stride), nn.ReLU(), *(Residual(2 * wide) for _ in range(blocks))]
            wide, rows = 2 * wide, rows // stride
        self.width = wide
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(wide, classes)

    def features(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> (B, F), non-negative, what the last linear layer reads."""
        return reduce(self.body(x), "b f h w -> b f", "mean")

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))

    def loss(self, x: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """labels (B,)."""
        return F.cross_entropy(self(x), labels, label_smoothing=smoothing)


def convolution(inner: int, outer: int, *, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    """A 3x3 convolution and its batch normalisation."""
    return nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer)
