"""How a picture of any size becomes one of the size that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from cdkit.parts import DataError, SampleShape
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Crop: TypeAlias = Literal["centre", "squash"]


def fitted(picture: Picture, name: str, shape: SampleShape, *, crop: Crop, upscale: bool) -> Tensor:
    """(C, H, W) uint8: `centre` scales until both sides are long enough and cuts, `squash` scales both. DataError for a picture
    that is smaller, unless `upscale`."""
    from torchvision.transforms.v2 import functional

    height, width = shape.height, shape.width
    if (picture.height < height or picture.width < width) and not upscale:
        raise DataError(
            f"{name}: {picture.width}x{picture.height} is smaller than {width}x{height}",
            hint="`upscale: true` enlarges such pictures",
        )
    image = functional.pil_to_tensor(picture.convert("L") if shape.channels == 1 else picture)
    return functional.center_crop(functional.resize(image, _scaled(picture, shape, crop), antialias=True), [height, width])


def _scaled(picture: Picture, shape: SampleShape, crop: Crop) -> list[int]:
    """Rows and columns before the cut."""
    if crop == "squash":
        return [shape.height, shape.width]
    if shape.height == shape.width:
        return [shape.height]  # of the shorter side
    factor = max(shape.height / picture.height, shape.width / picture.width)
    return [max(round(picture.height * factor), shape.height), max(round(picture.width * factor), shape.width)]
