"""What compares drawn pictures with real ones shares: which pictures, in which features, and cuts that tell a floor.

The real pictures R are cut at random into halves A and B. The floor is d(A, B). The distance is d(A, G) where G was drawn from
the captions of B, picture for picture: what the floor becomes when one half is drawn instead of real. So every distance is
between samples of one size that have no caption in common. Both are averaged over the same cuts, and over both halves' turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from cdkit.parts import DataError, Examinee, Metric, Positive
from torch import Tensor

from cdkit_metrics.drawing import drawn
from cdkit_metrics.evaluator import Evaluator, evaluator_of, images_of
from cdkit_metrics.hashing import number, picture_seeds, shuffled
from cdkit_metrics.inception import Inception, inception
from cdkit_metrics.words import told

FEWEST = 8  # real pictures that can be cut into halves with a covariance each
CHOSEN = "frechet"  # of what the choice of pictures is a hash: all who compare choose alike, so that one drawing serves all


class Both(NamedTuple):
    """The features (N, F) of real pictures and of those drawn from their captions, row for row."""

    real: Tensor
    made: Tensor
    space: Evaluator | Inception
    seeds: list[int]


class Compared(NamedTuple):
    """Measures (M,): of drawn pictures beside real ones, of real ones beside real ones, and how those spread over the cuts."""

    distance: Tensor
    floor: Tensor
    spread: Tensor


@dataclass(frozen=True, kw_only=True)
class Likeness(Metric):
    """A metric of this sort. Its options mean the same in all of them (see `frechet`), and those that are asked with the same
    ones draw the same pictures.

    pictures: at most; the split's own number if that is smaller. split: whose real pictures are the reference. cuts: into
    halves, averaged over. language: of the captions. seed: of the noise. batch: drawn between two lines of progress. epochs: of
    the evaluator's lesson; null suits the set. inception: the weights of Inception, a safetensors file: features are hers then.
    """

    pictures: Positive = 2000
    language: str = "en"
    seed: int = 0
    split: Literal["train", "validation", "test"] = "test"
    cuts: Positive = 10
    batch: Positive = 500
    epochs: Positive | None = None
    inception: str | None = None

    def both(self, examinee: Examinee, *, fewest: int = FEWEST, what: str) -> Both:
        """A drawn picture for each real one's caption, and both in the evaluator's features. DataError for fewer real ones."""
        examples = {example.id: example for example in examinee.dataset.split(self.split)}
        chosen = [examples[name] for name in shuffled(list(examples), CHOSEN, self.seed)[: self.pictures]]
        if len(chosen) < fewest:
            raise DataError(f"{len(chosen)} real pictures in split {self.split!r}; {what} needs {fewest}")
        space = self.space(examinee)
        seeds = picture_seeds(self.seed, self.split, len(chosen))
        images = drawn(examinee, told(chosen, self.language), seeds, batch=self.batch, what=what)
        return Both(space.features(images_of(chosen)), space.features(images), space, seeds)

    def space(self, examinee: Examinee) -> Evaluator | Inception:
        """What measures features: our own evaluator, or Inception where her weights are here."""
        if self.inception is not None:
            return inception(self.inception, examinee.device)
        return evaluator_of(examinee, epochs=self.epochs)

    def about(self, both: Both) -> dict[str, Any]:
        """What is needed to read the figures."""
        return {
            "per_side": len(both.real) // 2,
            "pictures": len(both.real),
            "cuts": self.cuts,
            "evaluator": both.space.report(),
            "split": self.split,
            "language": self.language,
            "seeds": [both.seeds[0], both.seeds[-1]],
        }


def compared(real: Tensor, made: Tensor, measure: Callable[[Tensor, Tensor], Tensor], *, cuts: int, seed: int) -> Compared:
    """real, made (N, F), row for row of one caption. measure: (n, F) real and (n, F) others -> (M,)."""
    floors: list[Tensor] = []
    distances: list[Tensor] = []
    for one, other in _halves(len(real), cuts, seed):
        floors.append(measure(real[one], real[other]))
        distances += [measure(real[one], made[other]), measure(real[other], made[one])]
    floor = torch.stack(floors)
    return Compared(torch.stack(distances).mean(0), floor.mean(0), floor.std(0) if cuts > 1 else torch.zeros_like(floor[0]))


def _halves(n: int, cuts: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Disjoint halves of n, of one size (an odd one is left out), a new cut each time."""
    generator = torch.Generator().manual_seed(number("halves", seed))
    for _ in range(cuts):
        order = torch.randperm(n, generator=generator)
        yield order[: n // 2], order[n // 2 : n // 2 * 2]
