"""Bad inputs 53 to 78: pictures and what is said of them, through the command line. More of each in tests/plugins/data."""
# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bad_pictures import BAD, chunk, encoded, noise, plain, png_of
from cdkit.errors import PromptError
from cdkit_encoders.photographs import read

Ask = Callable[..., Any]
SHOW = ("data", "show", "folder", "--set", "path=pics", "--set", "size=8")
DIGITS = (Path(__file__).parents[2] / "specs" / "digits.yaml").read_text(encoding="utf-8")
FOLDER = "data: {use: folder, path: pics, size: 8, channels: 1}"


@pytest.fixture
def pics(tmp_path: Path) -> Path:
    """A folder with one good picture, whose line is the first."""
    folder = tmp_path / "pics"
    folder.mkdir()
    (folder / "good.png").write_bytes(encoded(noise(9)))
    told(folder, {"file_name": "good.png", "text": "noise"})
    return folder


def told(folder: Path, *lines: dict[str, Any]) -> None:
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def second(pics: Path, content: bytes, name: str = "a.png", text: Any = "bad") -> None:
    (pics / name).write_bytes(content)
    told(pics, {"file_name": "good.png", "text": "noise"}, {"file_name": name, "text": text})


@pytest.mark.parametrize("case", BAD)
def test_a_bad_picture_in_a_folder(case: str, refused: Ask, pics: Path) -> None:
    make, message = BAD[case]
    second(pics, make())
    answer = refused(*SHOW, code=5, says=rf"pics/metadata\.jsonl:2: a\.png: .*(?:{message})")
    assert "hint: " in answer.err


@pytest.mark.parametrize("case", [case for case in BAD if case != "1x1"])
def test_a_bad_picture_to_set_out_from(case: str, refused: Ask, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(BAD[case][0]())
    refused("sample", "animals", "-p", "a cat", "--image", "a.png", code=5, says=r"a\.png: ")


MAPS = """
cdkit: 1
name: mapped
sample: {channels: 3, height: 8, width: 8}
conditions:
  hint: {use: map}
injectors:
  - {use: concat, streams: [hint]}
backbone: {use: unet, width: 8, mult: [1], blocks: 1, attention: [0], heads: 1}
sampler: {use: euler, steps: 1}
"""


def test_pictures_that_are_given_are_held_to_the_same(refused: Ask, ask: Ask, tmp_path: Path) -> None:
    """53, 55, 69 for `--give COLUMN=FILE`."""
    (tmp_path / "mapped.yaml").write_text(MAPS)
    assert ask("build", "mapped.yaml", "--out", "run").code == 0
    for case in ("truncated png", "text", "eps", "bomb 5000"):
        (tmp_path / "a.png").write_bytes(BAD[case][0]())
        refused("sample", "run", "--give", "hint=a.png", code=5, says=r"a\.png: ")


def test_what_is_changed_or_dropped_is_told(ask: Ask, pics: Path, caplog: pytest.LogCaptureFixture) -> None:
    """54, 56, 61, 70, 72, 73: read, and said."""
    moving = encoded(plain((255, 0, 0)), "WEBP", save_all=True, append_images=[plain((0, 255, 0))], lossless=True)
    files = {
        "end.png": encoded(noise(1))[:-12],
        "cmyk.jpg": encoded(plain((255, 0, 0, 0), mode="CMYK"), "JPEG"),
        "moving.webp": moving,
        "profile.png": encoded(noise(2), icc_profile=b"no profile"),
        "silent.png": encoded(noise(3)),
        "again.png": encoded(noise(9)),
    }
    for name, content in files.items():
        (pics / name).write_bytes(content)
    lines = [{"file_name": name, "text": "" if name == "silent.png" else name} for name in files]
    told(pics, {"file_name": "good.png", "text": "noise"}, *lines)
    answer = ask(*SHOW)
    assert answer.code == 0
    assert caplog.messages == [
        "pics/metadata.jsonl:7: the same picture as line 1 (again.png); they are joined",
        "end.png: the end of the PNG (IEND) is missing",
        "CMYK pictures were converted to RGB",
        "moving.webp: animated; only the first frame is used",
        "profile.png: its colour profile is broken and was dropped",
        "pics: 6 pictures, 1 without words, 0 left out",
    ]


LINES: dict[str, tuple[Any, str]] = {
    "71 no caption": ({"file_name": "a.png"}, r"pics/metadata\.jsonl:2: no column 'text'; found: file_name$"),
    "71 null": ({"file_name": "a.png", "text": None}, r"pics/metadata\.jsonl:2: 'text' is missing \(null\); expected text$"),
    "76 climbing": ({"file_name": "../secret.png", "text": "x"}, r"pics/metadata\.jsonl:2: '\.\./secret\.png' leads out of pics$"),
    "76 absolute": ({"file_name": "/etc/passwd", "text": "x"}, r"pics/metadata\.jsonl:2: '/etc/passwd' leads out of pics$"),
    "76 a link": ({"file_name": "link.png", "text": "x"}, r"pics/metadata\.jsonl:2: pics/link\.png: a symbolic link; pictures must"),
    "76 a pipe": ({"file_name": "pipe", "text": "x"}, r"pics/metadata\.jsonl:2: pics/pipe: not a file$"),
    "79 gone": ({"file_name": "gone.png", "text": "x"}, r"pics/metadata\.jsonl:2: pics/gone\.png: No such file or directory$"),
}  # fmt: skip


@pytest.mark.parametrize("case", LINES)
def test_a_bad_line(case: str, refused: Ask, pics: Path) -> None:
    line, says = LINES[case]
    (pics / "a.png").write_bytes(encoded(noise(1)))
    (pics.parent / "secret.png").write_bytes(encoded(noise(2)))
    (pics / "link.png").symlink_to(pics.parent / "secret.png")
    os.mkfifo(pics / "pipe")
    told(pics, {"file_name": "good.png", "text": "noise"}, line)
    answer = refused(*SHOW, code=5, says=says)
    assert "hint: " in answer.err


MANIFESTS: dict[str, tuple[str, bytes, str]] = {
    "74 Latin-1": ("jsonl", b'{"file_name": "good.png", "text": "x"}\n{"text": "caf\xe9"}\n', r"pics/metadata\.jsonl:2:14: not UTF-8 \(byte 0xe9\)$"),
    "74 no JSON": ("jsonl", b'{"file_name": "good.png", "text": "x"}\n{"file_name" "b"}\n', r"pics/metadata\.jsonl:2:14: not JSON"),
    "74 a bomb of JSON": ("jsonl", b"[" * 1_000_000, r"pics/metadata\.jsonl:1: not JSON"),
    "74 a number without end": ("jsonl", b'{"file_name": "good.png", "text": "x", "n": ' + b"9" * 5000 + b"}", r"pics/metadata\.jsonl:1: not JSON"),
    "75 wrong columns": ("csv", b"file,text\ngood.png,x\n", r"pics/metadata\.csv:2: no column 'file_name'; found: file, text; did you mean 'file'\?$"),
    "75 one too many": ("csv", b"file_name,text\ngood.png,a cat, a dog\n", r"pics/metadata\.csv:2: 3 values for 2 columns \(file_name, text\)$"),
    "75 stray quotes": ("csv", b'file_name,text\ngood.png,x\ngood.png,"a "cat" here"\n', r"pics/metadata\.csv:3: "),
    "75 an open quote": ("csv", b'file_name,text\ngood.png,"x\n', r"pics/metadata\.csv:2: "),
    "75 NUL": ("csv", b"file_name,text\ngood.png,a\0b\n", r"pics/metadata\.csv:2: 'text' holds NUL or half a surrogate pair, which no"),
    "74 half a pair": ("jsonl", b'{"file_name": "good.png", "text": "\\ud83d"}', r"pics/metadata\.jsonl:1: 'text' holds NUL or half a"),
    "75 a field without end": ("csv", b"file_name,text\ngood.png," + b"x" * 200_000 + b"\n", r"pics/metadata\.csv:2: field larger than field limit"),
    "78 empty": ("jsonl", b"\n\n", r"pics/metadata\.jsonl: empty; expected a line for each picture$"),
    "78 a header alone": ("csv", b"file_name,text\n", r"pics/metadata\.csv: empty; expected a line for each picture$"),
}  # fmt: skip


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_bad_manifest(case: str, refused: Ask, pics: Path) -> None:
    ending, content, says = MANIFESTS[case]
    (pics / "metadata.jsonl").unlink()
    (pics / f"metadata.{ending}").write_bytes(content)
    refused(*SHOW, code=5, says=says)


def test_a_byte_order_mark_is_no_part_of_a_column(ask: Ask, pics: Path) -> None:
    """75."""
    (pics / "metadata.jsonl").unlink()
    (pics / "metadata.csv").write_bytes(b"\xef\xbb\xbffile_name,text,split\r\ngood.png,noise,train\r\n")
    assert ask(*SHOW).code == 0


@pytest.mark.parametrize("case", ["bad picture", "empty", "none is left"])
def test_a_training_whose_data_is_bad_leaves_nothing(case: str, refused: Ask, pics: Path, tmp_path: Path) -> None:
    """53, 78: refused before there is a run."""
    (tmp_path / "own.yaml").write_text(DIGITS.replace("data: {use: digits}", FOLDER))
    says = {
        "bad picture": r"pics/metadata\.jsonl:2: a\.png: not an image",
        "empty": r"pics/metadata\.jsonl: empty; expected a line for each picture$",
        "none is left": r"pics: no picture is left for training$",
    }
    if case == "bad picture":
        second(pics, b"no picture")
    elif case == "empty":
        told(pics)
    else:
        told(pics, {"file_name": "good.png", "text": "x", "split": "test"})
    refused("train", "own.yaml", "--out", "run", "--device", "cpu", code=5, says=says[case])


def test_fewer_pictures_than_a_batch_are_counted(ask: Ask, pics: Path, tmp_path: Path) -> None:
    """77: numbers shown, and it ends."""
    told(pics, {"file_name": "good.png", "text": "x", "split": "train"})
    (tmp_path / "own.yaml").write_text(DIGITS.replace("data: {use: digits}", FOLDER))
    answer = ask(
        "train", "own.yaml", "--out", "run", "--device", "cpu", "--set", "train.steps=1", "--set", "train.sample_every=0"
    )
    assert answer.code == 0
    assert "note: 1 training pictures for batches of 64: a batch holds some more than once\n" in answer.out


def zeros(side: int) -> bytes:
    """A PNG of side x side black pixels in a few hundred kilobytes: what a picture bomb is."""
    press = zlib.compressobj(9)
    rows = b"".join(press.compress(b"\0" * (side + 1) * 100) for _ in range(side // 100)) + press.flush()
    start = png_of(side, side).index(b"IDAT") - 4
    return png_of(side, side)[:start] + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("reader", ["folder", "photograph"])
def test_a_bomb_is_refused_before_it_is_decoded(reader: str, tmp_path: Path) -> None:
    """64: 169 million pixels in 164 KB; Pillow alone takes 1.66 GB and 5 s. Here less than 50 ms, given ten times that on a
    shared core, and 20 MB."""
    (tmp_path / "bomb.png").write_bytes(zeros(13_000))
    work = {
        "folder": "decode(Path('bomb.png').read_bytes(), 'bomb.png', background=(0, 0, 0), notes=Notes())",
        "photograph": "opened(Path('bomb.png'))",
    }
    code = (
        "import resource, time\nfrom pathlib import Path\nfrom PIL import Image, PngImagePlugin\n"
        "from cdkit.errors import DataError\nfrom cdkit_data.pictures import Notes, decode\n"
        "from cdkit.engine.photographs import opened\nImage.preinit()\n"
        "before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()\n"
        f"try: {work[reader]}\nexcept DataError as error: print(error)\n"
        "print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    said, cost = done.stdout.splitlines()
    seconds, kilobytes = map(float, cost.split())
    assert re.match(r"bomb\.png: (13000 ?x ?13000 .*|too many )pixels; at most 16,777,216 are", said)
    assert seconds < 0.5
    assert kilobytes < 20_000


@pytest.mark.parametrize("case", [case for case in BAD if case != "1x1"])
def test_a_bad_picture_as_a_condition(case: str, tmp_path: Path) -> None:
    """The reader of pretrained image encoders holds a file to the same."""
    (tmp_path / "a.png").write_bytes(BAD[case][0]())
    with pytest.raises(PromptError, match=r"image 0, '.*a\.png': ") as caught:
        read([tmp_path / "a.png"])
    assert caught.value.exit_code == 5
