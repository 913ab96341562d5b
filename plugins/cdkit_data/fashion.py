"""fashion: Fashion-MNIST, 70,000 pictures of clothes, 28x28."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from cdkit.hooks import hookimpl
from cdkit.parts import DataError, EnvironmentFault, Example
from torch import Tensor

from cdkit_data.cache import cache_folder, intact, read_tensors, say, sha256, write_tensors
from cdkit_data.captions import thing
from cdkit_data.classes import ClassPictures, Labelled, flipped, grey
from cdkit_data.wheel import gunzip

PACKAGED = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts them
FILES = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}
FILE = "fashion.safetensors"
DIGEST = "21e2c0f2a576802b384eb70ea98f89f1e1448170bbb9c1be0a4a021cada2c363"

WORDS = {
    "t-shirt": thing("t-shirt", "a t-shirt", measure="件", zh=("T恤",)),
    "trousers": thing("trousers", "a pair of trousers", measure="条", zh=("裤子",)),
    "pullover": thing("pullover", "a pullover", measure="件", zh=("套头衫",)),
    "dress": thing("dress", "a dress", measure="条", zh=("连衣裙",)),
    "coat": thing("coat", "a coat", measure="件", zh=("外套",)),
    "sandal": thing("sandal", "a sandal", measure="只", zh=("凉鞋",)),
    "shirt": thing("shirt", "a shirt", measure="件", zh=("衬衫",)),
    "sneaker": thing("sneaker", "a sneaker", measure="只", zh=("运动鞋",)),
    "bag": thing("bag", "a bag", measure="个", zh=("包",)),
    "ankle boot": thing("ankle boot", "an ankle boot", measure="只", zh=("短靴",)),
}


class Fashion(ClassPictures):
    """Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, MIT): clothes, light (1) on black (-1), 60,000 and 10,000 pictures.

    All are distinct. The official 10,000 are the test split; a hash of their content divides the others: 53,995 train,
    6,005 validation.

    flip: mirror every other picture while training (shoes then point both ways).
    """

    licence = "MIT"
    words = WORDS
    classes = tuple(WORDS)

    def __init__(self, *, flip: bool = False) -> None:
        self.flip = flip
        self.shape = grey(28)

    def read(self) -> Labelled:
        folder = cache_folder() / "fashion"
        tensors = read_tensors(folder / FILE, DIGEST, "fashion", by_hand(folder))
        labels: list[int] = tensors["labels"].tolist()
        return Labelled(tensors["images"].unsqueeze(1), labels, test=[row >= 60_000 for row in range(len(labels))])

    def augment(self, example: Example, generator: torch.Generator) -> Example:
        return flipped(example, generator) if self.flip else example

    @classmethod
    def fetch(cls, cache: Path) -> None:
        folder = cache / "fashion"
        if intact(folder / FILE, DIGEST):
            say(f"fashion: already in {folder / FILE}")
            return
        parts = {name: read_idx(find(name, folder)) for name in FILES}
        train_images, train_labels, test_images, test_labels = (parts[name] for name in FILES)
        write_tensors(
            folder / FILE, {"images": torch.cat([train_images, test_images]), "labels": torch.cat([train_labels, test_labels])}
        )
        say(f"fashion: 70,000 pictures in {folder / FILE}")


def by_hand(folder: Path) -> str:
    """How to get the four files."""
    return f"apt-get install dataset-fashion-mnist; or by hand: put {', '.join(FILES)} (Fashion-MNIST's own files) into {folder}"


def find(name: str, folder: Path) -> Path:
    """One of the four files, put into the folder by hand or left by Debian's package; its sha256 is checked."""
    for path in (folder / name, PACKAGED / name):
        if not path.is_file():
            continue
        if sha256(path) != FILES[name]:
            raise EnvironmentFault(f"{path}: sha256 is not the published one ({FILES[name][:12]}…)", hint="replace the file")
        say(f"reading {path}")
        return path
    raise EnvironmentFault(f"{name} is neither in {folder} nor in {PACKAGED}", hint=by_hand(folder))


def read_idx(path: Path) -> Tensor:
    """uint8 of any shape from a gzipped IDX file: two zeros, 8 for bytes, the number of sizes, the sizes, the bytes."""
    content = gunzip(path.read_bytes(), str(path))
    rank = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    sizes = [int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(rank)]
    start = 4 + 4 * rank
    if not rank or len(content) - start != math.prod(sizes):
        raise DataError(f"{path}: not an IDX file of bytes, or cut short")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).copy()).reshape(sizes)


@hookimpl
def cdkit_dataset() -> type[Fashion]:
    return Fashion
