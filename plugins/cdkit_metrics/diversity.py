"""diversity: how unlike each other the pictures of one prompt are, beside how unlike each other real ones of it are.

The mean distance between pairs of pictures that were told the same and drawn from different noise, as Zhu et al. 2017 measure it
("Toward Multimodal Image-to-Image Translation", section 5.2, there by LPIPS), in the features of our own evaluator, over that of
pairs of real pictures. 0: one picture whatever the noise. 1: as varied as real ones. Above 1 is no merit: a model that does
not hear the prompt draws anything, and so does one that draws noise; read it beside said_drawn and `prdc`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge
from cdkit.hooks import hookimpl
from cdkit.parts import DataError, Dataset, Examinee, Metric, Positive
from torch import Tensor

from cdkit_metrics.drawing import drawn
from cdkit_metrics.evaluator import Evaluator, evaluator_of
from cdkit_metrics.hashing import picture_seeds
from cdkit_metrics.words import class_prompts, columns

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, kw_only=True)
class Diversity(Metric):
    """Says one prompt of each class again and again, from different noise.

    each: pictures of a prompt. split: whose real pictures are the measure. language, seed, batch, epochs: as for said_drawn.
    """

    figure: ClassVar[str] = "ratio"
    by: ClassVar[str] = "classes"

    each: Annotated[int, Ge(2)] = 20
    language: str = "en"
    seed: int = 0
    split: Literal["validation", "test"] = "test"
    batch: Positive = 500
    epochs: Positive | None = None

    def __call__(self, examinee: Examinee) -> Mapping[str, Any]:
        """`ratio`: the mean of `classes`. `real`: what training pictures of the classes score, which are as varied as real."""
        prompts = class_prompts(examinee.dataset, self.language)
        evaluator = evaluator_of(examinee, epochs=self.epochs)
        names = [name for name in prompts for _ in range(self.each)]
        values = columns([prompts[name][0] for name in names], names, self.language)
        seeds = picture_seeds(self.seed, self.split, len(names))
        images = drawn(examinee, values, seeds, batch=self.batch, what=f"diversity ({self.language})")
        made = evaluator.features(images).unflatten(0, (len(prompts), self.each))
        of_real = spreads(examinee.dataset, self.split, evaluator)
        of_trained = spreads(examinee.dataset, "train", evaluator)
        ratios = {name: spread(ours) / of_real[name] for name, ours in zip(prompts, made, strict=True)}
        return {
            "ratio": fmean(ratios.values()),
            "standard_error": stdev(ratios.values()) / len(ratios) ** 0.5,
            "real": fmean(of_trained[name] / of_real[name] for name in prompts),
            "classes": dict(sorted(ratios.items(), key=lambda item: item[1])),
            "each": self.each,
            "evaluator": evaluator.report(),
            "split": self.split,
            "language": self.language,
            "seeds": [seeds[0], seeds[-1]],
        }


def spreads(dataset: Dataset, split: Split, evaluator: Evaluator) -> dict[str, float]:
    """By class, how unlike each other its real pictures are. DataError for a class of which no two differ."""
    pictures: dict[str, list[Tensor]] = {name: [] for name in dataset.classes}
    for example in dataset.split(split):
        pictures[example.values["label"][0]].append(example.image)
    alike = [name for name, images in pictures.items() if len(images) < 2 or not _differ(images)]
    if alike:
        raise DataError(f"split {split!r} has no two pictures that differ of {', '.join(alike)}; diversity needs them to compare")
    return {name: spread(evaluator.features(torch.stack(images))) for name, images in pictures.items()}


def _differ(images: Sequence[Tensor]) -> bool:
    return any(not torch.equal(images[0], image) for image in images)


def spread(features: Tensor) -> float:
    """(N, F) with N from 2 -> the mean Euclidean distance of its pairs; no picture counts as its own pair."""
    return float(torch.pdist(features).mean())


@hookimpl
def cdkit_metric() -> type[Diversity]:
    return Diversity
