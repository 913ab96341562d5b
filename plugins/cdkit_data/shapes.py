"""shapes: rendered scenes in which colours, sizes and shapes are bound to objects, with exact masks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, final, overload

import numpy as np
import torch
from annotated_types import Interval
from cdkit.hooks import hookimpl
from cdkit.parts import Dataset, Example, NonNegative, SampleShape
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from cdkit_data.framing import Framing, framed, framing
from cdkit_data.raster import coverage, paint
from cdkit_data.scene import COLOURS, PAIRS, Scene, scene
from cdkit_data.scene_words import values
from cdkit_data.splits import SPLITS, Split, content_id
from cdkit_data.table import Table

AT_ONCE = 500  # scenes


@final
@dataclass(frozen=True, eq=False)
class Scenes(Sequence[Example]):
    """A table of pictures, and masks (N, K, H, W) uint8 of their things, handed out as the column `mask`."""

    table: Table
    masks: Tensor

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Scenes: ...
    def __getitem__(self, index: int | slice) -> Example | Scenes:
        if isinstance(index, slice):
            return Scenes(self.table[index], self.masks[index])
        example = self.table[index]
        mask = self.masks[index].to(torch.float32).div_(255)
        return Example(id=example.id, image=example.image, values={**example.values, "mask": (mask,)})


class Shapes(Dataset):
    """Circles, squares and triangles, small or large, in six colours on black; one, or two and how they lie.

    `objects`: 1, or 2 (then every third scene still holds one). `text` says colours, shapes, sizes and relations in English
    and Chinese; `label` is the first thing's colour and shape; `colour.1`, `shape.1`, `size.1`, `colour.2` … and `relation`
    are exact; `mask` is a tensor (objects, size, size) in [0, 1], one channel a thing, empty where there is none.

    Everything follows from a scene's index. One in ten is test, one in ten validation. Every test scene, and no other,
    holds a combination of colour and shape (green circle, yellow square, purple triangle) never seen in training, though
    its colour and its shape were. Nothing is varied in training: mirrored, `left of` would be untrue.

    size: rows and columns. count: scenes, of all splits together. objects: the most in a scene.
    originals: each scene is drawn with one of these numbers of rows and then brought to `size`, so that it is blurred where
    they are few. margin: it is brought to as many rows more, and cut at a place of its own. With either of them `sizes` says
    so of each picture, in SDXL's order: original rows and columns, where it is cut (top, left), `size` twice.
    """

    licence = "none needed: cdkit draws them, and nobody else has rights in them"

    def __init__(
        self,
        *,
        size: Annotated[int, Interval(ge=16, le=512)] = 32,
        count: Annotated[int, Interval(ge=10, le=200_000)] = 10_000,
        objects: Literal[1, 2] = 2,
        originals: tuple[Annotated[int, Interval(ge=4, le=512)], ...] = (),
        margin: NonNegative = 0,
    ) -> None:
        if size < 16 or count < 10 or objects not in (1, 2):
            raise ValueError(f"size {size}, count {count}, objects {objects}: expected size >= 16, count >= 10, objects 1 or 2")
        if margin > size // 8:
            raise ValueError(f"margin is {margin}; expected at most {size // 8}, an eighth of size {size}: more cuts things away")
        self.originals, self.margin = originals, margin
        self.shape = SampleShape(3, size, size)
        self.count, self.objects = count, objects
        of_each = [f"{what}.{place}" for place in range(1, objects + 1) for what in ("colour", "shape", "size")]
        further = [*(["relation"] if objects == 2 else []), *(["sizes"] if self._is_framed else [])]
        self.columns = ("text", "text.en", "text.zh", "label", *of_each, *further, "mask")
        self.classes = tuple(f"{colour} {shape}" for colour, shape in PAIRS) if objects == 1 else ()

    def split(self, name: Split) -> Scenes:
        return self._splits[name]

    def fingerprint(self) -> str:
        framing = (self.originals, self.margin) if self._is_framed else ()
        said = hashlib.sha256(repr((self.shape, self.count, self.objects, *framing)).encode())
        for name in SPLITS:
            rows = self._splits[name].table
            said.update(f"{name}:{','.join(rows.ids)};{[row['text'] for row in rows.values[:100]]}".encode())
        return said.hexdigest()

    @cached_property
    def _splits(self) -> dict[Split, Scenes]:
        rows: dict[Split, list[int]] = {name: [] for name in SPLITS}
        for index in range(self.count):
            rows[_split(index)].append(index)
        seen: set[str] = set()
        return {name: self._drawn(indices, seen) for name, indices in rows.items()}

    @property
    def _is_framed(self) -> bool:
        return bool(self.originals or self.margin)

    def _scene(self, index: int) -> Scene:
        objects = 1 if self.objects == 1 or index // 10 % 3 == 0 else 2
        return scene(index, objects, held_out=_split(index) == "test")

    def _drawn(self, indices: Sequence[int], seen: set[str]) -> Scenes:
        """Scenes as pictures and masks, without pictures that were seen before."""
        scenes = [self._scene(index) for index in indices]
        framings = [framing(index, self.shape.height, self.originals, self.margin) for index in indices]
        masks, images = _painted(scenes, framings, self.objects, self.margin)
        ids = [content_id(image.tobytes(), *image.shape) for image in images]
        kept = [row for row, id in enumerate(ids) if id not in seen and not seen.add(id)]
        said = [
            values(one, self.objects) | ({"sizes": (frame.told(),)} if self._is_framed else {})
            for one, frame in zip(scenes, framings, strict=True)
        ]
        table = Table(torch.from_numpy(images), tuple(ids), tuple(said))
        return Scenes(table.chosen(kept), torch.from_numpy(masks)[kept])


def _split(index: int) -> Split:
    if index % 10 == 0:
        return "test"
    return "validation" if index % 10 == 1 else "train"


def _painted(
    scenes: Sequence[Scene], framings: Sequence[Framing], objects: int, margin: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Masks and pictures, drawn a few at a time: distances are large."""
    starts = range(0, len(scenes), AT_ONCE)
    parts = [scenes[start : start + AT_ONCE] for start in starts]
    frames = [framings[start : start + AT_ONCE] for start in starts]
    masks = [_masks(part, frame, objects, margin) for part, frame in zip(parts, frames, strict=True)]
    images = [_images(part, mask) for part, mask in zip(parts, masks, strict=True)]
    return np.concatenate(masks), np.concatenate(images)


def _masks(scenes: Sequence[Scene], framings: Sequence[Framing], objects: int, margin: int) -> NDArray[np.uint8]:
    """(N, objects, size, size); an object that a scene lacks is empty."""
    size = framings[0].size
    masks = np.empty((len(scenes), objects, size, size), dtype=np.uint8)
    for original in sorted({one.original for one in framings}):
        rows = [row for row, one in enumerate(framings) if one.original == original]
        covers = _covers([scenes[row] for row in rows], objects, original)
        drawn_as_told = original == size and not margin
        masks[rows] = covers if drawn_as_told else framed(covers, [framings[row] for row in rows], margin)
    return masks


def _covers(scenes: Sequence[Scene], objects: int, size: int) -> NDArray[np.uint8]:
    """Masks (N, objects, size, size), as they are drawn."""
    there = np.array([[place < len(one.things) for place in range(objects)] for one in scenes])
    padded = [thing for one in scenes for thing in (one.things * objects)[:objects]]
    covers = rearrange(coverage(padded, size), "(n k) h w -> n k h w", k=objects)
    return covers * there[:, :, None, None].astype(np.uint8)


def _images(scenes: Sequence[Scene], masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, 3, size, size)."""
    objects = masks.shape[1]
    colours = [[COLOURS[thing.colour] for thing in (one.things * objects)[:objects]] for one in scenes]
    return paint(masks, np.array(colours, np.float64))


@hookimpl
def cdkit_dataset() -> type[Shapes]:
    return Shapes
