"""A model as a metric sees it: it draws what it is told, and says how well a caption explains a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cdkit.diffusion.random import generator
from cdkit.engine.apart import of_rows, tensor_together
from cdkit.engine.drawings import Drawings
from cdkit.engine.ranks import ALONE, Ranks
from cdkit.errors import UsageError
from cdkit.model import Model
from cdkit.model.atlas import explain
from cdkit.model.draw import check_draws
from cdkit.parts import Acting, Dataset


@dataclass
class Examined:
    """parts.Examinee over a Model: by the spec's sampler and guidance, or by those that stand here instead.

    dataset: what it is judged on. cache: where metrics may keep what they trained. batch: pictures in one call of the
    model. guidance, steps, sampler, approximate: instead of the spec's, where not None. tell: takes the lines of progress.
    drawings: what was drawn is kept there, and not drawn again; only where the model's weights do not change meanwhile. ranks:
    the processes that examine together: each asks the same, draws its share, and has all.
    """

    model: Model
    dataset: Dataset
    cache: Path
    batch: int = 128
    guidance: float | None = None
    steps: int | None = None
    sampler: str | None = None
    approximate: tuple[str, ...] | None = None
    tell: Callable[[str], None] = print
    drawings: Drawings | None = None
    ranks: Ranks = ALONE
    device: torch.device = field(init=False)

    def __post_init__(self) -> None:
        self.device = self.model.device

    def say(self, message: str) -> None:
        self.tell(message)

    def draw(self, values: Mapping[str, Sequence[Any]], seeds: Sequence[int], guidance: float | None = None) -> Tensor:
        """Raw values by column, a seed a picture -> (N, C, H, W) in [-1, 1]. Columns that the model does not read are ignored."""
        scale = self.guidance if guidance is None else guidance
        how: dict[str, Any] = {"guidance": scale, "steps": self.steps, "sampler": self.sampler, "batch": self.batch}
        how |= {"approximate": self.approximate}
        read = self._read(values)

        def draw() -> Tensor:
            return tensor_together(self.ranks, len(seeds), drawn)

        def drawn(rows: range) -> Tensor:
            return self.model.sample(of_rows(read, rows), seeds=list(seeds[rows.start : rows.stop]), **how).images

        return draw() if self.drawings is None else self.drawings.once(read, (*seeds, *how.values()), draw)

    @torch.inference_mode()
    def loss(self, images: Tensor, values: Mapping[str, Sequence[Any]], level: float, seeds: Sequence[int]) -> Tensor:
        """The squared error (N,) of what the network predicts for images (N, C, H, W), told these values; not weighted.

        level in (0, 1): the share of training's times that lie below this one. Equal seeds meet equal noise.
        """
        raw = self._read(values)
        self.model.eval()
        parts = [
            self._loss(images[at], {column: given[at] for column, given in raw.items()}, level, seeds[at])
            for at in _chunks(len(images), self.batch)
        ]
        return torch.cat(parts).cpu()

    def _loss(self, images: Tensor, raw: Mapping[str, Sequence[Any]], level: float, seeds: Sequence[int]) -> Tensor:
        model, diffusion = self.model, self.model.diffusion
        check_draws(model)
        pixels = images.to(self.device)
        clean = pixels if model.autoencoder is None else model.autoencoder.encode(pixels)
        noises = {seed: torch.randn(clean.shape[1:], generator=generator(seed, "examined")) for seed in set(seeds)}
        noise = torch.stack([noises[seed] for seed in seeds]).to(clean)
        t = diffusion.times(torch.full((len(clean),), level, device=self.device))
        signals = model.branches(raw, len(clean))((frozenset[str](),))
        predicted = model.backbone(diffusion.noised(clean, noise, t), t, signals)
        return (predicted - diffusion.target(clean, noise, t)).float().square().flatten(1).mean(1)

    @torch.inference_mode()
    def reconstruct(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [-1, 1] through the autoencoder's latents and back. UsageError where there is none."""
        autoencoder = self.model.autoencoder
        if autoencoder is None:
            raise UsageError(f"{self.model.spec.name} draws pixels: it has no autoencoder that could lose any of them")
        self.model.eval()
        parts = (images[at].to(self.device) for at in _chunks(len(images), self.batch))
        return torch.cat([autoencoder.decode(autoencoder.encode(part)).cpu() for part in parts])

    def acting(self, image: Tensor, values: Mapping[str, Sequence[Any]], seed: int) -> Acting:
        """Where each word acts in an image (C, H, W), told these values of one picture."""
        return explain(self.model, self._read(values), seed=seed, places={}, picture=image).acting

    def _read(self, values: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
        """The columns that the model reads. It must be told at least one of them, or it would be judged on silence."""
        read = {column: values[column] for column in self.model.columns if column in values}
        if self.model.columns and not read:
            raise UsageError(
                f"{self.model.spec.name} reads {', '.join(self.model.columns)}, and the metric tells it {', '.join(values)}",
                hint="ask in the language that it reads: --language zh for a model that reads text.zh",
            )
        return read


def _chunks(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, start + size)
