"""Two million samples in two hundred tar files: every one once an epoch, from anywhere, in memory that does not grow."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from cdkit.engine.batches import Batches
from cdkit.engine.order import Order
from cdkit.engine.reading import Reading
from cdkit.registry import Registry
from PIL import Image

FILES, EACH = 200, 10_000
BATCH = 64
STREAMED = 1_500  # batches
NEEDED = 16 / 0.128  # samples a second that Stable Diffusion 1.x's training takes from one GPU's workers (docs/scaling.md)


def header(name: str, size: int) -> bytes:
    """A member's, as ustar has it."""
    block = bytearray(512)
    block[: len(name)] = name.encode()
    block[100:136] = b"0000644\x000000000\x000000000\x00" + f"{size:011o}".encode() + b"\x00"
    block[136:148] = b"00000000000\x00"
    block[156:157], block[257:265] = b"0", b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\x00 ".encode()
    return bytes(block)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def write(folder: Path) -> None:
    picture = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(picture, format="PNG")
    body, text = padded(picture.getvalue()), padded(b"a ramp")
    for file in range(FILES):
        with (folder / f"{file:03d}.tar").open("wb") as out:
            for sample in range(file * EACH, (file + 1) * EACH):
                out.write(header(f"{sample:07d}.png", len(picture.getvalue())) + body + header(f"{sample:07d}.txt", 6) + text)
            out.write(bytes(1024))


def resident() -> int:
    """Bytes of this process and its workers that are their own."""
    found = 0
    for path in [Path("/proc/self"), *children()]:
        lines = dict(line.split(":", 1) for line in (path / "status").read_text().splitlines() if ":" in line)
        found += int(lines["RssAnon"].split()[0]) * 1024
    return found


def children() -> Iterator[Path]:
    for number in Path("/proc/self/task/").iterdir():
        yield from (Path("/proc") / child for child in (number / "children").read_text().split())


def test_an_epoch_of_two_million_has_each_once() -> None:
    order = Order(FILES * EACH, [EACH] * FILES, seed=3)
    first = np.fromiter((order[place] for place in range(FILES * EACH)), np.int64)
    assert np.array_equal(np.sort(first), np.arange(FILES * EACH))
    somewhere = 1_234_567
    again = Order(FILES * EACH, [EACH] * FILES, seed=3)
    assert [again[place] for place in range(somewhere, somewhere + 1000)] == first[somewhere : somewhere + 1000].tolist()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes:UserWarning")  # on two cores too
def test_two_million_samples_are_streamed_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDKIT_CACHE", str(tmp_path / "cache"))
    write(tmp_path)
    data = Registry.installed().get("dataset", "webdataset")(
        train=str(tmp_path / "*.tar"), validation=str(tmp_path / "000.tar"), test=str(tmp_path / "001.tar"), size=8, channels=1
    )
    began = time.perf_counter()
    batches = Batches(data, ("text",), batch=BATCH, seed=0)
    assert len(batches.examples) == FILES * EACH
    print(f"index of {FILES * EACH:,} samples: {time.perf_counter() - began:.0f} s")
    order = Order(FILES * EACH, data.files, seed=0)
    start = 17_389  # a step in the middle of the epoch, and of a window
    stream = Reading(batches, start=start, stop=start + STREAMED, workers=4, patience=120)
    seen: list[str] = []
    early = 0
    began = time.perf_counter()
    for number, batch in enumerate(islice(stream, STREAMED)):
        seen += batch.ids
        if number == STREAMED // 5:
            early = resident()
    took, late = time.perf_counter() - began, resident()
    stream.close()
    places = range(start * BATCH, (start + STREAMED) * BATCH)
    assert seen == [f"{picture // EACH:03d}/{picture:07d}" for picture in (order[place] for place in places)]
    print(f"{len(seen) / took:,.0f} samples/s with 4 workers; memory {early / 2**20:.0f} MiB, later {late / 2**20:.0f} MiB")
    assert late < early + 64 * 2**20
    assert len(seen) / took > 3 * NEEDED
