"""Samples: pictures that a model drew, with what was said and the recipe to draw them again."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from cdkit.model.pixels import to_picture, uri

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Samples:
    """N pictures (N, C, H, W) in [-1, 1] on the CPU, a caption each, and the recipe that drew them."""

    images: Tensor
    captions: tuple[str, ...]
    seeds: tuple[int, ...]
    recipe: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Image]:
        return (self.picture(index) for index in range(len(self)))

    def picture(self, index: int) -> Image:
        """One picture as a Pillow image, grey or RGB."""
        return to_picture(self.images[index])

    def save(self, path: str | Path, *, metadata: bool = True) -> Path:
        """Write the grid (or the one picture) as PNG, with the recipe in its metadata."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.png(metadata=metadata))
        return target

    def png(self, *, metadata: bool = True) -> bytes:
        """The grid (or the one picture) as PNG, with the recipe in its metadata."""
        from PIL.PngImagePlugin import PngInfo

        info, buffer = PngInfo(), io.BytesIO()
        if metadata:
            info.add_itxt("cdkit", json.dumps(self.recipe_of(), ensure_ascii=False))
        (self.grid() if len(self) > 1 else self.picture(0)).save(buffer, format="PNG", pnginfo=info)
        return buffer.getvalue()

    def recipe_of(self, index: int | None = None) -> dict[str, Any]:
        """What draws picture `index` (or all of them) again."""
        which = slice(None) if index is None else slice(index, index + 1)
        return {**self.recipe, "captions": list(self.captions[which]), "seeds": list(self.seeds[which])}

    def one(self, index: int) -> Samples:
        """Picture `index` alone."""
        at = slice(index, index + 1)
        return Samples(self.images[at], self.captions[at], self.seeds[at], self.recipe)

    def grid(self, *, columns: int | None = None, scale: int | None = None) -> Image:
        """All pictures with their captions underneath. scale: screen pixels a pixel; None picks one that can be read."""
        from cdkit.model.grid import labelled_grid

        return labelled_grid(self.images, self.captions, columns=columns, scale=scale)

    def _repr_html_(self) -> str:
        """In a notebook: the labelled grid, what it shows for who cannot see it, and the recipe."""
        told = escape(", ".join(dict.fromkeys(filter(None, self.captions))) or "pictures drawn without a word", quote=True)
        recipe = escape(json.dumps(self.recipe_of(), ensure_ascii=False, indent=1))
        return (
            f"<img style='image-rendering:pixelated' alt='{told}' src='{uri(self.png(), 'png')}'>"
            f"<details><summary>the recipe</summary><pre>{recipe}</pre></details>"
        )
