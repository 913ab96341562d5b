"""check_dataset: pictures are what they are declared to be, splits share none, and the same set is the same everywhere."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
from torch.utils._pytree import tree_leaves

from cdkit.parts import Dataset, Example
from cdkit.testing.elsewhere import require_copies
from cdkit.testing.verdict import require, require_equal, run

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
LOOKED_AT = 8  # pictures of a split, evenly spaced


@dataclass(frozen=True, slots=True)
class DatasetCase:
    """A data set's factory, its options bound. Its files must be there: `cdkit data fetch NAME`."""

    factory: Callable[[], Dataset]


def some(examples: Sequence[Example]) -> list[Example]:
    """A few of a split, the first and the last among them."""
    places = torch.linspace(0, len(examples) - 1, min(LOOKED_AT, len(examples))).round().long().tolist()
    return [examples[place] for place in places]


def check_pictures(case: DatasetCase) -> None:
    """Pictures are float32 of the declared shape within [-1, 1]; every column has at least one value for each."""
    dataset = case.factory()
    for split in SPLITS:
        for example in some(dataset.split(split)):
            image = example.image
            measured = (image.dtype, tuple(image.shape))
            what = f"picture {example.id} of {split}"
            require("pictures", measured == (torch.float32, tuple(dataset.shape)), what, measured=measured, allowed=dataset.shape)
            reach = float(image.abs().max())
            require("pictures", reach <= 1, f"the largest value of {what}", measured=reach, allowed="at most 1")
            empty = [column for column in dataset.columns if not example.values.get(column)]
            require("pictures", not empty, f"columns without a value for {what}", measured=empty, allowed="none")


def check_splits(case: DatasetCase) -> None:
    """Every split has pictures, every picture an id of its own, and no two splits share one."""
    dataset = case.factory()
    ids = {split: [example.id for example in dataset.split(split)] for split in SPLITS}
    for split, named in ids.items():
        require("splits", bool(named), f"pictures of {split}", measured=0, allowed="at least 1")
        require("splits", len(set(named)) == len(named), f"ids of {split}", measured=len(set(named)), allowed=len(named))
    for one, other in combinations(SPLITS, 2):
        shared = sorted(set(ids[one]) & set(ids[other]))
        require("splits", not shared, f"pictures of {one} that are in {other}", measured=shared[:3], allowed="none")


def check_repeatable(case: DatasetCase) -> None:
    """Made again it is the same set: fingerprint, order, pictures bit for bit. Reading keeps the global random state."""
    before = torch.random.get_rng_state()
    first, second = case.factory(), case.factory()
    prints = first.fingerprint()
    hexadecimal = bool(prints) and set(prints) <= set(string.hexdigits)
    require("repeatable", hexadecimal, "the fingerprint", measured=prints, allowed="a hex digest")
    require("repeatable", second.fingerprint() == prints, "made again", measured=second.fingerprint(), allowed=prints)
    for split in SPLITS:
        for one, other in zip(some(first.split(split)), some(second.split(split)), strict=True):
            require("repeatable", one.id == other.id, f"the order of {split}", measured=other.id, allowed=one.id)
            require_equal("repeatable", other.image, one.image, f"picture {one.id}, read again")
            for value, expected in zip(tree_leaves(dict(other.values)), tree_leaves(dict(one.values)), strict=True):
                same = torch.equal(value, expected) if isinstance(expected, torch.Tensor) else value == expected
                require("repeatable", same, f"a value of {one.id}, read again", measured=value, allowed=expected)
    kept = torch.equal(before, torch.random.get_rng_state())
    require("repeatable", kept, "torch's random state after reading", measured="moved", allowed="kept")


def check_augment(case: DatasetCase) -> None:
    """A variation keeps the id and the shape, comes from the generator alone, and leaves the example as it was."""
    dataset = case.factory()
    for example in some(dataset.split("train")):
        image = example.image.clone()
        one, other = (dataset.augment(example, torch.Generator().manual_seed(5)) for _ in range(2))
        require("augment", one.id == example.id, "the variation's id", measured=one.id, allowed=example.id)
        require("augment", one.image.shape == image.shape, "its shape", measured=tuple(one.image.shape), allowed=image.shape)
        require_equal("augment", other.image, one.image, f"a variation of {example.id}, from the same generator")
        require_equal("augment", example.image, image, f"picture {example.id} after it was varied")


def check_labels(case: DatasetCase) -> None:
    """Where there are classes, every label is one of them, and every prompt is said of one."""
    dataset = case.factory()
    if not dataset.classes:
        return
    labels = {value for split in SPLITS for example in some(dataset.split(split)) for value in example.values.get("label", ())}
    strange = sorted(map(str, labels - set(dataset.classes)))
    require("labels", not strange, "labels that are no class", measured=strange, allowed=dataset.classes)
    told = sorted(set(dataset.prompts("en")) - set(dataset.classes))
    require("labels", not told, "prompts for what is no class", measured=told, allowed=dataset.classes)


def check_licence(case: DatasetCase) -> None:
    """It says under which licence its pictures are."""
    licence = case.factory().licence
    require("licence", bool(licence), "the pictures' licence", measured=licence, allowed="SPDX, or words")


def check_copies(case: DatasetCase) -> None:
    """A pickled copy, as data loader workers are sent it, has the same pictures, bit for bit."""
    require_copies(case.factory(), lambda dataset: [example.image for example in some(dataset.split("validation"))])


DATASET_CHECKS: Mapping[str, Callable[[DatasetCase], None]] = {
    "pictures": check_pictures,
    "splits": check_splits,
    "repeatable": check_repeatable,
    "augment": check_augment,
    "labels": check_labels,
    "licence": check_licence,
    "copies": check_copies,
}


def check_dataset(factory: Callable[[], Dataset], *, exceptions: Mapping[str, str] | None = None) -> None:
    """Run every check on a data set: `factory()`, its options bound with functools.partial."""
    run(DATASET_CHECKS, DatasetCase(factory), exceptions or {})
