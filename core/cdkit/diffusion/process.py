"""Diffusion: schedule, prediction, weighting in one. (hedge)"""
from __future__ import annotations
import math
from typing import Literal
import torch
from torch import Tensor
from cdkit.parts import Grid, Positive, PositiveFloat

class Diffusion:
    def __init__(self, *, schedule: Literal["linear","scaled_linear","cosine","sigmoid","flow"]="cosine", prediction: Literal["epsilon","v","sample","flow"]="v", steps: Positive=1000,
                 beta_start: float=0.00085, beta_end: float=0.012, zero_terminal_snr: bool=False, weighting: Literal["uniform","min_snr"]="uniform", gamma: PositiveFloat=5.0,
                 times: Literal["uniform","logit_normal"]="uniform", clip: PositiveFloat | None=None) -> None:
        self.schedule, self.prediction, self.steps, self.weighting, self.gamma, self.how, self.clip = schedule, prediction, steps, weighting, gamma, times, clip
        if schedule == "flow":
            self.alphas = self.sigmas = None
        else:
            s = torch.arange(steps, dtype=torch.float64)
            if schedule == "cosine":
                f = lambda u: torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
                betas = (1 - f((s + 1) / steps) / f(s / steps)).clamp(max=0.999)
            elif schedule == "linear":
                betas = torch.linspace(beta_start, beta_end, steps, dtype=torch.float64)
            else:
                betas = torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64) ** 2
            bar = torch.cumprod(1 - betas, 0)
            self.alphas, self.sigmas = bar.sqrt(), (1 - bar).sqrt()

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        if self.alphas is None:
            s = t.double() / 1000
            return 1 - s, s
        i = t.long().clamp(0, self.steps - 1)
        return self.alphas.to(t.device)[i], self.sigmas.to(t.device)[i]

    def times(self, u: Tensor) -> Tensor:
        if self.how == "logit_normal":
            u = torch.sigmoid(torch.special.ndtri(u.double().clamp(1e-6, 1 - 1e-6))).to(u.dtype)
        return u * 1000 if self.alphas is None else (u * self.steps).floor().clamp(max=self.steps - 1)

    def _pair(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        a, s = self.alpha_sigma(t)
        shape = (-1,) + (1,) * (like.dim() - 1)
        return a.to(like.dtype).view(shape), s.to(like.dtype).view(shape)

    def noised(self, clean, noise, t):
        a, s = self._pair(t, clean); return a * clean + s * noise
    def target(self, clean, noise, t):
        a, s = self._pair(t, clean)
        return {"epsilon": noise, "sample": clean, "v": a * noise - s * clean, "flow": noise - clean}[self.prediction]
    def weight(self, t):
        return torch.ones_like(t)
    def clean(self, output, x, t):
        a, s = self._pair(t, x)
        return self.to_clean(output, x, a, s)
    def to_clean(self, output, x, a, s):
        if self.prediction == "v": return a * x - s * output
        if self.prediction == "sample": return output
        if self.prediction == "flow": return (x - s * output) / (a + s)
        return (x - s * output) / a
    def grid(self, steps, spacing="trailing"):
        if self.alphas is None:
            t = torch.linspace(1000, 0, steps + 1, dtype=torch.float64)
            return Grid(t, 1 - t / 1000, t / 1000)
        t = (torch.arange(steps, 0, -1, dtype=torch.float64) * self.steps / steps).round() - 1
        z = torch.zeros(1, dtype=torch.float64)
        return Grid(torch.cat([t, z]), torch.cat([self.alphas[t.long()], z + 1]), torch.cat([self.sigmas[t.long()], z]))
