"""How the evaluator learns to name pictures: AdamW, one cycle, smoothed labels, warps, an average of the weights."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import torch
from cdkit.parts import Dataset, Example
from torch import Tensor, nn

from cdkit_metrics.warping import Limits, warped

SEEN = 470_000  # pictures of a whole lesson, where that is neither too few epochs nor too many
FEWEST = 4
LARGE = 16  # rows from which pictures need a wider network and a longer lesson; chosen on the validation split of `animals`


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """Everything that decides the weights, beside the pictures; two evaluators of one lesson and one set are the same."""

    version: int = 1  # of the code that teaches and of the network: count up when either changes
    width: int
    batch: int
    epochs: int
    blocks: int = 1
    lr: float = 4e-3
    weight_decay: float = 0.1
    smoothing: float = 0.1
    ema: float = 0.99
    seed: int = 0
    mirror: bool = False  # look at each picture's mirror image too, where the set's own variations have it
    limits: Limits = field(default_factory=Limits)

    def report(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "limits": self.limits._asdict()}


def lesson_for(dataset: Dataset, *, epochs: int | None = None) -> Lesson:
    """A lesson that suits the set: the fewer its pictures, the more often they are seen."""
    width, batch, most = (32, 96, 60) if dataset.shape.height >= LARGE else (16, 64, 20)
    suited = max(FEWEST, min(most, round(SEEN / max(1, len(dataset.split("train"))))))
    return Lesson(width=width, batch=batch, epochs=epochs or suited, mirror=mirrors(dataset))


def mirrors(dataset: Dataset) -> bool:
    """Does the set vary its pictures by their mirror images? Found out by varying one that is not its own mirror image."""
    for example in dataset.split("train"):
        mirrored = example.image.flip(-1)
        if not torch.equal(mirrored, example.image):
            tries = (dataset.augment(example, torch.Generator().manual_seed(seed)) for seed in range(16))
            return any(torch.equal(varied.image, mirrored) for varied in tries)
    return False


class Pupil(nn.Module, ABC):
    """A network that learns what real pictures show."""

    @abstractmethod
    def loss(self, x: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """x (B, C, H, W) in [-1, 1], labels (B,) or (B, Q): places among the answers -> what the lesson lowers."""


Network = TypeVar("Network", bound=Pupil)
Truth = Callable[[Example], Any]  # a label, or several


def learn(
    dataset: Dataset,
    lesson: Lesson,
    new: Callable[[], Network],
    truth: Truth,
    *,
    device: torch.device,
    say: Callable[[str], None],
    more: Sequence[Example] = (),
) -> Network:
    """Teach a new network the training split and no other pictures but `more`, varied as the set allows.

    The same lesson gives the same weights on one machine.
    """
    # whoever asks may stand in inference mode or under autocast, whose cache of weights would never see them learn
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        examples = dataset.split("train")
        return _learn(dataset, [*examples, *more] if more else examples, lesson, new, truth, device, say)


def _learn(
    dataset: Dataset,
    examples: Sequence[Example],
    lesson: Lesson,
    new: Callable[[], Network],
    truth: Truth,
    device: torch.device,
    say: Callable[[str], None],
) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(lesson.seed)
        network = new()
    network = network.to(device).to(memory_format=torch.channels_last).train()  # a quarter faster on a CPU
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = _optimizer(network, lesson)
    steps = lesson.epochs * len(list(_batches(len(examples), lesson.batch)))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lesson.lr, total_steps=steps, pct_start=0.25)
    generator = torch.Generator().manual_seed(lesson.seed)
    done = 0
    for epoch in range(lesson.epochs):
        for images, labels in _epoch(dataset, examples, lesson, truth, generator):
            x = warped(images.to(device), limits=lesson.limits, generator=generator)
            loss = network.loss(x.to(memory_format=torch.channels_last), labels.to(device), lesson.smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            done += 1
            _follow(average, network, min(lesson.ema, (1 + done) / (10 + done)))
        say(f"evaluator: epoch {epoch + 1} of {lesson.epochs}")
    return average.eval().to(memory_format=torch.contiguous_format)  # as it will come out of the cache


def _batches(n: int, size: int) -> Iterator[slice]:
    """Whole batches; the remainder is left out, but for a set smaller than one batch."""
    for start in range(0, max(n - size, 0) + 1, size):
        yield slice(start, start + size)


def _epoch(
    dataset: Dataset, examples: Sequence[Example], lesson: Lesson, truth: Truth, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of the split in a new order, each picture varied as the set allows."""
    order = torch.randperm(len(examples), generator=generator).tolist()
    for at in _batches(len(examples), lesson.batch):
        chosen = [dataset.augment(examples[index], generator) for index in order[at]]
        images = torch.stack([example.image for example in chosen])
        yield images, torch.tensor([truth(example) for example in chosen])


def _optimizer(network: nn.Module, lesson: Lesson) -> torch.optim.Optimizer:
    """AdamW that decays kernels alone: gains and biases keep their size."""
    kernels = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": lesson.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lesson.lr)


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """The average moves towards the network, its running statistics too."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)
