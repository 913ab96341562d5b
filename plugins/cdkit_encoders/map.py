"""map: a picture or a mask, brought to the resolution at which the network draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Encoder, Positive, PromptError, SampleShape, Stream, Widths
from torch import Tensor
from torch.nn import functional as F

HIGHEST = {torch.uint8: 255, torch.uint16: 65_535}
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


class Map(Encoder):
    """A tensor or array (K, H, W) or (H, W), or a PIL image -> spatial (B, channels, H, W) at the sample's H and W.

    channels: K, of what is given. scale: so many rows and columns for each of the sample's, as 8 for a latent's map at the
    picture's own resolution. They lie in the channels then (Shi et al. 2016, pixel unshuffle): spatial (B, channels *
    scale^2, H, W) holds every pixel. Floating numbers are taken as they are, masks (bool) as 0 and 1; uint8 and PIL images
    come to [-1, 1], 16-bit grey too, or with `levels: unit` to [0, 1], as published ControlNets are told. levels: what black
    and white are told as. resize: "bilinear" (antialiased) for pictures, "nearest" for masks and class maps, "refuse" for
    exact sizes only. Null: zeros.
    """

    origin: Tensor

    def __init__(
        self,
        *,
        sample: SampleShape,
        channels: Positive = 1,
        resize: Literal["bilinear", "nearest", "refuse"] = "bilinear",
        scale: Positive = 1,
        levels: Literal["signed", "unit"] = "signed",
    ) -> None:
        super().__init__()
        self.channels = channels
        self.resize = resize
        self.shape = (scale * sample.height, scale * sample.width)
        self.scale = scale
        self.levels = levels
        self.widths = Widths(spatial=channels * scale**2)
        self.register_buffer("origin", torch.zeros(()), persistent=False)  # where, and in which dtype, maps are wanted

    def forward(self, raw: Sequence[Any]) -> Stream:
        """B maps, of any sizes -> a stream. PromptError for what is no map of `channels` channels."""
        fitted = torch.cat([self._fitted(self._read(value, row), row) for row, value in enumerate(raw)])
        return Stream(spatial=F.pixel_unshuffle(fitted, self.scale))

    def null(self, n: int) -> Stream:
        nothing = self.origin.expand(n, self.channels, *self.shape)
        return Stream(spatial=F.pixel_unshuffle(nothing, self.scale))

    def examples(self) -> tuple[Tensor, Tensor]:
        """A map that is bright on the left, and one that is bright at the top."""
        slope = torch.linspace(-1, 1, self.shape[1]).expand(self.channels, *self.shape)
        return slope, -torch.linspace(-1, 1, self.shape[0]).unsqueeze(-1).expand(self.channels, *self.shape)

    def _read(self, value: Any, row: int) -> Tensor:
        """One map (K, H, W) in floating numbers."""
        tensor = tensor_of(value, self.channels)
        if tensor is None:
            raise PromptError(f"map {row}: expected a tensor, an array or a PIL image, got {type(value).__name__}")
        tensor = tensor.unsqueeze(0) if tensor.dim() == 2 else tensor
        if tensor.dim() != 3 or tensor.shape[0] != self.channels or not tensor.numel():
            raise PromptError(f"map {row}: expected ({self.channels}, H, W), got {tuple(tensor.shape)}")
        numbers = scaled(tensor, self.levels).to(self.origin, non_blocking=True)
        if not bool(numbers.isfinite().all()):
            raise PromptError(f"map {row}: it holds numbers that are not finite")
        return numbers

    def _fitted(self, numbers: Tensor, row: int) -> Tensor:
        """(K, H, W) of any size -> (1, K, H, W) of the sample's."""
        if numbers.shape[1:] == self.shape:
            return numbers.unsqueeze(0)
        if self.resize == "refuse":
            raise PromptError(
                f"map {row}: expected {self.shape[0]} x {self.shape[1]}, got {numbers.shape[1]} x {numbers.shape[2]}"
            )
        if self.resize == "nearest":
            return F.interpolate(numbers.unsqueeze(0), self.shape, mode="nearest-exact")
        return F.interpolate(numbers.unsqueeze(0), self.shape, mode="bilinear", antialias=True)


def tensor_of(value: Any, channels: int) -> Tensor | None:
    """The numbers of a tensor, an array or a PIL image, channels first; None for anything else."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    from PIL import Image

    if not isinstance(value, Image.Image):
        return None
    if value.mode.startswith("I;16"):
        return torch.from_numpy(np.asarray(value).astype(np.uint16))
    mode = MODES.get(channels, value.mode)
    array = np.array(value if value.mode == mode else value.convert(mode))
    return torch.from_numpy(array if array.ndim == 2 else np.moveaxis(array, -1, 0).copy())


def scaled(tensor: Tensor, levels: str) -> Tensor:
    """Levels of 8 or 16 bits to [-1, 1] (signed) or [0, 1] (unit); everything else as it is, in floating numbers."""
    if tensor.dtype in HIGHEST:
        half = HIGHEST[tensor.dtype] / 2
        return tensor.float() / half - 1 if levels == "signed" else tensor.float() / (2 * half)
    return tensor if tensor.is_floating_point() else tensor.float()


@hookimpl
def cdkit_encoder() -> type[Map]:
    return Map
