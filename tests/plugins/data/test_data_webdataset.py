"""Tar shards: each sample read alone, bad ones passed over, an order that goes on anywhere."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cdkit.engine.batches import Batches
from cdkit.engine.reading import Reading
from cdkit.engine.train import train
from cdkit.parts import DataError, EnvironmentFault
from cdkit.registry import Registry
from cdkit.spec import read_spec
from cdkit.testing import check_dataset
from cdkit_data.buckets import Sides, nearest, shapes
from PIL import Image

Make = Callable[..., str]


def png(colour: int, size: int = 8) -> bytes:
    written = io.BytesIO()
    Image.fromarray(np.full((size, size), colour, np.uint8)).save(written, format="PNG")
    return written.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes], *, format: int = tarfile.USTAR_FORMAT) -> None:
    with tarfile.open(path, "w", format=format) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`files` shards of `each` samples; a picture's grey is its number."""

    def made(files: int = 6, each: int = 10, broken: tuple[int, ...] = (), format: int = tarfile.USTAR_FORMAT) -> str:
        for file in range(files):
            members: dict[str, bytes] = {}
            for sample in range(file * each, (file + 1) * each):
                members[f"{sample:06d}.png"] = b"no picture" if sample in broken else png(sample)
                members[f"{sample:06d}.txt"] = f"number {sample}\nthe {sample}th\n".encode()
            write_tar(tmp_path / f"t-{file:03d}.tar", members, format=format)
        return str(tmp_path / f"t-{{000..{files - 1:03d}}}.tar")

    return made


def shards(**options: object) -> object:
    return Registry.installed().get("dataset", "webdataset")(**{"size": 8, "channels": 1, **options})


def test_it_passes_every_check_of_data_sets(make: Make) -> None:
    check_dataset(partial(shards, train=make()), exceptions={"licence": "the pictures are whoever's files these are"})


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_any_sample_is_read_alone(make: Make, format: int) -> None:
    data = shards(train=make(format=format))
    train_split = data.split("train")
    assert (len(train_split), len(data.split("validation")), len(data.split("test"))) == (40, 10, 10)
    assert list(data.files) == [10] * 4
    example = train_split[37]
    assert example.id == "t-003/000037"
    assert example.values["text"] == ("number 37", "the 37th")
    assert float((example.image[0, 0, 0] + 1) * 127.5) == pytest.approx(37, abs=1e-3)


def test_long_names_and_json_and_classes(tmp_path: Path) -> None:
    name = "photographs/" + "long" * 40 + "/0001"
    fields = json.dumps({"caption": ["a dot", "a spot"], "zh": "点"}).encode()
    for file in range(3):
        write_tar(
            tmp_path / f"{file}.tar",
            {f"{name}.jpg": png(file), f"{name}.json": fields, f"{name}.cls": b"dot"},
            format=tarfile.GNU_FORMAT,
        )
    data = shards(train=str(tmp_path / "*.tar"), column="caption", also=("zh", "label"))
    (example,) = data.split("train")
    assert example.id == f"0/{name}"
    assert dict(example.values) == {"text": ("a dot", "a spot"), "zh": ("点",), "label": ("dot",)}


def test_what_cannot_be_used_is_said(make: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="names no file"):
        shards(train=str(tmp_path / "none-*.tar")).split("train")
    with pytest.raises(DataError, match=r"t-006.tar: there is no such file, and 1 more are missing"):
        shards(train=make().replace("005", "007")).split("train")
    (tmp_path / "torn.tar").write_bytes((tmp_path / "t-000.tar").read_bytes()[:1500])
    with pytest.raises(DataError, match=r"is cut off; the last member that begins is 000000\.png"):
        shards(train=str(tmp_path / "torn.tar"), validation=make(), test=make()).split("train")
    (tmp_path / "text.tar").write_text("this is a text that somebody called a tar file, " * 40)
    with pytest.raises(DataError, match="is no tar file"):
        shards(train=str(tmp_path / "text.tar"), validation=make(), test=make()).split("train")
    with pytest.raises(DataError, match="no file can be spared for test"):
        shards(train=str(tmp_path / "t-000.tar")).split("train")


def batches(data: object, batch: int = 4) -> Batches:
    return Batches(data, ("text",), batch=batch, seed=0)  # pyright: ignore[reportArgumentType]


def test_an_epoch_has_every_picture_once_and_begins_anywhere(make: Make) -> None:
    """40 files in windows of 16, so that files, windows and the pictures in them are shuffled."""
    data = shards(train=make(files=42, each=5))
    whole = batches(data, batch=8)
    epoch = [identity for step in range(25) for identity in whole[step].ids]
    assert len(set(epoch)) == 200
    assert epoch != sorted(epoch)
    for step in (24, 7, 19):
        assert batches(data, batch=8)[step].ids == whole[step].ids
    assert [identity for step in range(25, 50) for identity in whole[step].ids] != epoch
    files = {identity.split("/")[0] for identity in epoch[:80]}
    assert len(files) == 16, "a window is read before the next one"


def test_workers_and_processes_change_nothing(make: Make) -> None:
    data = shards(train=make(files=8, each=5))
    alone = [batches(data)[step].ids for step in range(12)]
    assert [batch.ids for batch in Reading(batches(data), start=3, stop=12, workers=2, patience=30)] == alone[3:]
    shared = [Batches(data, ("text",), batch=4, seed=0, share=range(2 * rank, 2 * rank + 2)) for rank in range(2)]  # pyright: ignore[reportArgumentType]
    assert [shared[0][step].ids + shared[1][step].ids for step in range(12)] == alone


def test_bad_pictures_are_listed_and_passed_over_up_to_a_limit(make: Make, tmp_path: Path) -> None:
    pattern = make(files=8, each=5, broken=(3, 11))
    digits = Path(__file__).parents[3] / "specs" / "digits.yaml"
    small = (
        "backbone.width=8",
        "backbone.heads=1",
        "conditions.text.dim=8",
        "train.batch=10",
        "train.steps=3",
        "train.sample_every=0",
    )

    def spec(most: int) -> object:
        data = f"data={{use: webdataset, train: '{pattern}', size: 8, channels: 1, most_bad: {most}}}"
        return read_spec(digits, overrides=(*small, data, "evaluate=[]"))

    run = train(spec(2), tmp_path / "run", say=lambda _: None)  # pyright: ignore[reportArgumentType]
    lines = [json.loads(line) for line in (run.path / "unreadable" / "0000.jsonl").read_text().splitlines()]
    assert sorted(line["picture"] for line in lines) == ["11", "3"]
    assert all("not an image" in line["why"] for line in lines)
    with pytest.raises(DataError, match="2 training pictures cannot be read, more than the data set's most_unreadable: 1"):
        train(spec(1), tmp_path / "other", say=lambda _: None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match="not an image"):
        train(spec(0), tmp_path / "third", say=lambda _: None)  # pyright: ignore[reportArgumentType]


def test_an_index_is_made_once_and_again_where_a_file_changed(make: Make, tmp_path: Path) -> None:
    pattern = make(files=3, each=2)
    assert len(shards(train=pattern).split("train")) == 2
    kept = sorted((tmp_path / "cache" / "shards").iterdir())
    assert len(shards(train=pattern).split("train")) == 2
    assert sorted((tmp_path / "cache" / "shards").iterdir()) == kept
    make(files=3, each=4)
    assert len(shards(train=pattern).split("train")) == 4


def test_a_cache_that_cannot_be_written_is_said(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDKIT_CACHE", "/proc/nowhere")
    with pytest.raises(EnvironmentFault, match="cannot write here"):
        shards(train=make()).split("train")


# ----------------------------------------------------------------------------------------- shapes


def test_shapes_are_of_about_one_size() -> None:
    found = shapes(512, 64, 2.0)
    assert Sides(512, 512) in found
    assert Sides(384, 640) in found
    assert {Sides(one.width, one.height) for one in found} == set(found)
    assert all(one.height % 64 == one.width % 64 == 0 for one in found)
    assert all(0.7 * 512**2 < one.height * one.width <= 512**2 for one in found)
    assert nearest(Sides(300, 500), found) == found.index(Sides(384, 640))
    assert found[nearest(Sides(4000, 1000), found)].height > found[nearest(Sides(4000, 1000), found)].width
    assert found[nearest(Sides(77, 77), found)] == Sides(512, 512)


def of_sides(height: int, width: int) -> bytes:
    written = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(written, format="PNG")
    return written.getvalue()


def test_batches_are_of_one_shape_and_have_every_picture(tmp_path: Path) -> None:
    sides = [(32, 32), (24, 40), (40, 24)]
    for file in range(20):
        members: dict[str, bytes] = {}
        for sample in range(file * 7, (file + 1) * 7):
            members |= {f"{sample:04d}.png": of_sides(*sides[sample % 5 % 3]), f"{sample:04d}.txt": b"a thing"}
        write_tar(tmp_path / f"{file:02d}.tar", members)
    data = shards(train=str(tmp_path / "*.tar"), size=32, channels=3, aspect=2.0, step=8)
    whole = batches(data, batch=4)
    epoch = whole._order.count // 4
    made = [whole[step] for step in range(epoch)]
    assert {tuple(batch.images.shape[2:]) for batch in made} == set(sides)
    seen = {identity for batch in made for identity in batch.ids}
    assert len(seen) == 18 * 7, "every training picture"
    assert epoch * 4 < 18 * 7 + 2 * 3 * 4, "and few of them twice"
    assert batches(data, batch=4)[epoch + 3].ids == whole[epoch + 3].ids
    assert [whole[step].ids for step in range(epoch, 2 * epoch)] != [batch.ids for batch in made]
    assert tuple(data.split("test")[0].image.shape) == (3, 32, 32)
