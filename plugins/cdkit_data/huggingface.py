"""huggingface: pictures in a data set of Hugging Face's `datasets`: a folder that it saved, or parquet files.

Rows are read alone, out of Arrow files that are mapped into memory or out of parquet files where they lie, so memory does not
grow with the data, and a position in training's order is a number. That library's own streams (`IterableDataset`) give the same
rows and have a position too, but it does not hold the buffer that shuffles them: what is in it when training stops is lost or
comes again, which is why a stream is read here in our order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from cdkit.hooks import Trial, hookimpl
from cdkit.parts import DataError, Dataset, Example, NonNegative, SampleShape

from cdkit_data.captions import unique
from cdkit_data.fitting import Crop, fitted
from cdkit_data.hugging_tables import Table, mapped, streamed
from cdkit_data.pictures import Notes, decode
from cdkit_data.read_alone import ReadAlone
from cdkit_data.splits import Split

WHITE = (255, 255, 255)


class HuggingFace(Dataset):
    """A folder of `Dataset.save_to_disk` (or `DatasetDict.save_to_disk`), or parquet files, with a picture and a text a row.

    Needs the `datasets` package; nothing is downloaded: `hf download OWNER/NAME --repo-type dataset` does that, once. Where
    there is one split alone, its last hundredth is test, and the one before is validation.

    path: the folder; a pattern, `data/*.parquet`; or OWNER/NAME, of what lies in the local cache of Hugging Face. stream: read
    parquet files where they lie, a group of rows at a time, instead of unpacking them into the cache folder first. size: rows
    and columns of a picture. channels: 1 is grey, 3 is colour. image: the column of pictures. column: that of captions, a text
    or a list of texts. also: further text columns that are handed on. crop: how a picture becomes a square. upscale: take
    pictures that are smaller than size, too. most_bad: training pictures, in each process, that may prove unreadable: the next
    one is taken, and the run lists them.
    """

    def __init__(
        self,
        *,
        path: str,
        stream: bool = False,
        size: Annotated[int, Interval(ge=1, le=4096)] = 64,
        channels: Literal[1, 3] = 3,
        image: str = "image",
        column: str = "text",
        also: tuple[str, ...] = (),
        crop: Crop = "centre",
        upscale: bool = False,
        most_bad: NonNegative = 0,
    ) -> None:
        self.path, self.stream = path, stream
        self.shape = SampleShape(channels, size, size)
        self.columns = unique(("text", *also))
        self.image, self.column, self.also, self.upscale = image, column, also, upscale
        self.crop: Crop = crop
        self.most_unreadable = most_bad

    def split(self, name: Split) -> Rows:
        table, rows = self._splits[name]
        return Rows(self, table, rows)

    @property
    def files(self) -> Sequence[int]:  # pyright: ignore[reportIncompatibleVariableOverride]  # it is read, and never set
        table, rows = self._splits["train"]
        return table.runs(len(rows))

    def fingerprint(self) -> str:
        options = (self.shape, self.image, self.column, self.also, self.crop, self.upscale)
        told = [(name, table.digest, len(rows)) for name, (table, rows) in sorted(self._splits.items())]
        return hashlib.sha256(repr((options, told)).encode()).hexdigest()

    @cached_property
    def _splits(self) -> dict[Split, tuple[Table, range]]:
        columns = unique((self.image, self.column, *self.also))
        tables = streamed(self.path, columns) if self.stream else mapped(self.path, self.image)
        if "train" not in tables:
            raise DataError(f"{self.path}: has the splits {', '.join(tables)}; expected train among them")
        for table in tables.values():
            self._look(table)
        rows: dict[Split, tuple[Table, range]] = {}
        train, left = tables["train"], len(tables["train"])
        for name in ("test", "validation"):
            if name in tables:
                rows[name] = tables[name], range(len(tables[name]))
                continue
            spared = max(len(train) // 100, 1)
            rows[name], left = (train, range(left - spared, left)), left - spared
        rows["train"] = train, range(left)
        return rows

    def _look(self, table: Table) -> None:
        for name in (self.image, self.column, *self.also):
            if name not in table.columns:
                raise DataError(f"{self.path}: has no column {name!r}; it has {', '.join(table.columns)}")

    def example(self, row: dict[str, Any], name: str) -> Example:
        """A row as an example. DataError that names it."""
        held: Any = row[self.image]
        content = held.get("bytes") if isinstance(held, dict) else None
        if not content:
            raise DataError(
                f"{name}: holds no picture's bytes in {self.image!r}", hint="save the data set with its pictures within"
            )
        picture = decode(content, name, background=WHITE, notes=Notes())
        image = fitted(picture, name, self.shape, crop=self.crop, upscale=self.upscale)
        values = {"text": texts(row, self.column, name), **{other: texts(row, other, name) for other in self.also}}
        return Example(name, image.to(torch.float32).mul_(2 / 255).sub_(1), values)


class Rows(ReadAlone):
    """Some rows of a table, each read when it is asked for. Its id is its number in the table."""

    def __init__(self, dataset: HuggingFace, table: Table, rows: range) -> None:
        self.dataset, self.table, self.rows = dataset, table, rows

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, place: int) -> Example:
        row = self.rows[place]
        return self.dataset.example(self.table[row], f"{self.table.digest}/{row:09d}")


def texts(row: dict[str, Any], column: str, name: str) -> tuple[str, ...]:
    """A text, or a list of texts that are equally true."""
    held = row[column]
    found = tuple(held) if isinstance(held, list) else (held,)
    if not found or not all(isinstance(text, str) for text in found):
        raise DataError(f"{name}: {column!r} is {held!r}; expected a text, or a list of texts")
    return found


@hookimpl
def cdkit_dataset() -> type[HuggingFace]:
    return HuggingFace


@hookimpl
def cdkit_trial() -> Trial:
    return Trial(untried="it reads a data set of yours; its tests make one")
