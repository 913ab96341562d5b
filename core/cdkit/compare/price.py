"""price: what an arm costs, counted where it can be counted: weights, and multiplications with an addition (MACs)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from cdkit.build import assemble
from cdkit.build.liveness.streams import BATCH, fake
from cdkit.build.report import parameters
from cdkit.spec import Spec


@dataclass(frozen=True, slots=True)
class Price:
    """parameters: of the denoiser; taps: those of its injectors; encoders: read along. prepare and forward: MACs of a picture,
    once a prompt and once a step."""

    parameters: int
    taps: int
    encoders: int
    prepare: int
    forward: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def step(self) -> int:
        """MACs of one picture in one training step: forward, and twice as much backward."""
        return 3 * (self.prepare + self.forward)


def price_of(spec: Spec) -> Price:
    """Counted on the meta device: no weights are drawn. Encoders are not counted in MACs: arms read alike."""
    from torch.utils.flop_counter import FlopCounterMode

    model = assemble(spec, device="meta").requires_grad_(False)
    counts = parameters(model)
    x, t = torch.empty((BATCH, *model.shape), device="meta"), torch.empty(BATCH, device="meta")
    with torch.no_grad():
        with FlopCounterMode(display=False) as prepared:
            signals = model.prepare(model.joined(fake(model)))
        with FlopCounterMode(display=False) as forward:
            model.backbone(x, t, signals)
    return Price(
        counts["denoiser"],
        sum(counts["taps"].values()),
        sum(counts["encoders"].values()),
        prepared.get_total_flops() // (2 * BATCH),
        forward.get_total_flops() // (2 * BATCH),
    )
