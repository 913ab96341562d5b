"""SceneReader: a small residual network that answers several questions about a picture, where things stand being what counts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from cdkit.parts import SampleShape
from torch import Tensor, nn
from torch.nn import functional as F

from cdkit_metrics.learning import Pupil
from cdkit_metrics.network import Recogniser

HIDDEN = 256


class SceneReader(Pupil):
    """x (B, C, H, W) in [-1, 1] -> logits (B, K_1 + K_2 + …), question by question. `answers`: K of each.

    The layers are a Recogniser's, but its last map is read place by place instead of averaged: what is left of what is asked.
    """

    def __init__(self, shape: SampleShape, *, answers: Sequence[int], width: int = 32, blocks: int = 1) -> None:
        super().__init__()
        self.answers = list(answers)
        self.body = Recogniser(shape, classes=1, width=width, blocks=blocks).body.eval()
        with torch.no_grad():
            numbers = self.body(torch.zeros(1, shape.channels, shape.height, shape.width)).numel()
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(numbers, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, sum(self.answers)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))

    def loss(self, x: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """labels (B, Q): the sum over questions, so that each is learned as fast as if it were the only one."""
        logits = self(x).split(self.answers, dim=1)
        losses = [F.cross_entropy(of, labels[:, place], label_smoothing=smoothing) for place, of in enumerate(logits)]
        return torch.stack(losses).sum()
