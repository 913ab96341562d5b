"""Data sets of Hugging Face's library: a saved folder, parquet files, splits, bad rows."""

from __future__ import annotations

import io
import pickle
import shutil
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cdkit.engine.batches import Batches
from cdkit.engine.reading import Reading
from cdkit.parts import DataError
from cdkit.registry import Registry
from cdkit.testing import check_dataset
from PIL import Image

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)  # for what the tests themselves ask of that library


def rows(count: int, start: int = 0) -> Any:
    def png(colour: int) -> bytes:
        written = io.BytesIO()
        Image.fromarray(np.full((8, 8), colour % 256, np.uint8)).save(written, format="PNG")
        return written.getvalue()

    numbers = range(start, start + count)
    held = {"image": [{"bytes": png(n), "path": None} for n in numbers], "text": [f"number {n}" for n in numbers]}
    return datasets.Dataset.from_dict(held).cast_column("image", datasets.Image())


def made(path: Path | str, **options: Any) -> Any:
    return Registry.installed().get("dataset", "huggingface")(path=str(path), size=8, channels=1, **options)


def test_a_saved_folder_passes_every_check(tmp_path: Path) -> None:
    rows(300).save_to_disk(str(tmp_path / "saved"))
    make = partial(made, tmp_path / "saved")
    check_dataset(make, exceptions={"licence": "the pictures are whoever's data set this is"})
    data = make()
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [294, 3, 3]
    example = data.split("train")[37]
    assert example.values["text"] == ("number 37",)
    assert float((example.image[0, 0, 0] + 1) * 127.5) == pytest.approx(37, abs=1e-3)


def test_named_splits_and_parquet(tmp_path: Path) -> None:
    datasets.DatasetDict({"train": rows(20), "validation": rows(5, 20), "test": rows(5, 25)}).save_to_disk(
        str(tmp_path / "named")
    )
    assert [len(made(tmp_path / "named").split(name)) for name in ("train", "validation", "test")] == [20, 5, 5]
    for part in range(2):
        rows(50, part * 50).to_parquet(str(tmp_path / f"{part}.parquet"))
    data = made(tmp_path / "*.parquet")
    assert len(data.split("train")) == 98
    assert data.split("train")[60].values["text"] == ("number 60",)


def test_a_position_is_a_number(tmp_path: Path) -> None:
    rows(40).save_to_disk(str(tmp_path / "saved"))
    whole, again = (Batches(made(tmp_path / "saved"), ("text",), batch=4, seed=0) for _ in range(2))
    assert again[7].ids == [whole[step].ids for step in range(9)][7]
    assert len({identity for step in range(9) for identity in whole[step].ids}) == 36


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder as the Hub has them: files by split, in groups of few rows."""
    folder = tmp_path / "published"
    (folder / "data").mkdir(parents=True)
    for number, start in enumerate((0, 230)):
        rows(230, start).to_parquet(str(folder / "data" / f"train-{number:05d}-of-00002.parquet"), batch_size=20)
    rows(30, 460).to_parquet(str(folder / "data" / "validation-00000-of-00001.parquet"), batch_size=20)
    rows(30, 490).to_parquet(str(folder / "data" / "test-00000-of-00001.parquet"), batch_size=20)
    return folder


def test_a_stream_passes_every_check(published: Path) -> None:
    check_dataset(partial(made, published, stream=True), exceptions={"licence": "the pictures are whoever's data set this is"})


def test_a_stream_has_the_rows_of_their_stream_and_copies_nothing(published: Path, tmp_path: Path) -> None:
    data = made(published, stream=True)
    files = {"train": str(published / "data" / "train-*.parquet")}
    theirs = datasets.load_dataset("parquet", data_files=files, streaming=True, split="train", cache_dir=str(tmp_path / "theirs"))
    assert [example.values["text"][0] for example in data.split("train")] == [row["text"] for row in theirs]
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [460, 30, 30]
    assert sum(data.files) == 460
    assert max(data.files) == 20
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) < 2_000, kept


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_goes_on_where_it_stopped_and_an_epoch_has_each_row_once(published: Path, workers: int) -> None:
    def read(start: int, stop: int) -> list[list[str]]:
        batches = Batches(made(published, stream=True), ("text",), batch=10, seed=3)
        reading = Reading(batches, start=start, stop=stop, workers=workers, patience=60)
        try:
            return [batch.ids for batch in reading]
        finally:
            reading.close()

    whole = read(0, 92)
    assert read(17, 60) == whole[17:60]
    for epoch in (whole[:46], whole[46:]):
        assert len({identity for ids in epoch for identity in ids}) == 460
    assert whole[:46] != whole[46:], "epochs differ in order"
    numbers = [int(identity.rpartition("/")[2]) for ids in whole[:46] for identity in ids]
    assert sum(abs(one - other) > 20 for one, other in pairwise(numbers)) > 300, "neighbours come from many groups"


def test_of_a_stream_few_groups_are_in_memory(published: Path) -> None:
    train = made(published, stream=True).split("train")
    list(train)
    assert len(train.table._kept) == 17 < len(train.table.groups) == 24
    assert len(pickle.dumps(train)) < 10_000


def test_a_single_file_lends_its_last_rows_to_the_other_splits(tmp_path: Path) -> None:
    rows(250).to_parquet(str(tmp_path / "all.parquet"), batch_size=100)
    data = made(tmp_path / "*.parquet", stream=True)
    assert len(made(tmp_path / "al*", stream=True).split("train")) == 246, "whatever the files are called"
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [246, 2, 2]
    assert data.files == [100, 100, 46]
    assert data.split("test")[1].values["text"] == ("number 249",)


def test_a_data_set_in_their_cache_is_found_by_its_name(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    kept = cache / "datasets--someone--numbers"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("0" * 40)
    shutil.copytree(published, kept / "snapshots" / ("0" * 40))
    for stream in (True, False):
        assert len(made("someone/numbers", stream=stream).split("train")) == 460
    with pytest.raises(DataError, match=r"^someone/else: is no folder here, .* no data set in Hugging Face's cache") as told:
        made("someone/else", stream=False).split("train")
    assert told.value.hint == "`hf download someone/else --repo-type dataset` puts one there"


def test_what_a_stream_cannot_read_is_said(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="has no column 'caption'; it has image, text"):
        made(published, stream=True, column="caption").split("train")
    rows(20).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(DataError, match=r"saved: is a folder that `datasets` saved"):
        made(tmp_path / "saved", stream=True).split("train")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"torn.parquet: cannot be read as parquet"):
        made(tmp_path / "torn.parquet", stream=True).split("train")
    monkeypatch.setattr("cdkit_data.parquet.LARGEST", 100)
    for kept in (tmp_path / "cache" / "shards").glob("*.groups"):
        kept.write_bytes(kept.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"\.groups: is damaged"):
        made(published, stream=True).split("train")
    (tmp_path / "cache").rename(tmp_path / "other")
    with pytest.raises(DataError, match=r"its group 0 of 20 rows takes 0 MiB; expected at most 0, for 17 groups"):
        made(published, stream=True).split("train")


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    rows(20).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(DataError, match="has no column 'caption'; it has image, text"):
        made(tmp_path / "saved", column="caption").split("train")
    with pytest.raises(DataError, match=r"is no folder here"):
        made(tmp_path / "nowhere").split("train")
    datasets.Dataset.from_dict({"image": [{"bytes": b"torn", "path": None}] * 3, "text": ["a"] * 3}).save_to_disk(
        str(tmp_path / "torn")
    )
    with pytest.raises(DataError, match="not an image"):
        made(tmp_path / "torn").split("train")[0]
