"""huggingface: pictures in a data set of Hugging Face's `datasets`: a folder that it saved, or parquet files.

Rows are read alone, out of Arrow files that are mapped into memory or out of parquet files where they lie, so memory does not
grow with the data, and a position in training's order is a number. That library's own streams (`IterableDataset`) give the same
rows and have a position too, but it does not hold the buffer that shuffles them: what is in it when training stops is lost or
comes again, which is why a stream is read here in our order.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import torch
from annotated_types import Interval
from cdkit.hooks import Trial, hookimpl
from cdkit.parts import (
    DataError,
    Dataset,
    EnvironmentFault,
    Example,
    NonNegative,
    SampleShape,
    cache_folder,
    cached_dataset,
)

from cdkit_data.captions import unique
from cdkit_data.fitting import Crop, fitted
from cdkit_data.parquet import Streamed
from cdkit_data.pictures import Notes, decode
from cdkit_data.read_alone import ReadAlone
from cdkit_data.shard_index import shards_of
from cdkit_data.splits import Split

RUN = 10_000  # rows that are shuffled as if they were one file
WHITE = (255, 255, 255)
NAME = re.compile(r"[\w.-]+/[\w.-]+")
SAVED = ("state.json", "dataset_dict.json")  # what a folder has that was saved


class Table(Protocol):
    """Rows, each read alone. digest: of all of them. columns: their names."""

    @property
    def digest(self) -> str: ...
    @property
    def columns(self) -> Sequence[str]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, row: int) -> dict[str, Any]: ...
    def runs(self, count: int) -> Sequence[int]:
        """The first `count` rows, cut into what lies together."""
        ...


class Mapped:
    """A `datasets.Dataset`: Arrow files, mapped into memory."""

    def __init__(self, table: Any, image: str) -> None:
        library: Any = import_module("datasets")
        self.columns: Sequence[str] = table.column_names
        self.table = table.cast_column(image, library.Image(decode=False)) if image in self.columns else table
        self.digest: str = self.table._fingerprint

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.table[row]

    def runs(self, count: int) -> Sequence[int]:
        """None, where rows are few enough to be shuffled as a whole."""
        return () if count <= RUN else [RUN] * (count // RUN) + ([count % RUN] if count % RUN else [])


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
        tables = self._streamed() if self.stream else self._mapped()
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

    def _mapped(self) -> dict[str, Table]:
        library, folder = self._library(), self._folder()
        try:
            if folder is not None and any((folder / name).is_file() for name in SAVED):
                found = library.load_from_disk(str(folder))
            else:
                cache = str(cache_folder() / "huggingface")
                found = library.DatasetDict(
                    {
                        name: library.Dataset.from_parquet([str(path) for path in paths], cache_dir=cache)
                        for name, paths in self._files(folder).items()
                    }
                )
        except (OSError, ValueError, library.exceptions.DatasetsError) as error:
            raise self._unreadable(error) from error
        return {
            name: Mapped(table, self.image) for name, table in (found if isinstance(found, dict) else {"train": found}).items()
        }

    def _streamed(self) -> dict[str, Table]:
        columns = unique((self.image, self.column, *self.also))
        return {name: Streamed(paths, columns) for name, paths in self._files(self._folder()).items()}

    def _files(self, folder: Path | None) -> dict[str, Sequence[Path]]:
        """Parquet files by split: as Hugging Face names those of a folder, or all of a pattern as one."""
        if folder is None and not self.path.endswith(".parquet"):
            raise DataError(
                f"{self.path}: is no folder here, no pattern of parquet files, and no data set in Hugging Face's cache",
                hint=f"`hf download {self.path} --repo-type dataset` puts one there" if NAME.fullmatch(self.path) else "",
            )
        if folder is None:
            return {"train": shards_of(self.path)}
        self._library()
        named: Any = import_module("datasets.data_files")  # its builders would ask the network, to count that they were used
        try:
            told = named.DataFilesDict.from_patterns(
                named.get_data_patterns(str(folder)), base_path=str(folder), allowed_extensions=[".parquet"]
            )
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        found: dict[str, Sequence[Path]] = {str(name): [Path(path) for path in paths] for name, paths in told.items() if paths}
        if not found:
            raise DataError(f"{self.path}: no parquet file is in it", hint="a folder that `datasets` saved: leave out `stream`")
        return found

    def _folder(self) -> Path | None:
        """That `path` names, itself or in Hugging Face's cache; None: it is a pattern."""
        folder = Path(self.path).expanduser()
        return folder if folder.is_dir() else cached_dataset(self.path)

    def _library(self) -> Any:
        try:
            return import_module("datasets")
        except ImportError as error:
            raise EnvironmentFault(
                f"{self.path}: reading it needs `datasets`", hint='pip install "cdkit[huggingface]"'
            ) from error

    def _unreadable(self, error: Exception) -> DataError:
        return error if isinstance(error, DataError) else DataError(f"{self.path}: no data set that can be read: {error}")

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
