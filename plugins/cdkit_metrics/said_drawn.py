"""said_drawn: the share of drawn pictures in which an evaluator, taught on real ones, recognises what was said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Examinee, Metric, Positive
from torch import Tensor

from cdkit_metrics.drawing import drawn
from cdkit_metrics.evaluator import evaluator_of
from cdkit_metrics.hashing import picture_seeds
from cdkit_metrics.intervals import Share
from cdkit_metrics.words import balanced, class_prompts

CONFUSIONS = 10  # of the most frequent mistakes


@dataclass(frozen=True, kw_only=True)
class SaidDrawn(Metric):
    """Says each class equally often, in its prompts in turn, and asks the evaluator what it sees.

    pictures: how many are drawn. language: of the prompts. seed: of the noise. split: decides the noise alone, so that what
    was tuned on "validation" is judged by other pictures. batch: drawn between two lines of progress. epochs: of the
    evaluator's lesson; null suits the set.
    """

    figure: ClassVar[str] = "drawn"
    by: ClassVar[str] = "classes"

    pictures: Positive = 2000
    language: str = "en"
    seed: int = 0
    split: Literal["validation", "test"] = "test"
    batch: Positive = 500
    epochs: Positive | None = None

    def __call__(self, examinee: Examinee) -> Mapping[str, Any]:
        """`drawn`: what this measures. `evaluator`: what real pictures score, the most that a drawn one can be held to."""
        prompts = class_prompts(examinee.dataset, self.language)
        evaluator = evaluator_of(examinee, epochs=self.epochs)
        values, said = balanced(prompts, self.language, self.pictures)
        seeds = picture_seeds(self.seed, self.split, self.pictures)
        images = drawn(examinee, values, seeds, batch=self.batch, what=f"said_drawn ({self.language})")
        counts = confusion(torch.tensor(said), evaluator.recognise(images), len(prompts))
        return {
            "drawn": Share(int(counts.diagonal().sum()), self.pictures).report(),
            "evaluator": evaluator.report(),
            "classes": by_class(counts, evaluator.classes),
            "confused": confusions(counts, evaluator.classes),
            "language": self.language,
            "split": self.split,
            "seeds": [seeds[0], seeds[-1]],
        }


def confusion(said: Tensor, seen: Tensor, classes: int) -> Tensor:
    """said (N,), seen (N,) -> counts (K, K), a row for what was said and a column for what was seen."""
    return torch.bincount(said * classes + seen, minlength=classes**2).unflatten(0, (classes, classes))


def by_class(counts: Tensor, names: tuple[str, ...]) -> dict[str, Any]:
    """Each class's share with its interval, the worst first."""
    shares = {name: Share(int(counts[place, place]), int(counts[place].sum())) for place, name in enumerate(names)}
    return {name: share.report() for name, share in sorted(shares.items(), key=lambda item: item[1].value)}


def confusions(counts: Tensor, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The most frequent mistakes: what was said, what was seen instead, how often."""
    wrong = [
        {"said": names[row], "seen": names[column], "n": int(counts[row, column])}
        for row in range(len(names))
        for column in range(len(names))
        if row != column and counts[row, column]
    ]
    return sorted(wrong, key=lambda mistake: -int(str(mistake["n"])))[:CONFUSIONS]


@hookimpl
def cdkit_metric() -> type[SaidDrawn]:
    return SaidDrawn
