"""folder: your own pictures, with metadata.jsonl, metadata.csv or metadata.parquet beside them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from annotated_types import Interval
from cdkit.hooks import Trial, hookimpl
from cdkit.parts import DataError, Dataset, NonNegative, SampleShape
from torch import Tensor

from cdkit_data.captions import unique
from cdkit_data.entries import Entry, read_entries
from cdkit_data.fitting import Crop, fitted
from cdkit_data.pictures import Notes, decode, file_bytes
from cdkit_data.splits import SPLITS, Split, content_id, split_of
from cdkit_data.table import Table

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

LOG = logging.getLogger("cdkit.data")
SIZES = "sizes"


@dataclass(slots=True)
class Gathered:
    """What was read so far: pictures by id, the entry that first named each, and the lines that could not be used."""

    images: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    bad: list[str] = field(default_factory=list[str])
    notes: Notes = field(default_factory=Notes)


class Folder(Dataset):
    """Pictures in a folder and a manifest with `file_name` and a caption `column` (text, or in JSON a list of texts).

    PNG, JPEG and WebP, read whole when the first split is asked for and kept as bytes in memory (channels * size * size
    each). `crop`: `centre` scales the shorter side to size and cuts; `squash` scales both. Pictures smaller than size are
    refused unless `upscale`; transparency lies on `background`; EXIF rotation is applied; colour profiles are not.
    An empty caption says nothing and trains the unconditional branch; a missing one is an error. Further text columns
    are handed on if `also` names them (`label`, `text.zh`). `skip_bad` leaves out pictures that cannot be read, at most
    `most_bad`. A `split` column (or folders train/, validation/, test/, each with its manifest) decides the splits; else
    a hash of the file does. Equal files are one picture, with all that is said of them. `sizes: true` adds a column of that
    name, what SDXL is told of a picture: its rows and columns in the file, where it was cut when it had been scaled (top,
    left), and `size` twice.

    path: the folder. size: rows and columns of a picture. channels: 1 is grey, 3 is colour. column: of the manifest, that holds
    the captions. also: further columns that are handed on. crop: how a picture becomes a square. upscale: take pictures that
    are smaller than size, too. background: red, green and blue, 0 to 255, behind what is transparent. skip_bad: leave out
    pictures that cannot be read. most_bad: how many of them, at most. sizes: add a column of what SDXL is told of a picture.
    """

    def __init__(
        self,
        *,
        path: str,
        size: Annotated[int, Interval(ge=1, le=4096)] = 64,
        channels: Literal[1, 3] = 3,
        column: str = "text",
        also: tuple[str, ...] = (),
        crop: Crop = "centre",
        upscale: bool = False,
        background: tuple[int, int, int] = (255, 255, 255),
        skip_bad: bool = False,
        most_bad: NonNegative = 10,
        sizes: bool = False,
    ) -> None:
        if any(not 0 <= part <= 255 for part in background):
            raise ValueError(f"background is {list(background)}; expected three numbers from 0 to 255")
        self.path = Path(path).expanduser()
        self.shape = SampleShape(channels, size, size)
        if sizes and SIZES in (column, *also):
            raise ValueError(
                f"sizes: true makes a column {SIZES!r}, and the manifest's {SIZES!r} is asked for too; expected one of them"
            )
        self.columns = unique(("text", *also, *([SIZES] if sizes else [])))
        self.sizes = sizes
        self.column, self.also, self.upscale, self.background = column, also, upscale, background
        self.crop: Crop = crop
        self.most_bad = most_bad if skip_bad else 0

    def split(self, name: Split) -> Table:
        table = self._splits[name]
        if name == "train" and not table:
            raise DataError(f"{self.path}: no picture is left for training", hint="the `split` column puts all of them elsewhere")
        return table

    def fingerprint(self) -> str:
        said = hashlib.sha256(repr((self.shape, self.crop, self.upscale, self.background)).encode())
        for name, table in self._splits.items():
            for id, values in zip(table.ids, table.values, strict=True):
                said.update(repr((name, id, sorted(values.items()))).encode())
        return said.hexdigest()

    @cached_property
    def _splits(self) -> dict[Split, Table]:
        found = Gathered()
        for entry in read_entries(self.path, self.column, self.also):
            self._gather(entry, found)
        self._summarise(found)
        return {name: self._table(name, found) for name in SPLITS}

    def _gather(self, entry: Entry, found: Gathered) -> None:
        try:
            content = file_bytes(entry.root, entry.name)
            id = content_id(content)
            if id in found.entries:
                found.entries[id] = _merged(found.entries[id], entry)
                return
            picture = decode(content, entry.name, background=self.background, notes=found.notes)
            found.images[id] = fitted(picture, entry.name, self.shape, crop=self.crop, upscale=self.upscale)
            found.entries[id] = self._measured(entry, picture) if self.sizes else entry
        except DataError as error:
            self._set_aside(error, entry, found)

    def _set_aside(self, error: DataError, entry: Entry, found: Gathered) -> None:
        said = str(error) if str(error).startswith(str(entry.line)) else f"{entry.line}: {error}"
        found.bad.append(said)
        if len(found.bad) <= self.most_bad:
            LOG.warning("skipped %s", said)
            return
        if not self.most_bad:
            raise DataError(said, hint=error.hint or "`skip_bad: true` leaves such pictures out") from error
        raise DataError(
            f"{len(found.bad)} pictures cannot be used, more than most_bad: {self.most_bad}; the last: {said}",
            hint="mend them, or raise `most_bad`",
        ) from error

    def _measured(self, entry: Entry, picture: Picture) -> Entry:
        """With SDXL's six numbers (Podell et al. 2023, section 2.2), rows first: original, crop, target."""
        rows, columns, size = picture.height, picture.width, self.shape.height
        shorter = min(rows, columns)
        cut = (0, 0) if self.crop == "squash" else tuple(round((size * side // shorter - size) / 2) for side in (rows, columns))
        return replace(entry, values={**entry.values, SIZES: ((rows, columns, *cut, size, size),)})

    def _summarise(self, found: Gathered) -> None:
        for line in found.notes.lines:
            LOG.warning("%s", line)
        silent = sum(entry.values["text"] == ("",) for entry in found.entries.values())
        tell = LOG.warning if silent or found.bad else LOG.info
        tell("%s: %d pictures, %d without words, %d left out", self.path, len(found.images), silent, len(found.bad))
        if not found.images:
            raise DataError(f"{self.path}: none of {len(found.bad)} pictures can be used; the first: {found.bad[0]}")

    def _table(self, name: Split, found: Gathered) -> Table:
        ids = tuple(id for id, entry in found.entries.items() if (entry.split or split_of(id)) == name)
        images = torch.stack([found.images[id] for id in ids]) if ids else torch.empty(0, *self.shape, dtype=torch.uint8)
        return Table(images, ids, tuple(found.entries[id].values for id in ids))


def _merged(first: Entry, again: Entry) -> Entry:
    """The first entry, with what the second says too: both name the same picture. DataError if their splits differ."""
    if first.split != again.split:
        raise DataError(
            f"{again.line}: the picture of line {first.line.number} again ({again.name}), in another split",
            hint="a picture must be in one split only",
        )
    LOG.warning("%s: the same picture as line %d (%s); they are joined", again.line, first.line.number, again.name)
    joined: Mapping[str, tuple[Any, ...]] = {
        column: unique((*said, *again.values.get(column, ())))  # nothing is measured twice
        for column, said in first.values.items()
    }
    return replace(first, values=joined)


@hookimpl
def cdkit_dataset() -> type[Folder]:
    return Folder


@hookimpl
def cdkit_trial() -> Trial:
    return Trial(untried="it reads a folder of yours; its tests make one")
