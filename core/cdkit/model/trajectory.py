"""trajectory: how a picture forms: at every step what the sampler held, and what the network took it for."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from cdkit.errors import UsageError
from cdkit.model.pixels import to_picture
from cdkit.parts import Autoencoder, Denoise, Grid

if TYPE_CHECKING:
    from PIL.Image import Image

ANIMATED = ("webp", "gif", "png")
READABLE = 112  # screen pixels a picture is at least wide
FRAME, LAST = 80, 1500  # milliseconds


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of a sampling, of B pictures (B, C, H, W) in [-1, 1], in pixels and on the CPU."""

    index: int  # in the grid, of `steps`; 0 is the noise that it began with
    steps: int
    sigma: float  # noisy = alpha * clean + sigma * noise
    noisy: Tensor
    clean: Tensor  # what the network, guided, took it for


Watch: TypeAlias = Callable[[Moment], None]


def watched(denoise: Denoise, watch: Watch, autoencoder: Autoencoder | None, grid: Grid) -> Denoise:
    """The same denoiser, whose answers are shown as well: the first at each step, where a sampler asks more than once."""
    told: set[int] = set()

    def shown(x: Tensor, i: int) -> Tensor:
        clean = denoise(x, i)
        if i not in told:
            told.add(i)
            watch(Moment(i, len(grid), float(grid.sigma[i]), pixels(autoencoder, x), pixels(autoencoder, clean)))
        return clean

    return shown


def pixels(autoencoder: Autoencoder | None, x: Tensor) -> Tensor:
    """What the network draws (B, C, H, W), as pixels in [-1, 1] on the CPU."""
    decoded = x if autoencoder is None else autoencoder.decode(x)
    return decoded.float().clamp(-1, 1).cpu()


@dataclass
class Trajectory:
    """Every step of a sampling: `model.sample("a cat", watch=trajectory)`, then `trajectory.save("cat.webp")`."""

    moments: list[Moment] = field(default_factory=list[Moment])

    def __call__(self, moment: Moment) -> None:
        self.moments.append(moment)

    def frames(self, *, scale: int | None = None) -> list[Image]:
        """A picture a step: what was held on the left, what it was taken for on the right, a row a picture.

        scale: screen pixels a pixel; None takes what can be seen.
        """
        rows: dict[int, list[Tensor]] = {}
        for moment in self.moments:
            rows.setdefault(moment.index, []).append(torch.cat([moment.noisy, moment.clean], dim=3))
        return [framed(torch.cat(parts), scale) for _, parts in sorted(rows.items())]

    def save(self, path: str | Path) -> Path:
        """An animation, by the name's end: .webp, .gif or .png. UsageError for another, and where nothing was drawn."""
        target = Path(path)
        kind = target.suffix.lower().removeprefix(".")
        if kind not in ANIMATED:
            raise UsageError(f"{target.name}: expected a name that ends in {', '.join(f'.{end}' for end in ANIMATED)}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.animation(kind))
        return target

    def animation(self, kind: str = "webp") -> bytes:
        """The frames, each shown for a moment and the last for longer, again and again; `webp`, `gif` or `png`."""
        frames = self.frames()
        if not frames:
            raise UsageError("a trajectory without a step", hint="draw first: model.sample(prompt, watch=trajectory)")
        lasting, buffer = [FRAME] * (len(frames) - 1) + [LAST], io.BytesIO()
        lossless = {"lossless": True} if kind == "webp" else {}
        frames[0].save(buffer, format=kind, save_all=True, append_images=frames[1:], duration=lasting, loop=0, **lossless)
        return buffer.getvalue()


def framed(images: Tensor, scale: int | None) -> Image:
    """Images (B, C, H, W), one below the other, each pixel `scale` wide."""
    from PIL import Image

    picture = to_picture(torch.cat(list(images), dim=1))
    times = scale or max(1, -(-2 * READABLE // picture.width))
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
