"""What a fuzzer hands bytes to: each target reads them as cdkit does, and raises only if cdkit did what it never may.

Refusing is right, as long as it is one of cdkit's own errors, in words that no terminal acts on, and, of a spec, at a place.
"""
# ruff: noqa: PT017  what is asserted is for the fuzzer to hear

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import torch
from cdkit.cli.failures import inert
from cdkit.conditions import Ledger
from cdkit.engine.checkpoint import MANIFEST, STATE, Checkpoint, verified
from cdkit.engine.photographs import numbers, opened
from cdkit.engine.pictures import slug
from cdkit.engine.prompts import read_prompts
from cdkit.engine.weights import load_exactly
from cdkit.errors import CdkitError, CheckpointError, DataError, PromptError
from cdkit.registry import Registry
from cdkit.spec import SpecErrors, read_spec
from cdkit.spec.source import decoded
from cdkit_data.entries import read_entries
from cdkit_data.pictures import Notes, decode
from cdkit_encoders.emphasis import fragments
from cdkit_encoders.photographs import read as read_photographs
from cdkit_encoders.prompts import read, shown
from torch import nn

SIGNATURE = b"\x89PNG\r\n\x1a\n"


@cache
def folder() -> Path:
    """Where files lie that are read back at once: in memory, if there is such a place."""
    memory = "/dev/shm"
    return Path(tempfile.mkdtemp(prefix="cdkit-fuzz-", dir=memory if os.access(memory, os.W_OK) else None))


@cache
def registry() -> Registry:
    return Registry.installed()


def spec(content: bytes) -> None:
    """The bytes of a spec's file: read, and checked against the plugins that it names."""
    try:
        read_spec(decoded(content, "fuzzed.yaml") + "\n", registry=registry())
    except SpecErrors as error:
        assert error.problems, "a refusal of nothing"
        for problem in error.problems:
            assert problem.place.line >= 1, f"no line: {problem}"
            assert problem.place.column >= 1, f"no column: {problem}"
            assert problem.message, "a problem without words"
            assert inert(str(problem)) == str(problem), f"a terminal would act on {str(problem)!r}"


def manifest(content: bytes) -> None:
    """What a folder of pictures says of them, in its three forms; and what a checkpoint says of its files."""
    kind, content = content[:1], content[1:]
    ending = {b"c": "csv", b"p": "parquet", b"m": "checkpoint"}.get(kind, "jsonl")
    if ending == "checkpoint":
        written(folder() / MANIFEST, content)
        refusing(CheckpointError, lambda: verified(folder()))
        return
    root = folder() / ending
    root.mkdir(exist_ok=True)
    written(root / f"metadata.{ending}", content)
    refusing(DataError, lambda: read_entries(root, "text", ("label",)))


def checkpoint(content: bytes) -> None:
    """Weights, whose manifest is right, into a network; and the state beside them. `h`: a header whose length is right."""
    kind, content = content[:1], content[1:]
    if kind == b"h":
        content = len(content).to_bytes(8, "little") + content + bytes(24)
    name = STATE if kind == b"s" else "backbone.safetensors"
    written(folder() / name, content)
    found = Checkpoint(folder(), {"step": 1, "files": {name: {}}})
    if kind == b"s":
        refusing(CheckpointError, lambda: Ledger.from_json(found.state()["ledger"]))
        return
    network = nn.Linear(2, 2)
    refusing(CdkitError, lambda: load_exactly(network, found.tensors("backbone"), name))
    assert all(bool(value.isfinite().all()) for value in network.state_dict().values()), "weights that are no numbers were taken"


def prompt(content: bytes) -> None:
    """A prompt, whatever letters it is of; a file of prompts; its weights; a file's name out of it."""
    written(folder() / "prompts.txt", content)
    refusing(PromptError, lambda: read_prompts(folder() / "prompts.txt"))
    text = content.decode("utf-8", "surrogateescape")
    assert inert(shown(text)) == shown(text)
    try:
        (said,) = read([text])
    except PromptError as error:
        assert inert(str(error)) == str(error)
        return
    assert read([said]) == [said], "what was read is read as something else"
    refusing(PromptError, lambda: fragments(said))
    name = slug(said)
    assert name
    assert len(name.encode()) <= 60
    assert name == Path(name).name
    assert name.isprintable(), repr(name)
    assert not name.startswith((".", "-"))


def image(content: bytes) -> None:
    """A picture, by each of the three readers of files; of a PNG also with its checksums right, behind which most of it lies."""
    pictured(content)
    if (whole := checked(content)) != content:
        pictured(whole)


def checked(content: bytes) -> bytes:
    """A PNG with the right checksum behind each chunk."""
    if not content.startswith(SIGNATURE):
        return content
    made, place = bytearray(SIGNATURE), len(SIGNATURE)
    while place + 12 <= len(content):
        end = place + 8 + int.from_bytes(content[place : place + 4], "big")
        chunk = content[place + 4 : end]
        made += content[place : place + 4] + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        place = end + 4
    return bytes(made) + content[place:]


def pictured(content: bytes) -> None:
    path = written(folder() / "picture.png", content)

    def of_folder() -> None:
        picture = decode(content, "picture.png", background=(255, 255, 255), notes=Notes())
        assert picture.mode == "RGB"
        assert picture.width * picture.height <= 1 << 24

    def handed_in() -> None:
        pixels = numbers(opened(path).convert("RGB"))
        assert pixels.shape[0] == 3
        assert bool((pixels.abs() <= 1).all())

    refusing(DataError, of_folder)
    refusing(DataError, handed_in)
    refusing(PromptError, lambda: read_photographs([path]))


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def refusing(expected: type[CdkitError], work: Callable[[], object]) -> None:
    """Work that may be refused with this error, and no other."""
    try:
        work()
    except expected as error:
        assert str(error).strip(), "a refusal without words"


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "spec": spec,
    "manifest": manifest,
    "checkpoint": checkpoint,
    "prompt": prompt,
    "image": image,
}
torch.set_num_threads(1)
