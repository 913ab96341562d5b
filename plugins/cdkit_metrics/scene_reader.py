"""The reader: a network that learned from real training pictures to say what each thing in them is and how two lie.

As the evaluator of classes, it is made once for a data set and kept in the cache; the generator has no part in it.

It is to judge pictures of what the generator never saw together, so it must have seen that: who knows circles, but no green ones,
takes a green circle for something else that is green. So half of the test split is the reader's, shown more often because it is
small, and the other half is asked about.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from cdkit.parts import Dataset, Examinee, Example
from torch import Tensor

from cdkit_metrics.evaluator import AT_ONCE, FOLDER
from cdkit_metrics.hashing import number
from cdkit_metrics.keeping import keep, kept, once
from cdkit_metrics.learning import FEWEST, Lesson, learn, lesson_for
from cdkit_metrics.scene_network import SceneReader
from cdkit_metrics.scenes import Layout, Scene, layout_of
from cdkit_metrics.warping import Limits

SEEN = 100_000  # pictures of a whole lesson; after 70,000 it made no mistake on `shapes`
REPEATED = 4  # how often the half of the test split is shown for once that the others are
SMALL = Limits(degrees=4.0, shift=0.03, zoom=0.04, shear=0.03)  # what is left of, small or whole is to stay so


@dataclass(frozen=True, slots=True)
class Reader:
    """Says of pictures what scene they show. `answers`: those that it can give, question by question."""

    network: SceneReader
    layout: Layout
    answers: tuple[tuple[str, ...], ...]

    @torch.inference_mode()
    def read(self, images: Tensor) -> list[Scene]:
        """images (N, C, H, W) in [-1, 1] -> a scene each."""
        device = next(self.network.parameters()).device
        logits = torch.cat([self.network(part.to(device, torch.float32)).cpu() for part in images.split(AT_ONCE)])
        places = [of.argmax(1).tolist() for of in logits.split(self.network.answers, dim=1)]
        return [self._scene(row) for row in zip(*places, strict=True)]

    def _scene(self, places: Sequence[int]) -> Scene:
        """A thing with an attribute that is not there is none: the reader is asked one by one, and may contradict itself."""
        said = [answers[place] for answers, place in zip(self.answers, places, strict=True)]
        width = len(self.layout.attributes)
        things = tuple(tuple(said[start : start + width]) for start in range(0, width * self.layout.places, width))
        return Scene(things, said[-1])


def reader_of(examinee: Examinee, *, epochs: int | None = None) -> Reader:
    """The reader of the examinee's data set, out of its cache or taught now. DataError where it does not say what things are."""
    dataset = examinee.dataset
    layout = layout_of(dataset)
    suited = max(FEWEST, round(SEEN / len(dataset.split("train"))))
    lesson = replace(lesson_for(dataset, epochs=epochs or suited), limits=SMALL, mirror=False)
    what = json.dumps([dataset.fingerprint(), lesson.report(), REPEATED], sort_keys=True)
    name = f"{type(dataset).__name__.lower()}-scenes-{hashlib.sha256(what.encode()).hexdigest()[:16]}"
    folder = examinee.cache / FOLDER

    def read() -> Reader | None:
        found = kept(folder, name)
        if found is None:
            return None
        weights, facts = found
        reader = _new(dataset, lesson, layout, facts["answers"])
        reader.network.load_state_dict(weights)
        return replace(reader, network=reader.network.to(examinee.device).eval())

    def make() -> Reader:
        examinee.say(f"reader: learning {len(dataset.split('train'))} real pictures thing by thing on {examinee.device}")
        reader = _taught(examinee, layout, lesson)
        try:
            keep(folder, name, reader.network.state_dict(), {"answers": reader.answers, "lesson": lesson.report()})
        except OSError as error:
            examinee.say(f"reader: not kept, so the next run learns again: {error}")
        return reader

    return once(folder, name, read, make)


def halves(examples: Iterable[Example]) -> tuple[list[Example], list[Example]]:
    """Those that the reader learns, and those that it is asked about; a picture's id alone decides, whatever beside it."""
    found: tuple[list[Example], list[Example]] = ([], [])
    for example in examples:
        found[number("reader", example.id) % 2].append(example)
    return found


def _taught(examinee: Examinee, layout: Layout, lesson: Lesson) -> Reader:
    dataset = examinee.dataset
    more = halves(dataset.split("test"))[0]
    given = [_answers(layout.scene(example)) for example in (*dataset.split("train"), *more)]
    answers = [sorted(set(of)) for of in zip(*given, strict=True)]

    def truth(example: Example) -> list[int]:
        return [of.index(said) for of, said in zip(answers, _answers(layout.scene(example)), strict=True)]

    def new() -> SceneReader:
        return _new(dataset, lesson, layout, answers).network

    network = learn(dataset, lesson, new, truth, device=examinee.device, say=examinee.say, more=more * REPEATED)
    return Reader(network, layout, tuple(map(tuple, answers)))


def _new(dataset: Dataset, lesson: Lesson, layout: Layout, answers: Sequence[Sequence[str]]) -> Reader:
    counts = [len(of) for of in answers]
    network = SceneReader(dataset.shape, answers=counts, width=lesson.width, blocks=lesson.blocks)
    return Reader(network, layout, tuple(map(tuple, answers)))


def _answers(scene: Scene) -> tuple[Any, ...]:
    """What is to be said of a picture, in the order of the questions."""
    return (*(value for thing in scene.things for value in thing), scene.relation)
