"""prdc: precision, recall, density and coverage: are drawn pictures like real ones, and are all real ones among the drawn?

A picture's ball reaches to its k-th nearest neighbour of its own sample. Kynkäänniemi et al. 2019, "Improved Precision and
Recall Metric", section 3: `precision`, the share of drawn pictures in any real one's ball; `recall`, of real ones in any drawn
one's. Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics": `density` (equation 3), in how many real balls a drawn
picture lies, over k; `coverage` (equation 4), the share of real balls in which a drawn picture lies. Density and coverage do
not trust a lonely outlier's large ball. Real pictures do not reach 1 either, and density may pass it: see `real`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Examinee, Positive
from torch import Tensor

from cdkit_metrics.likeness import FEWEST, Likeness, compared

NAMES = ("precision", "recall", "density", "coverage")
EXACT = "donot_use_mm_for_euclid_dist"  # what is equal is to be at distance 0


@dataclass(frozen=True, kw_only=True)
class Prdc(Likeness):
    """Draws a picture for each real one's caption, and measures both in the evaluator's features.

    neighbours: k. All other options are those of `frechet`; asked with the same ones, both look at the same pictures.
    """

    figure: ClassVar[str] = "coverage"
    groups: ClassVar[str] = "measures"

    neighbours: Positive = 5

    def __call__(self, examinee: Examinee) -> Mapping[str, Any]:
        """`measures`: all four of drawn pictures; `real`: of real ones, and `real_spread`, over the cuts."""
        both = self.both(examinee, fewest=max(FEWEST, 2 * self.neighbours + 2), what=f"prdc with {self.neighbours} neighbours")

        def measure(real: Tensor, other: Tensor) -> Tensor:
            return prdc(real, other, self.neighbours)

        found = compared(both.real, both.made, measure, cuts=self.cuts, seed=self.seed)
        measures, real, spread = (dict(zip(NAMES, values.tolist(), strict=True)) for values in found)
        return {
            "coverage": measures["coverage"],
            "measures": measures,
            "real": real,
            "real_spread": spread,
            "neighbours": self.neighbours,
            **self.about(both),
        }


def prdc(real: Tensor, made: Tensor, neighbours: int) -> Tensor:
    """(N, F), (M, F), both larger than `neighbours` -> (4,) float64 in the order of NAMES."""
    distances = torch.cdist(real, made, compute_mode=EXACT)
    in_real = distances <= reach(real, neighbours)[:, None]
    in_made = distances <= reach(made, neighbours)[None, :]
    found = (in_real.any(0), in_made.any(1), in_real.double().sum(0) / neighbours, in_real.any(1))
    return torch.stack([of_each.double().mean() for of_each in found])


def reach(sample: Tensor, neighbours: int) -> Tensor:
    """(N, F) -> (N,) how far each one's k-th nearest neighbour lies, itself not counted."""
    return torch.cdist(sample, sample, compute_mode=EXACT).kthvalue(neighbours + 1, dim=1).values


@hookimpl
def cdkit_metric() -> type[Prdc]:
    return Prdc
