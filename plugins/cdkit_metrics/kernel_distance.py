"""kernel_distance: how unlike drawn and real pictures are, as a kernel sees it; unbiased, so that few pictures will do.

Bińkowski et al. 2018, "Demystifying MMD GANs" (KID), section 4: the squared maximum mean discrepancy with the kernel
k(x, y) = (x · y / F + 1)^3, by its unbiased estimator (Gretton et al. 2012, equation 3), in the features of our own evaluator,
whose numbers compare with nobody's KID, or in those of Inception. Its expectation is 0 for pictures as good as real, however few
there are, and it may come out below 0; so there is no ratio to a floor, and the floor's spread is what a distance is to be held
against.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from cdkit.hooks import hookimpl
from cdkit.parts import Examinee
from torch import Tensor

from cdkit_metrics.likeness import Likeness, compared


@dataclass(frozen=True, kw_only=True)
class KernelDistance(Likeness):
    """Draws a picture for each real one's caption, and measures both in the evaluator's features.

    All options are those of `frechet`; asked with the same ones, both look at the same pictures.
    """

    figure: ClassVar[str] = "distance"
    lower: ClassVar[bool] = True

    def __call__(self, examinee: Examinee) -> Mapping[str, Any]:
        """`distance` of drawn pictures; `floor`: of real ones, about 0; `floor_spread`: how far luck moves it from there."""
        both = self.both(examinee, what="a kernel distance")
        found = compared(both.real, both.made, kernel_distance, cuts=self.cuts, seed=self.seed)
        return {
            "distance": float(found.distance),
            "floor": float(found.floor),
            "floor_spread": float(found.spread),
            **self.about(both),
        }


def kernel_distance(one: Tensor, other: Tensor) -> Tensor:
    """Independent samples (N, F) and (M, F), at least two of each -> (), the unbiased estimate of the squared MMD."""
    return _within(one) + _within(other) - 2 * kernel(one, other).mean()


def kernel(one: Tensor, other: Tensor) -> Tensor:
    """(N, F), (M, F) -> (N, M)."""
    return (one @ other.T / one.shape[1] + 1) ** 3


def _within(sample: Tensor) -> Tensor:
    """The mean kernel of a sample's pairs, none of itself: that is what makes the estimate unbiased."""
    values = kernel(sample, sample)
    return (values.sum() - values.trace()) / (len(sample) * (len(sample) - 1))


@hookimpl
def cdkit_metric() -> type[KernelDistance]:
    return KernelDistance
