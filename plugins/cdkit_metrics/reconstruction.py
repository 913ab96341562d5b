"""reconstruction: what pictures lose on the way through an autoencoder's latents, beside what the mean picture would lose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, ClassVar, Literal

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import DataError, Examinee, Metric, Positive

from cdkit_metrics.evaluator import images_of
from cdkit_metrics.hashing import shuffled

PEAK = 2.0  # pixels lie in [-1, 1]
MOST = 2000  # training pictures that the mean picture is made of


@dataclass(frozen=True, kw_only=True)
class Reconstruction(Metric):
    """Held-out pictures, encoded and decoded.

    pictures: at most; the split's own number if that is smaller. seed: of which. split: of
    the data set.
    """

    figure: ClassVar[str] = "psnr"

    pictures: Positive = 500
    split: Literal["train", "validation", "test"] = "test"
    seed: int = 0

    def __call__(self, examinee: Examinee) -> Mapping[str, Any]:
        """`psnr` in dB, the mean over pictures, and its standard error; `share`: squared error over the mean picture's."""
        examples = {example.id: example for example in examinee.dataset.split(self.split)}
        chosen = [examples[name] for name in shuffled(list(examples), "reconstruction", self.seed)[: self.pictures]]
        if not chosen:
            raise DataError(f"split {self.split!r} holds no picture; expected at least one")
        images = images_of(chosen)
        training = examinee.dataset.split("train")
        mean = torch.stack([training[place].image for place in range(min(len(training), MOST))]).mean(0)
        lost = (examinee.reconstruct(images) - images).square().flatten(1).mean(1)
        plain = (mean - images).square().flatten(1).mean(1)
        decibels = (10 * torch.log10(PEAK**2 / lost.clamp(min=1e-12))).tolist()
        return {
            "psnr": fmean(decibels),
            "standard_error": stdev(decibels) / len(decibels) ** 0.5 if len(decibels) > 1 else float("inf"),
            "error": float(lost.mean()),
            "error_of_mean_picture": float(plain.mean()),
            "share": float(lost.mean() / plain.mean()),
            "pictures": len(chosen),
            "split": self.split,
        }


@hookimpl
def cdkit_metric() -> type[Reconstruction]:
    return Reconstruction
