"""verdict: is one arm better than another, worse, or can nobody tell? From paired seeds and prompts, with an interval.

Both arms meet the same seeds (of weights, data order and noise) and the same prompts, so their difference is known for every
pair. Its mean errs because there are few seeds, and because there are few prompts: the variance is that of the pigeonhole
bootstrap, which draws seeds and prompts anew, each on its own (Owen 2007, arXiv 0711.1596), in closed form and unbiased for few
seeds. The interval is Student's with a degree of freedom for each seed but one, which is what makes it valid for three.
Nothing is drawn at random, so exchanging the arms exactly mirrors the verdict.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Outcome = Literal["better", "worse", "cannot tell"]
FEW = 5  # seeds: with fewer, whoever reads the verdict is warned
ROUNDING = 1e-9  # of differences: a spread below it is none
MOST = 1000  # seeds that are thought of when none would tell


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be said of an arm beside the reference, in the score's own units, larger being better.

    difference: the mean over seeds and prompts; `low` and `high`: where the truth lies with this confidence. more: seeds
    beside those there are that would tell, if the difference is what it seems; None where it told, or none up to 1,000 would.
    """

    outcome: Outcome
    difference: float
    low: float
    high: float
    confidence: float
    seeds: int
    prompts: int
    more: int | None
    warning: str = ""

    def to_json(self) -> dict[str, Any]:
        """Numbers that JSON has; an interval without ends has none."""
        ends = {key: value if math.isfinite(value) else None for key, value in (("low", self.low), ("high", self.high))}
        return {**asdict(self), **ends}


def verdict(arm: Sequence[Sequence[float]], reference: Sequence[Sequence[float]], *, confidence: float = 0.95) -> Verdict:
    """Scores by seed (rows) and prompt (columns), larger being better, of both arms. ValueError for tables of two shapes."""
    one, other = torch.tensor(arm, dtype=torch.float64), torch.tensor(reference, dtype=torch.float64)
    if one.shape != other.shape or one.dim() != 2 or not one.numel():
        raise ValueError(f"scores of shapes {tuple(one.shape)} and {tuple(other.shape)}; expected one (seeds, prompts) of both")
    differences = one - other
    mean, (seeds, prompts) = float(differences.mean()), tuple(differences.shape)
    half = half_width(differences, confidence)
    outcome: Outcome = "cannot tell" if abs(mean) <= half else "better" if mean > 0 else "worse"
    return Verdict(
        outcome,
        mean,
        mean - half,
        mean + half,
        confidence,
        seeds,
        prompts,
        more_seeds(differences, confidence) if outcome == "cannot tell" else None,
        warning(seeds, unspread=seeds > 1 and not math.isfinite(half)),
    )


def warning(seeds: int, *, unspread: bool = False) -> str:
    if seeds == 1:
        return "one seed: nobody knows how much another seed would have changed"
    if unspread:
        return "every seed and prompt shows the very same difference, as scores in coarse steps do: nothing is known of luck"
    return f"{seeds} seeds: the interval is valid but wide; {FEW} or more narrow it" if seeds < FEW else ""


def half_width(differences: Tensor, confidence: float, seeds: int | None = None) -> float:
    """Half the interval of the mean of differences (S, P), or of as many seeds as are said; infinite where nothing is known of
    luck: for one seed, or where all differences are the very same and not zero."""
    n = seeds or len(differences)
    if n < 2 or len(differences) < 2:
        return math.inf
    among, across = components(differences)
    error = math.sqrt(among / n + across / differences.shape[1])
    if not differences.any():
        return 0.0
    if error <= ROUNDING * float(differences.abs().mean()):
        return math.inf
    return student(confidence, n - 1) * error


def student(confidence: float, freedom: int) -> float:
    """How many standard errors hold the truth with this confidence."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + confidence / 2))


def components(differences: Tensor) -> tuple[float, float]:
    """The variance of a seed's mean, and that from prompt to prompt beyond what seeds explain (two-way ANOVA).

    Neither is below 0, and a few seeds that agree by chance vary no less than their pairs let expect.
    """
    seeds, prompts = differences.shape
    rows, columns = differences.mean(1), differences.mean(0)
    if prompts < 2:
        return float(rows.var()), 0.0
    rest = differences - rows[:, None] - columns[None, :] + differences.mean()
    pairs = float(rest.square().sum()) / ((seeds - 1) * (prompts - 1))
    return max(float(rows.var()), pairs / prompts), max(float(columns.var()) - pairs / seeds, 0.0)


def more_seeds(differences: Tensor, confidence: float) -> int | None:
    """How many more seeds would tell, if mean and spread stayed as they are."""
    mean, there = abs(float(differences.mean())), len(differences)
    if there < 2 or mean == 0:
        return None
    tells = bisect_left(range(there, MOST + 1), True, key=lambda seeds: half_width(differences, confidence, seeds) < mean)
    return tells if there + tells <= MOST else None
