"""emoji: 1,900 things in nine styles, with names and keywords in English and Chinese; the text-to-image set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Dataset, SampleShape

from cdkit_data.cache import cache_folder, digest_of, say
from cdkit_data.captions import COLUMNS, unique
from cdkit_data.emoji_drawing import rasteriser
from cdkit_data.emoji_kept import SIZES, is_kept, keep, read
from cdkit_data.emoji_making import make
from cdkit_data.emoji_splits import HeldOut, Side, side_of
from cdkit_data.emoji_styles import BY_NAME, TARBALLS, Style
from cdkit_data.npm import by_hand, obtain
from cdkit_data.splits import Split, content_id
from cdkit_data.table import Table

HELD_OUT: Mapping[HeldOut, tuple[Side, ...]] = {"both": ("pair", "thing"), "pairs": ("pair",), "things": ("thing",)}


class Emoji(Dataset):
    """Emoji on white, drawn by Twitter, Google (twice), OpenMoji, Microsoft (thrice), Mozilla and EmojiTwo.

    A caption is "LABEL, STYLE style" ("猫脸，twemoji 风格"), where LABEL is the emoji's name or, with `keywords`, any of its
    keywords; the name comes first. Of a hundred things 5 are held out in every style, and of a hundred other pairs of a
    thing and an artwork 5: `held_out` says which of them `test` holds; neither is ever trained on. Validation holds 5 % of
    the pairs that are left. `split_kind` says what is new: "thing", "pair", or, while training, nothing ("seen"). Men and
    women who do the same are one thing, and so are emoji that look the same in any style; the Fluent styles are one artwork.
    `licence` and `author` are those of each picture: they differ, and hold for what is handed on.

    size: rows and columns. held_out: what `test` holds, things, pairs or both. keywords: captions say any keyword of the emoji,
    not its name alone.
    """

    licence = f"{', '.join(sorted({style.licence for style in BY_NAME.values()}))}; each picture's is in its column `licence`"
    columns = (*COLUMNS, "style", "split_kind", "licence", "author")

    def __init__(self, *, size: Literal[32, 64] = 32, held_out: HeldOut = "both", keywords: bool = True) -> None:
        if size not in SIZES:
            raise ValueError(f"size is {size}; emoji come in {' and '.join(map(str, SIZES))}")
        if held_out not in HELD_OUT:
            raise ValueError(f"held_out is {held_out!r}; expected {', '.join(HELD_OUT)}")
        self.shape = SampleShape(3, size, size)
        self.held_out: HeldOut = held_out
        self.keywords = keywords

    def split(self, name: Split) -> Table:
        return self._splits[name]

    def fingerprint(self) -> str:
        said = hashlib.sha256(f"emoji {self.held_out}".encode())
        for name, table in self._splits.items():
            said.update(f"{name}:{digest_of({'images': table.images})};{','.join(table.ids)};{table.values}".encode())
        return said.hexdigest()

    @classmethod
    def fetch(cls, cache: Path) -> None:
        folder = cache / "emoji"
        if is_kept(folder):
            say(f"emoji: already in {folder}")
            return
        rasteriser()
        paths = obtain(TARBALLS, folder)
        images, rows = make({tarball.requirement: path for tarball, path in zip(TARBALLS, paths, strict=True)}, max(SIZES))
        keep(folder, images, rows)
        say(f"emoji: {len(rows):,} pictures in {folder}; their licences differ, see the column `licence`")

    @cached_property
    def _splits(self) -> dict[Split, Table]:
        folder = cache_folder() / "emoji"
        images, rows = read(folder, self.shape.height, by_hand(TARBALLS, folder))
        places: dict[Split, list[int]] = {"train": [], "validation": [], "test": []}
        kinds: list[Side] = []
        for place, row in enumerate(rows):
            kind, validates = side_of(row["thing"], BY_NAME[row["style"]].family)
            kinds.append(kind)
            if kind == "seen" or validates:
                places["validation" if validates else "train"].append(place)
            elif kind in HELD_OUT[self.held_out]:
                places["test"].append(place)
        ids = tuple(content_id(row["style"].encode(), row["codes"][0]) for row in rows)
        values = tuple(self._values(row, BY_NAME[row["style"]], kind) for row, kind in zip(rows, kinds, strict=True))
        whole = Table(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), ids, values)
        return {name: whole.chosen(chosen) for name, chosen in places.items()}

    def _values(self, row: Mapping[str, Any], style: Style, kind: Side) -> dict[str, tuple[str, ...]]:
        english = tuple(f"{word}, {style.en} style" for word in self._words(row, "en"))
        chinese = tuple(f"{word}，{style.zh}风格" for word in self._words(row, "zh"))
        return {
            "text": unique((*english, *chinese)),
            "text.en": english,
            "text.zh": chinese,
            "label": tuple(row["label.en"]),
            "style": (style.name,),
            "split_kind": (kind,),
            "licence": (row["licence"],),
            "author": (row["author"],),
        }

    def _words(self, row: Mapping[str, Any], language: str) -> tuple[str, ...]:
        return unique((*row[f"label.{language}"], *(row[f"keywords.{language}"] if self.keywords else ())))


@hookimpl
def cdkit_dataset() -> type[Emoji]:
    return Emoji
