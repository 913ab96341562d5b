"""A stream's map at the size of what it is told to: as many rows as the site has."""

from __future__ import annotations

from typing import Literal

from cdkit.parts import Site, Stream
from torch import Tensor
from torch.nn import functional as F

Resize = Literal["nearest", "area"]


def map_at(site: Site, stream: Stream, resize: Resize) -> Tensor:
    """The map (B, K, H, W), of the picture's size, -> (B, K, H / stride, W / stride), the size of h at the site.

    Where the backbone pads the picture, the map is padded as it says, so that each of its places stays where it was.
    nearest: one of the values that it has, so that a label stays a label. area: the mean of what a row of h covers.
    Raises ValueError where the stream has no map, or where the stride does not divide its size.
    """
    spatial = stream.spatial
    if spatial is None:
        raise ValueError("the stream has no map, though its encoder declared channels for one")
    spatial = _padded(spatial, site.padded)
    rows, columns = spatial.shape[2:]
    if rows % site.stride or columns % site.stride:
        raise ValueError(
            f"a map of {rows} x {columns} has no whole number of rows and columns at {site.name}, where one of h is "
            f"{site.stride} of the picture's; expected multiples of {site.stride}"
        )
    return F.interpolate(spatial, size=(rows // site.stride, columns // site.stride), mode=resize)


def _padded(told: Tensor, multiple: int) -> Tensor:
    """Zeros on all sides, the odd one below and right, up to multiples (`Site.padded`)."""
    below, right = (-told.shape[2]) % multiple, (-told.shape[3]) % multiple
    return F.pad(told, (right // 2, right - right // 2, below // 2, below - below // 2))


def check_size(site: Site, told: Tensor, h: Tensor) -> None:
    """Raise ValueError, in the picture's own rows and columns, unless what the map was made into has the size of h."""
    if told.shape[2:] != h.shape[2:]:
        given, wanted = (" x ".join(str(side * site.stride) for side in part.shape[2:]) for part in (told, h))
        padded = f" (both padded to multiples of {site.padded})" if site.padded > 1 else ""
        raise ValueError(f"the map is {given}, but the picture is {wanted}{padded}; give one of its size")
