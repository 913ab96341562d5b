"""frechet: how far drawn pictures lie from real ones, beside how far real ones lie from each other.

Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule", equation 6, in the features of our own evaluator, whose
numbers compare with nobody's FID, or in those of Inception. The estimate grows as the sample shrinks, so every distance here is
between samples of one size (see `likeness`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Examinee
from torch import Tensor

from cdkit_metrics.likeness import Likeness, compared


@dataclass(frozen=True, kw_only=True)
class Frechet(Likeness):
    """Draws a picture for each real one's caption, and measures both in the evaluator's features.

    pictures: at most; the split's own number if that is smaller. split: whose real pictures are the reference. cuts: into
    halves, averaged over. language: of the captions. seed: of the noise. batch: drawn
    between two lines of progress. epochs: of the evaluator's lesson; null suits the set. inception: a
    safetensors file of Inception's weights, in whose features pictures are then compared (extra `fidelity`).
    """

    figure: ClassVar[str] = "ratio"
    lower: ClassVar[bool] = True

    def __call__(self, examinee: Examinee) -> Mapping[str, Any]:
        """`ratio` is distance over floor: 1 is as good as real. `per_side`: pictures on each side of every distance."""
        both = self.both(examinee, what="a Fréchet distance")
        found = compared(both.real, both.made, frechet_distance, cuts=self.cuts, seed=self.seed)
        return {
            "ratio": float(found.distance / found.floor),
            "distance": float(found.distance),
            "floor": float(found.floor),
            "floor_spread": float(found.spread),
            **self.about(both),
        }


def frechet_distance(one: Tensor, other: Tensor) -> Tensor:
    """Samples (N, F) and (M, F) -> (), the squared Wasserstein-2 distance of the Gaussians with their means and covariances."""
    return torch.tensor(between(one.mean(0), one.T.cov(), other.mean(0), other.T.cov()), dtype=torch.float64)


def between(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> float:
    """|m - m'|^2 + tr(S + S' - 2 (S S')^1/2), in float64. Means (F,), covariances (F, F), singular ones too."""
    root = _root(covariance.double())
    # S S' and the symmetric S^1/2 S' S^1/2 have one spectrum, and the second can be decomposed without complex numbers
    spectrum = torch.linalg.eigvalsh(root @ other_covariance.double() @ root)
    shift = (mean.double() - other_mean.double()).square().sum()
    traces = covariance.double().trace() + other_covariance.double().trace()
    return max(0.0, float(shift + traces - 2 * spectrum.clamp(min=0).sqrt().sum()))


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


@hookimpl
def cdkit_metric() -> type[Frechet]:
    return Frechet
