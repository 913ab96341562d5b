"""Sizes that a data set measured are heard: after a training of seconds, the true ones explain a picture better than others.

SDXL tells its network of every picture how large it was and where it was cut, so that what was enlarged is not drawn for
what is sharp (Podell et al. 2023, section 2.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.build import assemble
from cdkit.build.liveness import prove
from cdkit.engine.evaluate import make_dataset
from cdkit.engine.examinee import Examined
from cdkit.engine.load import load
from cdkit.engine.train import train
from cdkit.errors import SpecError
from cdkit.model import Model
from cdkit.parts import Dataset
from cdkit.registry import Registry
from cdkit.spec import Spec, read_spec
from torch import Tensor, nn

MICRO = Path(__file__).parents[3] / "specs" / "micro_conditioning.yaml"
SMALL = (
    "backbone.width=16",
    "conditions.text.dim=16",
    "data.count=1000",
    "data.originals=[4, 16]",
    "data.margin=0",
    "injectors.1.hidden=null",
    "train.decay=constant",
    "train.steps=150",
    "train.batch=32",
    "train.warmup=20",
    "train.ema=0.9",
    "train.sample_every=0",
)


@pytest.fixture(scope="module")
def spec() -> Spec:
    return read_spec(MICRO, overrides=SMALL)


@pytest.fixture(scope="module")
def model(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(train(spec, tmp_path_factory.mktemp("micro") / "run", say=lambda _: None).path)


@pytest.fixture(scope="module")
def data(spec: Spec) -> Dataset:
    return make_dataset(spec)


def better_explained(model: Model, data: Dataset) -> Tensor:
    """(N,) by how much less the error is when the true original size is told, and not the other one; as a share of it."""
    examples = list(data.split("validation"))
    images = torch.stack([example.image for example in examples])
    text = [example.values["text"][0] for example in examples]
    true = [example.values["sizes"][0] for example in examples]
    other = [(20 - size[0], 20 - size[1], *size[2:]) for size in true]  # 4 for 16, 16 for 4
    seeds = list(range(len(examples)))
    examinee = Examined(model, data, Path(), guidance=1.0)
    right, wrong = (examinee.loss(images, {"text": text, "sizes": told}, 0.3, seeds) for told in (true, other))
    return (wrong - right) / right


def sizes_are_heard(model: Model, data: Dataset) -> None:
    gain = better_explained(model, data)
    share = (gain > 0).double().mean().item()
    assert share > 0.7, f"the true size explains {share:.0%} of the pictures better than a wrong one; deaf: 0 %, luck: 50 %"


@contextmanager
def without(model: Model, injector: str) -> Iterator[None]:
    """The same model, in which one injector's taps hand on what they get."""

    class Deaf(nn.Module):
        def __init__(self, tap: Any) -> None:
            super().__init__()
            self.prepare = tap.prepare

        def forward(self, h: Tensor, signal: Any, emb: Tensor) -> Tensor:
            del signal, emb
            return h

    slots: list[Any] = [module for module in model.backbone.modules() if injector in getattr(module, "taps", {})]
    taps = [slot.taps[injector] for slot in slots]
    for slot, tap in zip(slots, taps, strict=True):
        slot.taps[injector] = Deaf(tap)
    yield
    for slot, tap in zip(slots, taps, strict=True):
        slot.taps[injector] = tap


@pytest.mark.slow
def test_true_sizes_explain_a_picture_better(model: Model, data: Dataset) -> None:
    sizes_are_heard(model, data)


@pytest.mark.slow
def test_a_network_that_ignores_them_is_caught(model: Model, data: Dataset) -> None:
    with without(model, "add"), pytest.raises(AssertionError, match="explains 0% of the pictures"):
        sizes_are_heard(model, data)


@pytest.mark.slow
def test_each_number_reaches_the_output(model: Model) -> None:
    """Original, crop and target: another value of any of the six is another prediction, and the same value the same."""
    x, t = torch.randn(1, *model.shape, generator=torch.Generator().manual_seed(0)), torch.tensor([500.0])
    plain = (8.0, 8.0, 1.0, 1.0, 16.0, 16.0)

    @torch.no_grad()
    def drawn(sizes: tuple[float, ...]) -> Tensor:
        return model(x, t, {"text": ["a red circle"], "sizes": [sizes]})

    assert torch.equal(drawn(plain), drawn(plain))
    for place in range(6):
        other = (*plain[:place], plain[place] + 1, *plain[place + 1 :])
        assert (drawn(other) - drawn(plain)).abs().max() > 1e-6, f"number {place} of the six"


def test_the_proof_catches_an_encoder_that_reads_all_sizes_alike() -> None:
    real = Registry.installed().get("encoder", "size")

    class Illiterate(real):
        def forward(self, raw: Sequence[Any]) -> Any:
            return super().forward([(1.0,) * 6 for _ in raw])

    registry = Registry.installed().extended({("encoder", "illiterate"): Illiterate})
    text = MICRO.read_text(encoding="utf-8").replace("use: size", "use: illiterate")
    with pytest.raises(SpecError, match=r"conditions\.sizes.*reads two different examples alike"):
        prove(assemble(read_spec(text, registry=registry), device="meta"))


@pytest.mark.slow
def test_silence_is_the_default_size(model: Model) -> None:
    """A picture of which no size is said is drawn as one of 16 rows, uncut: that is what `default` says."""
    x, t = torch.randn(1, *model.shape, generator=torch.Generator().manual_seed(1)), torch.tensor([400.0])
    said = model.encode({"text": ["a red circle"], "sizes": [(16, 16, 0, 0, 16, 16)]})
    with torch.no_grad():
        told, silent = (
            model.backbone(x, t, model.prepare(model.joined({**said, "sizes": sizes})))
            for sizes in (said["sizes"], model.null("sizes", 1))
        )
    assert torch.equal(told, silent)
