# ruff: noqa: ARG002  # interfaces name what these parts do not look at
"""The kit's checks of where parts live, and of autoencoders, data sets, joiners, metrics and callbacks: right ones pass, wrong
ones are caught, each by the check that is meant for it.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from cdkit.parts import (
    Autoencoder,
    Callback,
    Dataset,
    Example,
    Joiner,
    Metric,
    Mount,
    SampleShape,
    Signals,
    Site,
    Stream,
    Tap,
    TextEncoder,
    Widths,
)
from cdkit.testing import (
    INJECTOR_CHECKS,
    InjectorCase,
    Reference,
    check_autoencoder,
    check_backbone,
    check_callback,
    check_dataset,
    check_encoder,
    check_injector,
    check_joiner,
    check_metric,
)
from torch import Tensor, nn

# --------------------------------------------------------------------------- where a module lives


class ShiftTap(Tap):
    """h + project(pooled), right in every respect."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, channels)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def prepare(self, *streams: Stream) -> Tensor:
        pooled = streams[0].pooled
        assert pooled is not None
        return self.project(pooled.to(self.project.weight.dtype))

    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        del emb
        return h + signal.to(h.dtype)


class Shift:
    made: type[ShiftTap] = ShiftTap

    def __init__(self, streams: tuple[str, ...], widths: tuple[Widths, ...]) -> None:
        if not streams or not widths[0].pooled:
            raise ValueError(f"shift needs pooled; got {', '.join(streams) or 'no stream'}")
        self.width = widths[0].pooled

    def tap(self, site: Site) -> Tap | None:
        return self.made(site.width, self.width) if site.kind == "embed" else None


class MadeOfNumbers(ShiftTap):
    """Its weights are made of numbers, so they cannot be laid out without memory."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width)
        self.project.weight = nn.Parameter(torch.zeros((channels, width), device="cpu"))


class KeepsATensor(ShiftTap):
    """A constant that is no buffer stays where it was made."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width)
        self.scale = torch.ones(channels, device="cpu")

    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        return super().forward(h, signal * self.scale.to(signal.dtype), emb)


class KeepsAFunction(ShiftTap):
    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width)
        self.after = lambda h: h

    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        return self.after(super().forward(h, signal, emb))


class AsksForANumber(ShiftTap):
    def forward(self, h: Tensor, signal: Tensor, emb: Tensor) -> Tensor:
        return super().forward(h, signal, emb) if float(signal.abs().sum()) >= 0 else h


def mounting(tap: type[ShiftTap]) -> type[Shift]:
    """The injector of a tap, found again by its name as pickle finds it."""
    return type("Shift", (Shift,), {"made": tap})


def test_a_right_injector_passes() -> None:
    check_injector(Shift)


@pytest.mark.parametrize(
    ("tap", "check", "text"),
    [
        (MadeOfNumbers, "meta", r"^meta: tensors that hold numbers there: measured \['embed.taps.injector.project.weight'\]"),
        (KeepsATensor, "devices", r"^devices: called on meta: measured '.*', allowed an answer there"),
        (KeepsAFunction, "copies", r"^copies: sent to another process: measured .*lambda.*, allowed an object that pickles"),
        (AsksForANumber, "compile", r"^compile: torch.compile\(fullgraph=True\): measured '.*', allowed one graph"),
    ],
)
def test_a_tap_that_lives_in_one_place_is_caught(tap: type[ShiftTap], check: str, text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        INJECTOR_CHECKS[check](InjectorCase({"injector": mounting(tap)}))


class Rooted(Reference):
    """Adds a constant of the CPU's."""

    def __init__(self, mount: Mount, sample: SampleShape) -> None:
        super().__init__(mount, sample)
        self.shift = torch.zeros(1, device="cpu")

    def forward(self, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        return super().forward(x, t, signals) + self.shift.to(x.dtype)


class Counting(Reference):
    """Prints while it draws: no graph holds that."""

    def forward(self, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        print(end="" if float(x.sum()) else " ")
        return super().forward(x, t, signals)


@pytest.mark.parametrize(("network", "text"), [(Rooted, "^devices: "), (Counting, "^compile: ")])
def test_a_network_that_lives_in_one_place_is_caught(network: type[Reference], text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        check_backbone(network)


class Bytes(TextEncoder):
    """Right in every respect."""

    def __init__(self) -> None:
        super().__init__()
        self.widths, self.table = Widths(tokens=4, pooled=4), nn.Embedding(257, 4)

    def ids(self, raw: Sequence[Any]) -> list[Tensor]:
        return [torch.tensor([256, *text.encode()], device=self.table.weight.device) for text in raw]

    def forward(self, raw: Sequence[Any]) -> Stream:
        ids = nn.utils.rnn.pad_sequence(self.ids(raw), batch_first=True, padding_value=-1)
        mask, tokens = ids >= 0, self.table(ids.clamp(min=0))
        return Stream(tokens, mask, (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


class StaysAtHome(Bytes):
    def ids(self, raw: Sequence[Any]) -> list[Tensor]:
        return [torch.tensor([256, *text.encode()]) for text in raw]


class Locked(Bytes):
    """Holds what no other process can be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


def test_a_right_encoder_passes() -> None:
    check_encoder(Bytes)


@pytest.mark.parametrize(
    ("encoder", "text"), [(StaysAtHome, "^devices: called on meta"), (Locked, "^copies: a deep copy: .*lock")]
)
def test_an_encoder_that_lives_in_one_place_is_caught(encoder: type[Bytes], text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        check_encoder(encoder)


# --------------------------------------------------------------------------- autoencoders


class Patches(Autoencoder):
    """Right in every respect."""

    trainable = True
    factor, channels = 2, 4

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 4, 2, stride=2)
        self.decoder = nn.ConvTranspose2d(4, 3, 2, stride=2)

    def encode(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean = self.encoder(pixels)
        return mean if generator is None else mean + 0.1 * torch.randn(mean.shape, generator=generator)

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(latents).tanh()


class Smaller(Patches):
    factor = 4


class Loud(Patches):
    def decode(self, latents: Tensor) -> Tensor:
        return 40 * self.decoder(latents)


class Averages(Patches):
    def encode(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return super().encode(pixels - pixels.mean(0), generator)


class Blind(Patches):
    def encode(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return super().encode(pixels * 0, generator)


class Restless(Patches):
    def encode(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean = super().encode(pixels, generator)
        return mean + 1e-6 * torch.randn(mean.shape)


class CutOff(Patches):
    def loss(self, pixels: Tensor, noise: Tensor) -> Tensor:
        return (self.decode(self.encode(pixels).detach()) - pixels).abs().mean()


class Forgets(Patches):
    counter = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.shift = float(next(self.counter))

    def encode(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return super().encode(pixels, generator) + self.shift


def test_a_right_autoencoder_passes() -> None:
    check_autoencoder(Patches)


@pytest.mark.parametrize(
    ("autoencoder", "text"),
    [
        (Smaller, r"^sizes: latents: measured \(3, 4, 8, 12\), allowed \(3, 4, 4, 6\)"),
        (Loud, "^sizes: the largest pixel that comes back"),
        (Averages, "^batch: encode of one picture"),
        (Blind, "^hears: latents of two pictures"),
        (Restless, "^repeatable: latents, without a generator"),
        (CutOff, "^learns: weights without a gradient"),
        (Forgets, "^state dict: latents"),
    ],
)
def test_a_wrong_autoencoder_is_caught(autoencoder: type[Patches], text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        check_autoencoder(autoencoder)


# --------------------------------------------------------------------------- data sets


class Shades(Dataset):
    """Right in every respect."""

    columns = ("text", "label")
    shape = SampleShape(1, 4, 4)
    classes = ("dark", "light")
    licence = "CC0-1.0"

    def ids(self, split: str) -> list[str]:
        return [f"{split}-{i}" for i in range(6)]

    def split(self, name: Literal["train", "validation", "test"]) -> Sequence[Example]:
        return [self.example(id, i % 2) for i, id in enumerate(self.ids(name))]

    def example(self, id: str, label: int) -> Example:
        draws = torch.Generator().manual_seed(int(hashlib.sha256(id.encode()).hexdigest()[:8], 16))
        image = (label - 0.5 + 0.1 * torch.randn(tuple(self.shape), generator=draws)).clamp(-1, 1)
        return Example(id, image, {"text": (f"a {self.classes[label]} one",), "label": (self.classes[label],)})

    def fingerprint(self) -> str:
        return hashlib.sha256(b"shades").hexdigest()

    def augment(self, example: Example, generator: torch.Generator) -> Example:
        shift = 0.1 * float(torch.rand((), generator=generator))
        return Example(example.id, (example.image + shift).clamp(-1, 1), example.values)

    def prompts(self, language: str) -> Mapping[str, tuple[str, ...]]:
        return {name: (f"a {name} one",) for name in self.classes} if language == "en" else {}


class Bytewise(Shades):
    def example(self, id: str, label: int) -> Example:
        made = super().example(id, label)
        return Example(id, (made.image * 127 + 128).to(torch.uint8), made.values)


class Bright(Shades):
    def example(self, id: str, label: int) -> Example:
        made = super().example(id, label)
        return Example(id, made.image * 255, made.values)


class Silent(Shades):
    def example(self, id: str, label: int) -> Example:
        made = super().example(id, label)
        return Example(id, made.image, {**made.values, "text": ()})


class Leaks(Shades):
    def ids(self, split: str) -> list[str]:
        return [*super().ids(split)[:5], "everywhere"]


class Shuffles(Shades):
    seen = itertools.count()

    def ids(self, split: str) -> list[str]:
        ids = super().ids(split)
        return ids[::-1] if next(self.seen) % 2 else ids


class Stamps(Shades):
    seen = itertools.count()

    def __init__(self) -> None:
        self.number = next(self.seen)

    def fingerprint(self) -> str:
        return hashlib.sha256(str(self.number).encode()).hexdigest()


class DrawsAgain(Shades):
    def example(self, id: str, label: int) -> Example:
        made = super().example(id, label)
        return Example(id, (made.image + 0.01 * torch.randn(made.image.shape)).clamp(-1, 1), made.values)


class Scribbles(Shades):
    def augment(self, example: Example, generator: torch.Generator) -> Example:
        example.image.mul_(0.9)
        return example


class Whims(Shades):
    def augment(self, example: Example, generator: torch.Generator) -> Example:
        return Example(example.id, example.image * float(torch.rand(())), example.values)


class Unclassed(Shades):
    classes = ("dark", "light")

    def example(self, id: str, label: int) -> Example:
        made = super().example(id, label)
        return Example(id, made.image, {**made.values, "label": ("grey",)})


class Unlicensed(Shades):
    licence = ""


class Bound(Shades):
    def __init__(self) -> None:
        self.reads = lambda id: id


def test_a_right_data_set_passes() -> None:
    check_dataset(Shades)


@pytest.mark.parametrize(
    ("dataset", "text"),
    [
        (Bytewise, r"^pictures: picture train-0 of train: measured \(torch.uint8"),
        (Bright, "^pictures: the largest value of picture"),
        (Silent, r"^pictures: columns without a value for picture train-0 of train: measured \['text'\]"),
        (Leaks, r"^splits: pictures of train that are in validation: measured \['everywhere'\]"),
        (Shuffles, "^repeatable: the order of|^splits: "),
        (Stamps, "^repeatable: made again"),
        (DrawsAgain, "^repeatable: picture train-0, read again"),
        (Scribbles, "^augment: "),
        (Whims, "^augment: a variation of"),
        (Unclassed, r"^labels: labels that are no class: measured \['grey'\]"),
        (Unlicensed, "^licence: the pictures' licence"),
        (Bound, "^copies: sent to another process"),
    ],
)
def test_a_wrong_data_set_is_caught(dataset: type[Shades], text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        check_dataset(dataset)


# --------------------------------------------------------------------------- joiners


class Behind(Joiner):
    """Pooled vectors one behind the other; right in every respect."""

    def __init__(self, widths: tuple[Widths, ...]) -> None:
        super().__init__()
        self.widths = Widths(pooled=sum(width.pooled for width in widths))

    def forward(self, *streams: Stream) -> Stream:
        return Stream(pooled=torch.cat([stream.pooled for stream in streams if stream.pooled is not None], dim=1))


class First(Behind):
    def forward(self, *streams: Stream) -> Stream:
        return super().forward(
            streams[0], *(Stream(pooled=torch.zeros_like(s.pooled)) for s in streams[1:] if s.pooled is not None)
        )


class Wider(Behind):
    def __init__(self, widths: tuple[Widths, ...]) -> None:
        super().__init__(widths)
        self.widths = Widths(pooled=self.widths.pooled + 1)


class Mixes(Behind):
    def forward(self, *streams: Stream) -> Stream:
        pooled = super().forward(*streams).pooled
        assert pooled is not None
        return Stream(pooled=pooled + pooled[:1])


def test_a_right_joiner_passes() -> None:
    check_joiner(Behind)


@pytest.mark.parametrize(
    ("joiner", "text"),
    [
        (First, "^hears: stream 1 says something else"),
        (Wider, r"^widths: pooled: measured \(3, 10\), allowed \(3, 11\)"),
        (Mixes, "^batch: pooled of samples in another order"),
    ],
)
def test_a_wrong_joiner_is_caught(joiner: type[Behind], text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        check_joiner(joiner)


# --------------------------------------------------------------------------- metrics, callbacks


@dataclass(frozen=True)
class Count(Metric):
    figure = "pictures"
    pictures: int = 10

    def __call__(self, examinee: Any) -> Mapping[str, Any]:
        return {"pictures": self.pictures}


@dataclass
class Changeable(Metric):
    pictures: int = 10

    def __call__(self, examinee: Any) -> Mapping[str, Any]:
        return {"pictures": self.pictures}


class Twice(Count):
    figure = by = "pictures"


class Sometimes(Count):
    lower: Any = "yes"


@dataclass(frozen=True)
class Diary(Callback):
    heard: int = 0

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        assert values["loss"] >= 0


@dataclass(frozen=True)
class Impatient(Diary):
    def ended(self, step: int) -> None:
        raise OSError("the disk is full")


@dataclass(frozen=True)
class Presumes(Diary):
    def began(self, run: Path, step: int, steps: int) -> None:
        if step:
            raise RuntimeError("a training begins at step 0")


def test_right_metrics_and_callbacks_pass() -> None:
    check_metric(Count)
    check_callback(Diary)


@pytest.mark.parametrize(
    ("check", "part", "text"),
    [
        (check_metric, Changeable, r"^options: the class: measured no frozen dataclass, allowed @dataclass\(frozen=True\)"),
        (check_metric, Twice, "^figure: names in its answer"),
        (check_metric, Sometimes, "^figure: lower: measured yes"),
        (check_callback, Impatient, "the disk is full"),
        (check_callback, Presumes, "a training begins at step 0"),
    ],
)
def test_wrong_ones_are_caught(check: Callable[..., None], part: type[Any], text: str) -> None:
    with pytest.raises((AssertionError, OSError, RuntimeError), match=text):
        check(part)
