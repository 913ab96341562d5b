"""Folders of pictures: what is read, what is refused, and that every error names its line and how to mend it."""

from __future__ import annotations

import json
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bad_pictures import BAD, encoded, noise, plain, png_of
from cdkit.parts import DataError
from cdkit_data.folder import Folder
from cdkit_data.splits import SPLITS
from PIL import Image


def write(root: Path, files: dict[str, bytes], lines: list[dict[str, Any]] | None = None) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    rows = [{"file_name": name, "text": f"caption of {name}"} for name in files] if lines is None else lines
    (root / "metadata.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return root


def folder(root: Path, **options: Any) -> Folder:
    return Folder(path=str(root), **{"size": 8, **options})


def everything(data: Folder) -> dict[str, Any]:
    return {example.id: example for name in SPLITS for example in data._splits[name]}  # pyright: ignore[reportPrivateUsage]


def only(data: Folder) -> Any:
    (example,) = everything(data).values()
    return example


# --------------------------------------------------------------------------- what is read


def test_pictures_and_captions_are_read(tmp_path: Path) -> None:
    write(tmp_path, {f"{n}.png": encoded(noise(n)) for n in range(40)})
    data = folder(tmp_path, size=16)
    found = everything(data)
    assert len(found) == 40
    assert data.shape == (3, 16, 16)
    for example in found.values():
        n = int(example.values["text"][0].split()[-1].removesuffix(".png"))
        pixels = torch.from_numpy(np.array(noise(n))).permute(2, 0, 1)
        assert torch.equal(((example.image + 1) * 127.5).round().to(torch.uint8), pixels)


def test_splits_are_stable_when_pictures_come_and_go(tmp_path: Path) -> None:
    files = {f"{n}.png": encoded(noise(n)) for n in range(60)}
    write(tmp_path, files)
    before = {name: set(folder(tmp_path).split(name).ids) for name in SPLITS}
    assert all(before.values())
    fingerprint = folder(tmp_path).fingerprint()
    assert folder(tmp_path, size=4).split("test").ids == folder(tmp_path).split("test").ids
    write(tmp_path, files, [{"file_name": name, "text": "else"} for name in reversed(list(files)[:-1])])
    after = {name: set(folder(tmp_path).split(name).ids) for name in SPLITS}
    assert all(after[name] <= before[name] for name in SPLITS)
    assert folder(tmp_path).fingerprint() != fingerprint


def test_a_split_column_and_split_folders_decide(tmp_path: Path) -> None:
    names = ["train", "val", "test"]
    files = {f"{n}.png": encoded(noise(n)) for n in range(3)}
    rows = [{"file_name": file, "text": name, "split": name} for file, name in zip(files, names, strict=True)]
    write(tmp_path / "column", files, rows)
    for name, (file, content) in zip(SPLITS, files.items(), strict=True):
        write(tmp_path / "folders" / name, {file: content}, [{"file_name": file, "text": name}])
    for where, said in (("column", names), ("folders", list(SPLITS))):
        data = folder(tmp_path / where)
        assert [[example.values["text"] for example in data.split(name)] for name in SPLITS] == [[(text,)] for text in said]


def test_a_picture_in_two_splits_is_an_error(tmp_path: Path) -> None:
    rows = [{"file_name": name, "text": "x", "split": split} for name, split in (("a.png", "train"), ("b.png", "test"))]
    write(tmp_path, {"a.png": encoded(noise(0)), "b.png": encoded(noise(0))}, rows)
    with pytest.raises(DataError, match=r"metadata\.jsonl:2: the picture of line 1 again \(b\.png\), in another split"):
        folder(tmp_path).split("train")


@pytest.mark.parametrize("kind", ["csv", "parquet", "bom"])
def test_other_manifests_say_the_same(kind: str, tmp_path: Path) -> None:
    write(tmp_path, {"a.png": encoded(noise(1)), "b.png": encoded(noise(2))})
    (tmp_path / "metadata.jsonl").unlink()
    rows = [{"file_name": "a.png", "caption": 'a "big", cat'}, {"file_name": "b.png", "caption": "一只猫\n在家"}]
    if kind == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "metadata.parquet")
    else:
        text = 'file_name,caption\r\na.png,"a ""big"", cat"\r\nb.png,"一只猫\n在家"\r\n'
        (tmp_path / "metadata.csv").write_bytes(text.encode("utf-8-sig" if kind == "bom" else "utf-8"))
    data = folder(tmp_path, column="caption")
    assert sorted(example.values["text"][0] for example in everything(data).values()) == ['a "big", cat', "一只猫\n在家"]


def test_several_captions_and_further_columns(tmp_path: Path) -> None:
    row = {"file_name": "a.png", "text": ["a cat", "cat"], "text.zh": "猫", "label": "cat"}
    write(tmp_path, {"a.png": encoded(noise(1))}, [row])
    data = folder(tmp_path, also=("text.zh", "label"))
    assert data.columns == ("text", "text.zh", "label")
    assert only(data).values == {"text": ("a cat", "cat"), "text.zh": ("猫",), "label": ("cat",)}


@pytest.mark.parametrize("size", [(24, 16), (16, 27), (32, 32), (40, 17)])
def test_sizes_say_how_large_a_picture_was_and_where_it_was_cut(size: tuple[int, int], tmp_path: Path) -> None:
    """A ramp from left to right or top to bottom says of each row and column where it was in the file."""
    columns, rows = size
    ramp = np.linspace(0, 255, max(size)).round().astype(np.uint8)
    grey = np.tile(ramp, (rows, 1)) if columns >= rows else np.tile(ramp[:, None], (1, columns))
    write(tmp_path, {"a.png": encoded(Image.fromarray(np.stack([grey] * 3, axis=-1)))})
    example = only(folder(tmp_path, size=8, sizes=True))
    told = example.values["sizes"][0]
    assert (told[:2], told[4:]) == ((rows, columns), (8, 8))
    longer = max(size) * 8 // min(size)
    seen = ((example.image[0] + 1) / 2 * (longer - 1)).mean(0 if columns >= rows else 1)
    cut = torch.arange(8) + (told[3] if columns >= rows else told[2])
    assert (told[2] if columns >= rows else told[3]) == 0
    assert (seen - cut)[2:-2].abs().max() < 0.5, "a row further on would be off by one"


def test_squashed_pictures_are_not_cut(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": encoded(plain(size=(24, 16)))})
    assert only(folder(tmp_path, crop="squash", sizes=True)).values["sizes"] == ((16, 24, 0, 0, 8, 8),)


def test_sizes_are_told_only_if_asked_for_and_once(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": encoded(noise(1)), "b.png": encoded(noise(1))})
    quiet, telling = folder(tmp_path), folder(tmp_path, sizes=True)
    assert (quiet.columns, telling.columns) == (("text",), ("text", "sizes"))
    assert "sizes" not in only(quiet).values
    assert only(telling).values["sizes"] == ((16, 16, 0, 0, 8, 8),)
    assert quiet.fingerprint() != telling.fingerprint()
    with pytest.raises(ValueError, match="sizes: true makes a column 'sizes', and the manifest's 'sizes' is asked for too"):
        folder(tmp_path, sizes=True, also=("sizes",))


def test_an_empty_caption_says_nothing_and_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, {"a.png": encoded(noise(1))}, [{"file_name": "a.png", "text": "  "}])
    with caplog.at_level(logging.INFO, logger="cdkit.data"):
        assert only(folder(tmp_path)).values["text"] == ("",)
    assert "1 pictures, 1 without words, 0 left out" in caplog.text


def test_equal_pictures_are_joined_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, {"a.png": encoded(noise(1)), "b.png": encoded(noise(1))})
    assert only(folder(tmp_path)).values["text"] == ("caption of a.png", "caption of b.png")
    assert "metadata.jsonl:2: the same picture as line 1 (b.png); they are joined" in caplog.text


# --------------------------------------------------------------------------- pixels


def pixel(root: Path, content: bytes, name: str = "a.png", **options: Any) -> torch.Tensor:
    """The middle pixel's channels, 0 to 255."""
    write(root, {name: content})
    return ((only(folder(root, **options)).image[:, 4, 4] + 1) * 127.5).round()


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    grey = Image.fromarray(np.full((16, 16), 32896, np.uint16))
    assert pixel(tmp_path, encoded(grey)).tolist() == [128, 128, 128]


def test_cmyk_is_converted_and_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cyan = plain((255, 0, 0, 0), mode="CMYK")
    red, green, blue = pixel(tmp_path, encoded(cyan, "JPEG"), "a.jpg").tolist()
    assert red < 10
    assert min(green, blue) > 160
    assert caplog.text.count("CMYK pictures were converted to RGB") == 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_on_the_background(mode: str, tmp_path: Path) -> None:
    clear = plain((0, 0, 0, 0), mode="RGBA") if mode != "LA" else plain((0, 0), mode="LA")
    content = encoded(clear) if mode != "P" else encoded(plain(0, mode="P"), transparency=0)
    assert pixel(tmp_path, content).tolist() == [255, 255, 255]
    assert pixel(tmp_path, content, background=(10, 20, 30)).tolist() == [10, 20, 30]


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    picture = plain((0, 0, 0), (16, 16))
    picture.paste((255, 255, 255), (0, 0, 8, 16))  # the left half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by a quarter: left becomes top
    write(tmp_path, {"a.jpg": encoded(picture, "JPEG", exif=exif, quality=95)})
    image = only(folder(tmp_path)).image
    assert image[:, 1].min() > 0.9
    assert image[:, 6].max() < -0.9


def test_grey_channels_and_crops(tmp_path: Path) -> None:
    wide = plain((0, 0, 0), (32, 16))
    wide.paste((255, 255, 255), (8, 0, 24, 16))  # the middle is white
    write(tmp_path, {"a.png": encoded(wide)})
    centre, squash = (only(folder(tmp_path, channels=1, crop=crop)).image for crop in ("centre", "squash"))
    assert centre.shape == squash.shape == (1, 8, 8)
    assert centre[:, :, 1:-1].min() == 1, "grey of white is white"
    assert centre.min() > 0.7
    assert squash[0, :, 0].max() < -0.9


def test_an_animation_gives_its_first_frame(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = encoded(plain((255, 0, 0)), "WEBP", save_all=True, append_images=[plain((0, 255, 0))], lossless=True)
    assert pixel(tmp_path, content, "a.webp").tolist() == [255, 0, 0]
    assert "a.webp: animated; only the first frame is used" in caplog.text


def test_a_broken_colour_profile_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert pixel(tmp_path, encoded(plain(), icc_profile=b"no profile")).tolist() == [200, 100, 50]
    assert "a.png: its colour profile is broken and was dropped" in caplog.text


def test_a_png_without_its_end_is_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert pixel(tmp_path, encoded(plain())[:-12]).tolist() == [200, 100, 50]
    assert "a.png: the end of the PNG (IEND) is missing" in caplog.text


# --------------------------------------------------------------------------- pictures that are refused


@pytest.mark.parametrize("case", BAD)
def test_a_bad_picture_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    make, message = BAD[case]
    write(tmp_path, {"good.png": encoded(noise(9)), "a.png": make()})
    with pytest.raises(DataError, match=rf"metadata\.jsonl:2: .*a\.png.*(?:{message})") as caught:
        folder(tmp_path).split("train")
    assert caught.value.hint
    assert caught.value.exit_code == 5


def test_a_small_picture_is_enlarged_only_if_asked(tmp_path: Path) -> None:
    assert pixel(tmp_path, encoded(plain(size=(1, 1))), upscale=True).tolist() == [200, 100, 50]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../secret.png", r"'../secret\.png' leads out of"),
        ("/etc/passwd", "'/etc/passwd' leads out of"),
        ("a/../../secret.png", "leads out of"),
        ("..\\secret.png", "leads out of"),
        ("C:/secret.png", "leads out of"),
        ("a\0.png", "leads out of"),
        ("link.png", r"link\.png: a symbolic link"),
        ("inside/secret.png", "inside: a symbolic link"),
        ("gone.png", r"gone\.png: No such file"),
        ("sub", "sub: not a file"),
        ("pipe", "pipe: not a file"),
        ("", "`file_name` is ''; expected the name of a picture"),
    ],
)
def test_paths_stay_in_the_folder(name: str, message: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (tmp_path / "secret.png").write_bytes(encoded(plain()))
    write(root, {"a.png": encoded(plain())}, [{"file_name": name, "text": "x"}])
    (root / "sub").mkdir()
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "inside").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    with pytest.raises(DataError, match=rf"metadata\.jsonl:1: .*{message}"):
        folder(root).split("train")


def test_skip_bad_counts_lists_and_has_a_limit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = {f"{n}.png": encoded(noise(n)) if n > 2 else b"bad" for n in range(20)}
    write(tmp_path, files)
    with pytest.raises(DataError, match=r"metadata\.jsonl:1: 0\.png: not an image"):
        folder(tmp_path, most_bad=5).split("train")
    assert len(everything(folder(tmp_path, skip_bad=True, most_bad=3))) == 17
    assert "skipped" in caplog.text
    assert "metadata.jsonl:3: 2.png: not an image" in caplog.text
    with pytest.raises(
        DataError, match=r"3 pictures cannot be used, more than most_bad: 2; the last: .*metadata\.jsonl:3: 2\.png"
    ):
        folder(tmp_path, skip_bad=True, most_bad=2).split("train")


def test_reading_warns_nobody_else(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": png_of(13000, 13000)})
    with warnings.catch_warnings(record=True) as seen, pytest.raises(DataError):
        folder(tmp_path).split("train")
    assert not seen


# --------------------------------------------------------------------------- manifests that are refused


MANIFESTS: dict[str, tuple[str, bytes, str]] = {
    "no caption": ("jsonl", b'{"file_name": "a.png"}', r"jsonl:1: no column 'text'; found: file_name"),
    "near name": ("jsonl", b'{"file_name": "a.png", "txt": "x"}', r"jsonl:1: no column 'text'; .*did you mean 'txt'\?"),
    "null caption": ("jsonl", b'\n{"file_name": "a.png", "text": null}', r"jsonl:2: 'text' is missing \(null\); expected text"),
    "number caption": ("jsonl", b'{"file_name": "a.png", "text": 3}', r"jsonl:1: 'text' is int; expected text"),
    "empty list": ("jsonl", b'{"file_name": "a.png", "text": []}', r"jsonl:1: 'text' is an empty list"),
    "no file name": (
        "jsonl",
        b'{"filename": "a.png", "text": "x"}',
        r"jsonl:1: no column 'file_name'; .*did you mean 'filename'\?",
    ),
    "not json": ("jsonl", b'{"file_name": "a.png", "text": "x"}\n{"file_name" "b"}', r"jsonl:2:14: not JSON"),
    "a list": ("jsonl", b'["a.png", "x"]', "jsonl:1: expected a JSON object, found list"),
    "deep": ("jsonl", b"[" * 200_000, "jsonl:1:.*not JSON"),
    "latin 1": ("jsonl", b'{"file_name": "a.png", "text": "x"}\n{"text": "caf\xe9"}', r"jsonl:2:14: not UTF-8 \(byte 0xe9\)"),
    "bad split": ("jsonl", b'{"file_name": "a.png", "text": "x", "split": "dog"}', "jsonl:1: split 'dog'; expected train, val"),
    "empty": ("jsonl", b"\n\n", "jsonl: empty; expected a line for each picture"),
    "csv columns": ("csv", b"file,text\na.png,x\n", "csv:2: no column 'file_name'; found: file, text"),
    "csv too many": ("csv", b"file_name,text\na.png,a cat, a dog\n", r"csv:2: 3 values for 2 columns \(file_name, text\)"),
    "csv quotes": ("csv", b'file_name,text\na.png,x\nb.png,"a "cat" here"\n', "csv:3: "),
    "csv open quote": ("csv", b'file_name,text\na.png,"x\n', "csv:2: "),
    "csv header alone": ("csv", b"file_name,text\n", "csv: empty; expected a line for each picture"),
    "no parquet": ("parquet", b"PAR1 or not", "parquet: not a parquet file"),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_bad_manifest_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    ending, content, message = MANIFESTS[case]
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / "a.png").write_bytes(encoded(plain()))
    (tmp_path / f"metadata.{ending}").write_bytes(content)
    with pytest.raises(DataError, match=message):
        folder(tmp_path).split("train")


def test_no_folder_no_manifest_or_two(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none: there is no such folder"):
        folder(tmp_path / "none").split("train")
    with pytest.raises(DataError, match=r"no metadata\.jsonl, metadata\.csv or metadata\.parquet in it") as caught:
        folder(tmp_path).split("train")
    assert '{"file_name": "0001.png", "text": "a cat"}' in caught.value.hint
    write(tmp_path, {"a.png": encoded(plain())})
    (tmp_path / "metadata.csv").write_text("file_name,text\n")
    with pytest.raises(DataError, match=r"metadata\.jsonl and metadata\.csv; expected one of them"):
        folder(tmp_path).split("train")


def test_nothing_left_to_train_on(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": encoded(plain())}, [{"file_name": "a.png", "text": "x", "split": "test"}])
    data = folder(tmp_path)
    assert len(data.split("test")) == 1
    assert len(data.split("validation")) == 0
    with pytest.raises(DataError, match="no picture is left for training"):
        data.split("train")


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match=r"background is \[0, 0, 256\]; expected three numbers from 0 to 255"):
        Folder(path="x", background=(0, 0, 256))
