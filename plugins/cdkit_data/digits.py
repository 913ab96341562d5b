"""digits: the handwritten digits that come with scikit-learn, 8x8; no network needed."""

from __future__ import annotations

from typing import Literal

import torch
from cdkit.hooks import hookimpl
from einops import rearrange
from torch.nn.functional import interpolate

from cdkit_data.captions import Words, unique
from cdkit_data.classes import ClassPictures, Labelled, grey
from cdkit_data.table import Table

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CHINESE = ("零", "一", "二", "三", "四", "五", "六", "七", "八", "九")


def said(value: int) -> Words:
    """Captions of a digit; numerals belong to both languages."""
    name, numeral, chinese = NAMES[value], str(value), CHINESE[value]
    article = "an" if name == "eight" else "a"
    return Words(
        en=unique((name, f"{article} {name}", f"the digit {name}", f"the number {name}", f"a handwritten {name}", numeral)),
        zh=unique((chinese, f"数字{chinese}", f"手写的{chinese}", f"一个{chinese}", f"数字{numeral}", numeral)),
    )


WORDS = {name: said(value) for value, name in enumerate(NAMES)}


class Digits(ClassPictures):
    """1,797 handwritten digits, ink light (1) on dark (-1), 17 levels of grey, 10 classes "zero" to "nine".

    Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998, UCI), as sklearn.datasets.load_digits has them.
    All are distinct: 1,435 train, 181 validation, 181 test. Training varies nothing.

    size: rows and columns; 16 and 32 enlarge the same 8x8 pictures bilinearly, which is more pixels and no more detail.
    """

    licence = "CC-BY-4.0 at UCI; scikit-learn's copy comes with a BSD-3-Clause package"
    words = WORDS
    classes = NAMES

    def __init__(self, *, size: Literal[8, 16, 32] = 8) -> None:
        if size not in (8, 16, 32):
            raise ValueError(f"size is {size}; digits come in 8, 16 and 32")
        self.shape = grey(size)

    def read(self) -> Labelled:
        from sklearn.datasets import load_digits

        pictures, labels = load_digits(return_X_y=True)
        images = rearrange(torch.from_numpy(pictures).to(torch.uint8), "n (h w) -> n 1 h w", h=8)
        return Labelled(images, [int(label) for label in labels], top=16)

    def enlarge(self, table: Table) -> Table:
        if self.shape.height == 8:
            return table
        wide = interpolate(table.images.float() * (255 / 16), size=self.shape[1:], mode="bilinear", align_corners=False)
        return Table(wide.round().to(torch.uint8), table.ids, table.values)


@hookimpl
def cdkit_dataset() -> type[Digits]:
    return Digits
