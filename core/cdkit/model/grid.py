"""A grid of pictures with a caption under each."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import functional as F

from cdkit.model.pixels import to_picture

if TYPE_CHECKING:
    from PIL.Image import Image

READABLE = 112  # screen pixels a picture should at least be wide, so that its caption fits under it
MARGIN = 8
LINE = 16
BEYOND = 0x2E80  # where the scripts of East Asia begin, which Pillow's own font lacks
FONTS = ("NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "wqy-zenhei.ttc", "msyh.ttc", "PingFang.ttc", "simsun.ttc")


def labelled_grid(images: Tensor, captions: Sequence[str], *, columns: int | None = None, scale: int | None = None) -> Image:
    """images (N, C, H, W) in [-1, 1] and N captions -> one RGB picture, row after row."""
    from PIL import Image, ImageDraw

    columns = columns or min(len(images), ceil(sqrt(len(images) * 1.6)))
    scale = scale or max(1, ceil(READABLE / images.shape[-1]))
    tiles = _tiles(images, columns, scale)
    height, width = images.shape[-2] * scale, images.shape[-1] * scale
    page = Image.new("RGB", (tiles.width, ceil(len(images) / columns) * (height + MARGIN + LINE) + MARGIN), "white")
    pen, font = ImageDraw.Draw(page), caption_font(captions)
    if font is None:  # code points can at least be looked up; a row of empty boxes cannot
        captions, font = [caption.encode("unicode_escape").decode() for caption in captions], caption_font(())
    for index, caption in enumerate(captions):
        row, column = divmod(index, columns)
        left, top = MARGIN + column * (width + MARGIN), MARGIN + row * (height + MARGIN + LINE)
        source = (MARGIN + column * (width + MARGIN), MARGIN + row * (height + MARGIN))
        page.paste(tiles.crop((*source, source[0] + width, source[1] + height)), (left, top))
        pen.text((left + width / 2, top + height + 2), shortened(caption, font, width), fill="black", font=font, anchor="ma")
    return page


def _tiles(images: Tensor, columns: int, scale: int) -> Image:
    from torchvision.utils import make_grid

    big = F.interpolate(images.float().clamp(-1, 1), scale_factor=scale, mode="nearest")
    return to_picture(make_grid(big, nrow=columns, padding=MARGIN, pad_value=1.0))


def caption_font(captions: Sequence[str]) -> Any:
    """Pillow's own font; for Chinese, a font of this machine that has the characters, or None if none is found."""
    from PIL import ImageFont

    if all(ord(letter) < BEYOND for caption in captions for letter in caption):
        return ImageFont.load_default(12)
    for name in FONTS:
        try:
            return ImageFont.truetype(name, 12)
        except OSError:
            continue
    return None


def shortened(caption: str, font: Any, width: int) -> str:
    """The caption with control characters dropped, cut with an ellipsis to `width` pixels."""
    text = "".join(letter for letter in caption if letter.isprintable())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
