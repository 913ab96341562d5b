"""frechet: how far drawn pictures lie from real ones, beside how far real ones lie from each other.

Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule", equation 6, in the features of our own evaluator: the
numbers compare with nobody's FID. The estimate grows as the sample shrinks, so every distance here is between samples of
one size. The real pictures R are cut at random into halves A and B. The floor is d(A, B). The distance is d(A, G) where G
was drawn from the captions of B, picture for picture: what the floor becomes when one half is drawn instead of real. Both
are averaged over the same cuts, and over both halves' turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, ClassVar, Literal

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import DataError, Examinee, Metric, Positive
from torch import Tensor

from cdkit_metrics.drawing import drawn
from cdkit_metrics.evaluator import evaluator_of, images_of
from cdkit_metrics.hashing import number, picture_seeds, shuffled
from cdkit_metrics.words import told

FEWEST = 8  # real pictures that can be cut into halves with a covariance each


@dataclass(frozen=True, kw_only=True)
class Frechet(Metric):
    """Draws a picture for each real one's caption, and measures both in the evaluator's features.

    pictures: at most; the split's own number if that is smaller. split: whose real pictures are the reference. cuts: into
    halves, averaged over. language, seed, batch, epochs: as for said_drawn.
    """

    figure: ClassVar[str] = "ratio"
    lower: ClassVar[bool] = True

    pictures: Positive = 2000
    language: str = "en"
    seed: int = 0
    split: Literal["train", "validation", "test"] = "test"
    cuts: Positive = 10
    batch: Positive = 500
    epochs: Positive | None = None

    def __call__(self, examinee: Examinee) -> Mapping[str, Any]:
        """`ratio` is distance over floor: 1 is as good as real. `per_side`: pictures on each side of every distance."""
        examples = {example.id: example for example in examinee.dataset.split(self.split)}
        chosen = [examples[name] for name in shuffled(list(examples), "frechet", self.seed)[: self.pictures]]
        if len(chosen) < FEWEST:
            raise DataError(f"{len(chosen)} real pictures in split {self.split!r}; a Fréchet distance needs {FEWEST}")
        evaluator = evaluator_of(examinee, epochs=self.epochs)
        seeds = picture_seeds(self.seed, self.split, len(chosen))
        images = drawn(examinee, told(chosen, self.language), seeds, batch=self.batch, what="frechet")
        real, made = evaluator.features(images_of(chosen)), evaluator.features(images)
        distance, floor, spread = compared(real, made, cuts=self.cuts, seed=self.seed)
        return {
            "ratio": distance / floor,
            "distance": distance,
            "floor": floor,
            "floor_spread": spread,
            "per_side": len(chosen) // 2,
            "pictures": len(chosen),
            "cuts": self.cuts,
            "evaluator": evaluator.report(),
            "split": self.split,
            "language": self.language,
            "seeds": [seeds[0], seeds[-1]],
        }


def compared(real: Tensor, made: Tensor, *, cuts: int, seed: int) -> tuple[float, float, float]:
    """real, made (N, F), row for row of one caption -> mean distance, mean floor, and the floor's spread over the cuts."""
    floors: list[float] = []
    distances: list[float] = []
    for one, other in _halves(len(real), cuts, seed):
        floors.append(frechet_distance(real[one], real[other]))
        distances += [frechet_distance(real[one], made[other]), frechet_distance(real[other], made[one])]
    return fmean(distances), fmean(floors), stdev(floors) if cuts > 1 else 0.0


def _halves(n: int, cuts: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Disjoint halves of n, of one size (an odd one is left out), a new cut each time."""
    generator = torch.Generator().manual_seed(number("halves", seed))
    for _ in range(cuts):
        order = torch.randperm(n, generator=generator)
        yield order[: n // 2], order[n // 2 : n // 2 * 2]


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """Samples (N, F) and (M, F) -> the squared Wasserstein-2 distance of the Gaussians with their means and covariances."""
    return between(one.mean(0), one.T.cov(), other.mean(0), other.T.cov())


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
