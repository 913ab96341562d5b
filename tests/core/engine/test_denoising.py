"""What training asks of a network: told the right time, the right noise and the right silences, and scored by what it missed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.build.assemble import assemble
from cdkit.conditions import Count
from cdkit.engine.batches import Batch, Batches
from cdkit.engine.denoising import training_loss
from cdkit.engine.device import accelerator
from cdkit.engine.evaluate import make_dataset
from cdkit.engine.optimizer import make_optimizer
from cdkit.engine.train import train
from cdkit.model import Model
from cdkit.parts import Signals
from cdkit.spec import Spec
from einops import rearrange
from torch import Tensor, nn

Tiny = Callable[..., Spec]
CPU = torch.device("cpu")
MANY = ("train.batch=16",)


class Knowing(nn.Module):
    """A network that knows the pictures: of x and t it works out the noise, and answers as it should, `off` by a number."""

    def __init__(self, model: Model, clean: Tensor, off: float) -> None:
        super().__init__()
        self.diffusion, self.clean, self.off = model.diffusion, clean, off
        self.seen: list[tuple[Tensor, Tensor, Signals]] = []

    def forward(self, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        self.seen.append((x, t, signals))
        alpha, sigma = (rearrange(level, "b -> b 1 1 1") for level in self.diffusion.levels(t))
        noise = (x.double() - alpha * self.clean) / sigma
        return (self.diffusion.prediction.target(self.clean.double(), noise, alpha, sigma) + self.off).float()


def asked(spec: Spec, off: float = 0.0) -> tuple[Tensor, Knowing, Model, Batch]:
    """The loss of one batch by a network that knows it."""
    model = assemble(spec)
    loud(model)
    batch = Batches(make_dataset(spec), model.columns, batch=spec.train.batch, seed=0)[0]
    known = Knowing(model, batch.images, off)
    model.backbone = known
    return training_loss(model, batch, 0, CPU, accelerator(spec.train, CPU)), known, model, batch


def loud(model: Model) -> None:
    """What starts at zero, so that nobody hears it yet, is heard."""
    draws = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, generator=draws)


PATHS = ("cosine, prediction: v", "linear, prediction: epsilon", "flow, prediction: flow", "sigmoid, prediction: sample")


@pytest.mark.parametrize("path", PATHS)
def test_a_network_that_knows_the_pictures_misses_nothing(tiny: Tiny, path: str) -> None:
    """So what it is told to see is its picture under the noise of the very time that it is told."""
    loss, known, _, _ = asked(tiny(*MANY, f"diffusion={{schedule: {path}}}"))
    [(_, t, _)] = known.seen
    assert float(loss) < 1e-8
    assert float(t.max() - t.min()) > 300  # each picture at a time of its own


def test_what_it_misses_is_weighed_by_its_time(tiny: Tiny) -> None:
    loss, known, model, _ = asked(tiny(*MANY, "diffusion.weighting=min_snr"), off=0.5)
    [(_, t, _)] = known.seen
    weight = model.diffusion.weight(t)
    assert float(weight.max() / weight.min()) > 2
    assert float(loss) == pytest.approx(0.25 * float(weight.mean()), rel=1e-4)


def test_pictures_of_which_nothing_is_said_meet_the_null_and_the_others_their_words(tiny: Tiny) -> None:
    _, known, model, batch = asked(tiny(*MANY, "conditions.text.dropout=0.5"))
    [(_, _, signals)] = known.seen
    told = model.prepare(model.joined(model.encode(batch.raw)))
    silent = model.prepare(model.joined({"text": model.null("text", len(batch.ids))}))
    film = next(site for site, said in signals.items() if "film" in said)
    rows = [leaf[film]["film"] for leaf in (signals, told, silent)]
    met, words, null = (torch.cat([value.flatten(1) for value in leaves_of(row)], dim=1) for row in rows)
    assert not torch.allclose(words, null)
    heard = [bool(torch.allclose(met[i], words[i], atol=1e-6)) for i in range(len(met))]
    assert all(torch.allclose(met[i], null[i], atol=1e-6) for i, one in enumerate(heard) if not one)
    assert model.ledger.counts["text"] == Count(told=sum(heard), silent=len(heard) - sum(heard))
    assert 0 < sum(heard) < len(heard)


def leaves_of(signal: Any) -> list[Tensor]:
    return [signal] if isinstance(signal, Tensor) else [leaf for part in signal for leaf in leaves_of(part)]


def test_a_picture_meets_other_noise_at_another_step_and_with_another_seed(tiny: Tiny) -> None:
    """And the same once more, whatever else is in the batch."""
    spec = tiny(*MANY)
    model = assemble(spec)
    batch = Batches(make_dataset(spec), model.columns, batch=16, seed=0)[0]
    seen = [seen_by(spec, batch, step, seed) for step, seed in ((0, 0), (0, 0), (1, 0), (0, 1))]
    assert torch.equal(seen[0], seen[1])
    assert not torch.isclose(seen[0], seen[2]).flatten(1).all(1).any()
    assert not torch.isclose(seen[0], seen[3]).flatten(1).all(1).any()
    alone = Batch(0, batch.ids[3:4], batch.images[3:4], {"text": batch.raw["text"][3:4]})
    assert torch.equal(seen_by(spec, alone, 0, 0)[0], seen[0][3])


def seen_by(spec: Spec, batch: Batch, step: int, seed: int) -> Tensor:
    """x (B, C, H, W) that the network is shown."""
    model = assemble(spec)
    model.backbone = known = Knowing(model, batch.images, 0.0)
    training_loss(model, Batch(step, batch.ids, batch.images, batch.raw), seed, CPU, accelerator(spec.train, CPU))
    return known.seen[0][0]


def test_two_batches_that_are_accumulated_are_one_update_by_their_mean(tiny: Tiny, tmp_path: Path) -> None:
    spec = tiny("train.steps=1", "train.accumulate=2", "train.warmup=0", "train.clip=1000")
    run = train(spec, tmp_path / "run", say=lambda _: None)
    model = assemble(spec).train()
    batches = Batches(make_dataset(spec), model.columns, batch=spec.train.batch, seed=spec.train.seed)
    optimizer, engine = make_optimizer(model, spec.train), accelerator(spec.train, CPU)
    (sum(training_loss(model, batches[k], spec.train.seed, CPU, engine) for k in range(2)) / 2).backward()
    norm = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
    optimizer.step()
    journal = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[0])
    assert journal["grad_norm"] == pytest.approx(float(norm), rel=1e-4)
    checkpoint = run.latest()
    assert checkpoint is not None
    saved, mine = checkpoint.tensors("backbone"), model.backbone.state_dict()
    assert all(torch.allclose(saved[name], mine[name], atol=1e-6) for name in saved)


def test_gradients_are_clipped_before_the_update(tiny: Tiny, tmp_path: Path) -> None:
    """Clipped far below AdamW's epsilon they move next to nothing; unclipped they move every weight by the learning rate."""
    moved: list[float] = []
    for clip in (1e-12, 1e6):
        spec = tiny("train.steps=2", "train.warmup=0", "train.weight_decay=0", f"train.clip={clip}")
        checkpoint = train(spec, tmp_path / str(clip), say=lambda _: None).latest()
        assert checkpoint is not None
        born, saved = assemble(spec).backbone.state_dict(), checkpoint.tensors("backbone")
        moved.append(max(float((saved[name] - born[name]).abs().max()) for name in saved))
    assert moved[0] < 1e-5
    assert moved[1] > 1e-3
