"""Weightings: how much an error at each noise level counts, and how often each level is drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from cdkit.diffusion.precision import widest
from cdkit.diffusion.prediction import Prediction


def min_snr(prediction: Prediction, alpha: Tensor, sigma: Tensor, gamma: float) -> Tensor:
    """The weight of the output's squared error that weighs the clean picture's by min(SNR, gamma), SNR = (alpha / sigma)^2.

    Hang et al. 2023 (2303.09556), section 3.4: min(SNR, gamma) for `sample`, min(1, gamma / SNR) for `epsilon`,
    min(SNR, gamma) / (SNR + 1) for `v`. The factor is the squared gain of the prediction, so flow has its own too.
    A step without signal (SNR 0) weighs nothing; one without noise has the limit of its neighbours.
    """
    snr = (alpha / sigma) ** 2  # infinite where sigma is 0
    return snr.clamp(max=gamma) * prediction.gain(alpha, sigma) ** 2


def logit_normal(u: Tensor) -> Tensor:
    """u (B,) uniform in [0, 1) -> sigmoid of a standard normal, in [0, 1) (Esser et al. 2024, SD3, eq. 19: m 0, s 1).

    A quantile function, so that u keeps its meaning: the share of times that lie below.
    """
    return torch.sigmoid(torch.special.ndtri(u.to(widest(u.device))))
