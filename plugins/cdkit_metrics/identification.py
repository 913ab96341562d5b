"""identification: how often the true caption, of K, explains a held-out picture best. No sampler, no evaluator.

A conditional model is a classifier: the caption under which it removes the noise with the least error is the one it takes
for true (Li et al. 2023, "Your Diffusion Model is Secretly a Zero-shot Classifier", equation 6). All K captions of a
picture meet the same noise at the same level, so what differs is what was said. Chance is 1/K: that is where a model lies
that ignores its words, or that was trained on shuffled ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, MinLen
from cdkit.hooks import hookimpl
from cdkit.parts import DataError, Dataset, Examinee, Example, Metric, Positive
from torch import Tensor

from cdkit_metrics.evaluator import images_of
from cdkit_metrics.hashing import number, shuffled
from cdkit_metrics.intervals import share_of
from cdkit_metrics.words import told_first

KIND = "split_kind"  # the column in which a set says what is new in a picture


@dataclass(frozen=True, slots=True)
class Question:
    """One picture and its candidates, the true one among them at `answer`.

    Pictures take their answers' places in turn, so that who answers by the place, or cannot tell, is right 1 time in K.
    """

    example: Example
    candidates: tuple[Example, ...]
    answer: int


@dataclass(frozen=True, kw_only=True)
class Identification(Metric):
    """Asks of each picture which of K captions is its own.

    Where a set says what is new in a picture (`split_kind`), each kind has a share of its own, and pictures that were trained
    on are asked about too, as many: `seen` beside what was never seen.

    pairs: pictures asked about. candidates: K, the true caption among them; fewer where the split has fewer meanings.
    levels: noise levels in (0, 1). draws: of noise a picture and level, averaged. batch: pictures between two lines of
    progress. language, split: of the captions and pictures. seed: of which pictures, which candidates and the noise.
    """

    figure: ClassVar[str] = "identified"
    by: ClassVar[str] = "pictures"
    groups: ClassVar[str] = "kinds"

    pairs: Positive = 200
    candidates: Annotated[int, Ge(2)] = 10
    levels: Annotated[tuple[float, ...], MinLen(1)] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    draws: Positive = 1
    language: str = "en"
    seed: int = 0
    split: Literal["validation", "test"] = "test"
    batch: Positive = 50

    def __post_init__(self) -> None:
        outside = [level for level in self.levels if not 0 < level < 1]
        if outside:
            raise ValueError(f"levels {outside} lie outside (0, 1); 0 is a clean picture and 1 is nothing but noise")

    def __call__(self, examinee: Examinee) -> Mapping[str, Any]:
        """`identified`: by the losses averaged over all levels. `levels`: by each alone. `chance`: 1/K. `pictures`: which."""
        asked = questions(examinee.dataset, self.split, self.pairs, self.candidates, self.seed)
        losses = self._asked(examinee, asked)
        right = _right(losses.mean(0), asked)
        kinds = {"kinds": self._kinds(examinee, asked, right)} if KIND in examinee.dataset.columns else {}
        return {
            "identified": share_of(right).report(),
            "chance": 1 / len(asked[0].candidates),
            "candidates": len(asked[0].candidates),
            "levels": {str(level): share_of(_right(at, asked)).report() for level, at in zip(self.levels, losses, strict=True)},
            **kinds,
            "pictures": {question.example.id: int(found) for question, found in zip(asked, right, strict=True)},
            "draws": self.draws,
            "split": self.split,
            "language": self.language,
        }

    def _kinds(self, examinee: Examinee, asked: Sequence[Question], right: Sequence[bool]) -> dict[str, Any]:
        """A share of each kind of picture, and of as many that were trained on."""
        trained = questions(examinee.dataset, "train", self.pairs, self.candidates, self.seed)
        found = _right(self._asked(examinee, trained).mean(0), trained)
        rights: dict[str, list[bool]] = {}
        for question, answered in (*zip(trained, found, strict=True), *zip(asked, right, strict=True)):
            rights.setdefault(question.example.values[KIND][0], []).append(answered)
        return {kind: share_of(answers).report() for kind, answers in rights.items()}

    def _asked(self, examinee: Examinee, asked: Sequence[Question]) -> Tensor:
        """The losses (levels, pictures, K) of all questions."""
        return torch.cat([self._losses(examinee, asked, start) for start in range(0, len(asked), self.batch)], dim=1)

    def _losses(self, examinee: Examinee, asked: Sequence[Question], start: int) -> Tensor:
        """The losses (levels, pictures, K) of one batch of questions."""
        part = asked[start : start + self.batch]
        losses = torch.stack([self._at(examinee, part, level) for level in self.levels])
        examinee.say(f"identification: {start + len(part)} of {len(asked)} pictures asked about")
        return losses

    def _at(self, examinee: Examinee, part: Sequence[Question], level: float) -> Tensor:
        """The losses (pictures, K) at one level, averaged over the draws; a picture's candidates share every noise."""
        width = len(part[0].candidates)
        images = images_of([question.example for question in part]).repeat_interleave(width, 0)
        values = told_first([candidate for question in part for candidate in question.candidates], self.language)
        total = torch.zeros(len(images), dtype=torch.float64)
        for draw in range(self.draws):
            seeds = [number(self.seed, question.example.id, level, draw) for question in part for _ in range(width)]
            total += examinee.loss(images, values, level, seeds).double().cpu()
        return total.unflatten(0, (len(part), width)) / self.draws


def questions(
    dataset: Dataset, split: Literal["train", "validation", "test"], pairs: int, candidates: int, seed: int
) -> list[Question]:
    """Up to `pairs` questions of one width. Rivals are no two of one meaning, and none is true of the picture."""
    kinds: dict[str, list[Example]] = {}
    for example in dataset.split(split):
        kinds.setdefault(meaning(example, dataset.classes), []).append(example)
    everything = {example.id: example for kind in kinds.values() for example in kind}
    width = min(candidates, len(kinds))
    if width < 2:
        raise DataError(f"all {len(everything)} pictures of split {split!r} mean the same; identification needs two meanings")
    asked = [everything[name] for name in shuffled(list(everything), "pairs", seed)[:pairs]]
    return [_question(example, turn % width, rivals(example, kinds, width - 1, seed)) for turn, example in enumerate(asked)]


def rivals(example: Example, kinds: Mapping[str, Sequence[Example]], n: int, seed: int) -> list[Example]:
    """n pictures, each of another kind and in an order by hash, none of whose captions is true of the example."""
    found: list[Example] = []
    for kind in shuffled(list(kinds), seed, example.id, "rivals"):
        other = min(kinds[kind], key=lambda candidate: number(seed, example.id, candidate.id))
        if disagree(example, other):
            found.append(other)
        if len(found) == n:
            return found
    raise DataError(f"example {example.id} has {len(found)} rivals; expected {n}", hint="ask for fewer `candidates`")


def _question(example: Example, answer: int, others: Sequence[Example]) -> Question:
    return Question(example, (*others[:answer], example, *others[answer:]), answer)


def meaning(example: Example, classes: Sequence[str]) -> str:
    """What must differ for two captions to be rivals: the class where the set has classes, else all that is said."""
    if classes:
        return str(example.values.get("label"))
    return repr(sorted(example.values.get("text", ())))


def disagree(example: Example, other: Example) -> bool:
    """No caption is true of both; without captions, no label."""
    column = "text" if "text" in example.values else "label"
    return not set(example.values.get(column, ())) & set(other.values.get(column, ()))


def _right(losses: Tensor, asked: Sequence[Question]) -> list[bool]:
    """losses (N, K): of which pictures the least loss is the true caption's; of equals, the first (see Question)."""
    return (losses.argmin(1) == torch.tensor([question.answer for question in asked])).tolist()


@hookimpl
def cdkit_metric() -> type[Identification]:
    return Identification
