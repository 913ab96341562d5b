"""The evaluator: a network that learned the real training pictures' classes, and how good it is on real ones it never saw.

It is made once for a data set and kept in the cache; the generator under examination has no part in it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from cdkit.parts import DataError, Dataset, Examinee, Example
from torch import Tensor

from cdkit_metrics.intervals import Share
from cdkit_metrics.keeping import keep, kept, once
from cdkit_metrics.learning import Lesson, learn, lesson_for
from cdkit_metrics.network import Recogniser
from cdkit_metrics.words import label_of

FOLDER = "evaluators"
AT_ONCE = 500  # pictures in one forward pass


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Names classes and measures features. `accuracy`: on the real test split, of which it saw nothing."""

    network: Recogniser
    classes: tuple[str, ...]
    accuracy: Share
    mirror: bool = False  # judge a picture together with its mirror image

    @torch.inference_mode()
    def recognise(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) in [-1, 1] -> (N,) places among the classes, on the CPU."""
        return torch.cat([self._shares(part).argmax(1).cpu() for part in self._parts(images)])

    def _shares(self, part: Tensor) -> Tensor:
        views = (part, part.flip(-1)) if self.mirror else (part,)
        return sum((self.network(view).softmax(1) for view in views), torch.zeros(()))

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) in [-1, 1] -> (N, F) float64 on the CPU, what the last linear layer reads."""
        return torch.cat([self.network.features(part).double().cpu() for part in self._parts(images)])

    def _parts(self, images: Tensor) -> Sequence[Tensor]:
        device = next(self.network.parameters()).device
        return [part.to(device, torch.float32) for part in images.split(AT_ONCE)]

    def report(self) -> dict[str, Any]:
        """How far its word can be trusted: its accuracy on real held-out pictures."""
        return {**self.accuracy.report(), "pictures": "real, test split"}


def evaluator_of(examinee: Examinee, *, epochs: int | None = None) -> Evaluator:
    """The evaluator of the examinee's data set, out of its cache or taught now. epochs: None as many as suit the set."""
    dataset = examinee.dataset
    if len(dataset.classes) < 2:
        raise DataError(
            f"{type(dataset).__name__} has {len(dataset.classes)} classes; an evaluator needs two to tell apart",
            hint="score it by `identification`, which needs no evaluator",
        )
    lesson = lesson_for(dataset, epochs=epochs)
    folder, name = examinee.cache / FOLDER, _name(dataset, lesson)
    device = examinee.device
    return once(
        folder,
        name,
        lambda: _remembered(dataset, lesson, folder, name, device),
        lambda: _taught(dataset, lesson, folder, name, device, examinee.say),
    )


def images_of(examples: Sequence[Example]) -> Tensor:
    """(N, C, H, W) in [-1, 1]."""
    return torch.stack([example.image for example in examples])


def _name(dataset: Dataset, lesson: Lesson) -> str:
    """A file's name that any change in the pictures, the lesson or its version changes."""
    what = json.dumps([dataset.fingerprint(), lesson.report()], sort_keys=True)
    return f"{type(dataset).__name__.lower()}-{hashlib.sha256(what.encode()).hexdigest()[:16]}"


def _new(dataset: Dataset, lesson: Lesson) -> Recogniser:
    return Recogniser(dataset.shape, classes=len(dataset.classes), width=lesson.width, blocks=lesson.blocks)


def _remembered(dataset: Dataset, lesson: Lesson, folder: Path, name: str, device: torch.device) -> Evaluator | None:
    found = kept(folder, name)
    if found is None:
        return None
    weights, facts = found
    network = _new(dataset, lesson)
    network.load_state_dict(weights)
    accuracy = Share(int(facts["accuracy"]["count"]), int(facts["accuracy"]["n"]))
    return Evaluator(network.to(device).eval(), dataset.classes, accuracy, lesson.mirror)


def _taught(
    dataset: Dataset, lesson: Lesson, folder: Path, name: str, device: torch.device, say: Callable[[str], None]
) -> Evaluator:
    say(f"evaluator: learning {len(dataset.split('train'))} real pictures of {len(dataset.classes)} classes on {device}")
    start = time.perf_counter()
    network = learn(dataset, lesson, lambda: _new(dataset, lesson), lambda one: label_of(one, dataset), device=device, say=say)
    evaluator = Evaluator(network, dataset.classes, _accuracy(network, dataset, lesson.mirror), lesson.mirror)
    say(f"evaluator: {evaluator.accuracy.value:.2%} of {evaluator.accuracy.n} real held-out pictures recognised")
    facts = {"lesson": lesson.report(), "accuracy": evaluator.accuracy.report(), "classes": list(dataset.classes)}
    facts |= {"fingerprint": dataset.fingerprint(), "seconds": round(time.perf_counter() - start, 1)}
    try:
        keep(folder, name, network.state_dict(), {**facts, "torch": torch.__version__, "device": str(device)})
    except OSError as error:
        say(f"evaluator: not kept, so the next run learns again: {error}")
    return evaluator


def _accuracy(network: Recogniser, dataset: Dataset, mirror: bool) -> Share:
    examples = dataset.split("test")
    truth = torch.tensor([label_of(example, dataset) for example in examples])
    named = Evaluator(network, dataset.classes, Share(0, 0), mirror).recognise(images_of(examples))
    return Share(int((named == truth).sum()), len(truth))
