"""Data sets of Hugging Face's library: a saved folder, parquet files, splits, bad rows."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cdkit.engine.batches import Batches
from cdkit.parts import DataError
from cdkit.registry import Registry
from cdkit.testing import check_dataset
from PIL import Image

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


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


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    rows(20).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(DataError, match="has no column 'caption'; it has image, text"):
        made(tmp_path / "saved", column="caption").split("train")
    with pytest.raises(DataError, match=r"no data set that can be read|there is no such file"):
        made(tmp_path / "nowhere").split("train")
    datasets.Dataset.from_dict({"image": [{"bytes": b"torn", "path": None}] * 3, "text": ["a"] * 3}).save_to_disk(
        str(tmp_path / "torn")
    )
    with pytest.raises(DataError, match="not an image"):
        made(tmp_path / "torn").split("train")[0]
