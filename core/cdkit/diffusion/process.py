"""Diffusion: the process that a spec's `diffusion:` describes, for training and for sampling."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Interval
from einops import rearrange
from torch import Tensor

from cdkit.diffusion.grid import Ends, Spacing, make_grid
from cdkit.diffusion.precision import widest
from cdkit.diffusion.prediction import make_prediction
from cdkit.diffusion.schedule import MOST, Flow, make_schedule
from cdkit.diffusion.weighting import logit_normal, min_snr
from cdkit.parts import Grid, PositiveFloat

Steps = Annotated[int, Interval(ge=1, le=1000)]
Beta = Annotated[float, Interval(gt=0, lt=1)]


class Diffusion:
    """Schedule, prediction, weighting and drawing of times in one.

    schedule: how much picture and how much noise there is at each time, `diffusion.schedule`. steps: how many times there
    are. beta_start, beta_end: the first and the last variance of `linear` and `scaled_linear`. zero_terminal_snr: nothing of
    the picture is left at the last step. prediction: what the network says, `diffusion.prediction`; `v`, `sample` and `flow`
    go with every schedule, `epsilon` with those that keep some of the picture to the end, so neither with zero_terminal_snr
    nor with flow. weighting, gamma: of the squared error, `diffusion.weighting`. times: how training draws them. clip: the
    clean picture is clamped to [-clip, clip] while sampling.

    ValueError for options that exclude each other.
    """

    def __init__(
        self,
        *,
        schedule: Literal["linear", "scaled_linear", "cosine", "sigmoid", "flow"] = "cosine",
        prediction: Literal["epsilon", "v", "sample", "flow"] = "v",
        steps: Steps = 1000,
        beta_start: Beta = 0.00085,
        beta_end: Beta = 0.012,
        zero_terminal_snr: bool = False,
        weighting: Literal["uniform", "min_snr"] = "uniform",
        gamma: PositiveFloat = 5.0,
        times: Literal["uniform", "logit_normal"] = "uniform",
        clip: PositiveFloat | None = None,
    ) -> None:
        if not 1 <= steps <= MOST:
            raise ValueError(f"steps {steps}; expected 1 to {MOST:g}, since the network is told times in [0, {MOST:g}]")
        self.schedule = make_schedule(
            schedule, steps=steps, beta_start=beta_start, beta_end=beta_end, zero_terminal_snr=zero_terminal_snr
        )
        self.prediction = make_prediction(prediction)
        if self.prediction.needs_signal and (schedule == "flow" or zero_terminal_snr):
            cause = "schedule flow" if schedule == "flow" else "zero_terminal_snr"
            raise ValueError(
                f"prediction {prediction} with {cause}: sampling starts where nothing of the picture is left (alpha 0), "
                "and there the noise says nothing about the picture (it would be divided by 0); expected v, sample or flow"
            )
        self.weighting = weighting
        self.gamma = gamma
        self.drawn = times
        self.clip = clip

    def times(self, u: Tensor) -> Tensor:
        """u (B,) in [0, 1) -> t (B,) that the network is told: whole steps 0 ... steps - 1, or 1000 s on a flow schedule."""
        share = logit_normal(u) if self.drawn == "logit_normal" else u.to(widest(u.device))
        if isinstance(self.schedule, Flow):
            return (share * MOST).to(u.dtype)
        return (share * self.schedule.length).floor().clamp(max=self.schedule.length - 1).to(u.dtype)

    def noised(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x (B, ...) at times t (B,), in clean's dtype."""
        alpha, sigma = self._levels(t, clean)
        return (alpha * clean + sigma * noise).to(clean.dtype)

    def target(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network should predict at times t (B,), in clean's dtype."""
        return self.prediction.target(clean, noise, *self._levels(t, clean)).to(clean.dtype)

    def weight(self, t: Tensor) -> Tensor:
        """(B,) weights of the squared error of what the network predicts, in t's dtype."""
        if self.weighting == "uniform":
            return torch.ones_like(t)
        return min_snr(self.prediction, *self.levels(t), self.gamma).to(t.dtype)

    def clean(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The clean picture (B, ...) that an output at x and times t (B,) means, in x's dtype."""
        return self.prediction.clean(output, x, *self._levels(t, x)).to(x.dtype)

    def clean_at(self, output: Tensor, x: Tensor, alpha: float, sigma: float) -> Tensor:
        """The same at one noise level, a step of a grid."""
        return self.prediction.clean(output, x, alpha, sigma).to(x.dtype)

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma (B,) at times t (B,), float64 on t's device."""
        return self.schedule.pair(self.schedule.place(t.to(widest(t.device))))

    def grid(self, steps: int, spacing: Spacing = "trailing", ends: Ends = "clean") -> Grid:
        """The steps of a sampling, `diffusion.grid`."""
        return make_grid(self.schedule, steps, spacing, ends)

    def _levels(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma (B, 1, ...), float32 at least, so that half-precision pictures are mixed exactly."""
        precise = torch.promote_types(like.dtype, torch.float32)
        ones = " ".join("1" for _ in range(like.dim() - 1))
        alpha, sigma = (rearrange(level.to(precise), f"b -> b {ones}") for level in self.levels(t))
        return alpha, sigma
