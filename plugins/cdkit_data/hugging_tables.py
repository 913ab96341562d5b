"""The tables of a Hugging Face data set by split: a folder that was saved, or parquet files, unpacked or read where they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from cdkit.parts import DataError, EnvironmentFault, cache_folder, cached_dataset, is_hub_name

from cdkit_data.parquet import Streamed
from cdkit_data.shard_index import shards_of

RUN = 10_000  # rows that are shuffled as if they were one file
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
    """A `datasets.Dataset`: Arrow files, mapped into memory. image: the column that is handed on as bytes, not as a picture."""

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


def mapped(path: str, image: str) -> Mapping[str, Table]:
    """Of a saved folder; or of parquet files, which are unpacked into the cache folder."""
    library, folder = _library(path), folder_of(path)
    try:
        if folder is not None and saved(folder):
            found = library.load_from_disk(str(folder))
            return {
                name: Mapped(table, image) for name, table in (found if isinstance(found, dict) else {"train": found}).items()
            }
        cache = str(cache_folder() / "huggingface")
        read = library.Dataset.from_parquet
        return {
            name: Mapped(read([str(file) for file in files], cache_dir=cache), image)
            for name, files in files_of(path, folder).items()
        }
    except DataError:
        raise
    except (OSError, ValueError, library.exceptions.DatasetsError) as error:
        raise DataError(f"{path}: no data set that can be read: {error}") from error


def streamed(path: str, columns: Sequence[str]) -> Mapping[str, Table]:
    """Of parquet files, read where they lie."""
    folder = folder_of(path)
    if folder is not None and saved(folder):
        raise DataError(f"{path}: is a folder that `datasets` saved, and no parquet files", hint="leave out `stream`")
    return {name: Streamed(files, columns) for name, files in files_of(path, folder).items()}


def folder_of(path: str) -> Path | None:
    """The folder that a path names, itself or in Hugging Face's cache; None: it is a pattern."""
    folder = Path(path).expanduser()
    return folder if folder.is_dir() else cached_dataset(path)


def saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in SAVED)


def files_of(path: str, folder: Path | None) -> Mapping[str, Sequence[Path]]:
    """Parquet files by split: of a folder, as Hugging Face names them; of a pattern, all as one."""
    if folder is not None:
        return _named(path, folder)
    if path.endswith(".parquet") or set(path) & set("*{") or Path(path).expanduser().is_file():
        return {"train": shards_of(path)}
    raise DataError(
        f"{path}: is no folder here, no pattern of parquet files, and no data set in Hugging Face's cache",
        hint=f"`hf download {path} --repo-type dataset` puts one there" if is_hub_name(path) else "",
    )


def _named(path: str, folder: Path) -> Mapping[str, Sequence[Path]]:
    names = _library(path, "datasets.data_files")  # its builders would ask the network, to count that they were used
    try:
        patterns = names.get_data_patterns(str(folder))
        told = names.DataFilesDict.from_patterns(patterns, base_path=str(folder), allowed_extensions=[".parquet"])
    except OSError as error:
        raise DataError(f"{path}: no data set that can be read: {error}") from error
    found = {str(name): [Path(file) for file in files] for name, files in told.items() if files}
    if not found:
        raise DataError(f"{path}: no parquet file is in it, and it was not saved by `datasets`")
    return found


def _library(path: str, module: str = "datasets") -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise EnvironmentFault(f"{path}: reading it needs `datasets`", hint='pip install "cdkit[huggingface]"') from error
