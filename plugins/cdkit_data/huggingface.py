"""huggingface: pictures in a data set of Hugging Face's `datasets`: a folder that it saved, or parquet files.

Rows are read alone out of Arrow files that are mapped into memory, so memory does not grow with the data, and a position in
training's order is a number. Its streams have a position too, but not the buffer that shuffles them: what is in it when training
stops is lost or comes again, which is why they are not used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from cdkit.hooks import Trial, hookimpl
from cdkit.parts import DataError, Dataset, EnvironmentFault, Example, NonNegative, SampleShape, cache_folder

from cdkit_data.captions import unique
from cdkit_data.fitting import Crop, fitted
from cdkit_data.pictures import Notes, decode
from cdkit_data.read_alone import ReadAlone
from cdkit_data.shard_index import shards_of
from cdkit_data.splits import Split

RUN = 10_000  # rows that are shuffled as if they were one file
WHITE = (255, 255, 255)


class HuggingFace(Dataset):
    """A folder of `Dataset.save_to_disk` (or `DatasetDict.save_to_disk`), or parquet files, with a picture and a text a row.

    Needs the `datasets` package; nothing is downloaded. Where there is one split alone, its last hundredth is test, and the one
    before is validation.

    path: the folder; or a pattern, `data/*.parquet`. size: rows and columns of a picture. channels: 1 is grey, 3 is colour.
    image: the column of pictures. column: that of captions, a text or a list of texts. also: further text columns that are handed
    on. crop: how a picture becomes a square. upscale: take pictures that are smaller than size, too. most_bad: training pictures,
    in each process, that may prove unreadable: the next one is taken, and the run lists them.
    """

    def __init__(
        self,
        *,
        path: str,
        size: Annotated[int, Interval(ge=1, le=4096)] = 64,
        channels: Literal[1, 3] = 3,
        image: str = "image",
        column: str = "text",
        also: tuple[str, ...] = (),
        crop: Crop = "centre",
        upscale: bool = False,
        most_bad: NonNegative = 0,
    ) -> None:
        self.path = path
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
        count = len(self._splits["train"][1])
        return () if count <= RUN else [RUN] * (count // RUN) + ([count % RUN] if count % RUN else [])

    def fingerprint(self) -> str:
        options = (self.shape, self.image, self.column, self.also, self.crop, self.upscale)
        told = [(name, table._fingerprint, len(rows)) for name, (table, rows) in sorted(self._splits.items())]
        return hashlib.sha256(repr((options, told)).encode()).hexdigest()

    @cached_property
    def _splits(self) -> dict[Split, tuple[Any, range]]:
        found = self._opened()
        whole = found if isinstance(found, dict) else {"train": found}
        if "train" not in whole:
            raise DataError(f"{self.path}: has the splits {', '.join(whole)}; expected train among them")
        tables = {name: self._undecoded(whole[name]) for name in whole}
        rows: dict[Split, tuple[Any, range]] = {}
        train, left = tables["train"], len(tables["train"])
        for name in ("test", "validation"):
            if name in tables:
                rows[name] = tables[name], range(len(tables[name]))
                continue
            spared = max(len(train) // 100, 1)
            rows[name], left = (train, range(left - spared, left)), left - spared
        rows["train"] = train, range(left)
        return rows

    def _opened(self) -> Any:
        try:
            library: Any = import_module("datasets")
        except ImportError as error:
            raise EnvironmentFault(
                f"{self.path}: reading it needs `datasets`", hint='pip install "cdkit[huggingface]"'
            ) from error
        folder = Path(self.path).expanduser()
        try:
            if folder.is_dir():
                return library.load_from_disk(str(folder))
            files = [str(path) for path in shards_of(self.path)]
            return library.Dataset.from_parquet(files, cache_dir=str(cache_folder() / "huggingface"))
        except (OSError, ValueError, library.exceptions.DatasetsError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{self.path}: no data set that can be read: {error}") from error

    def _undecoded(self, table: Any) -> Any:
        library: Any = import_module("datasets")
        for name in (self.image, self.column, *self.also):
            if name not in table.column_names:
                raise DataError(f"{self.path}: has no column {name!r}; it has {', '.join(table.column_names)}")
        return table.cast_column(self.image, library.Image(decode=False))

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

    def __init__(self, dataset: HuggingFace, table: Any, rows: range) -> None:
        self.dataset, self.table, self.rows = dataset, table, rows

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, place: int) -> Example:
        row = self.rows[place]
        return self.dataset.example(self.table[row], f"{self.table._fingerprint}/{row:09d}")


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
