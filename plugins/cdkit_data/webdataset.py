"""webdataset: pictures and what is said of them in many tar files, as the webdataset library names their members.

That library streams: shuffling is a buffer of what came by, and no position in it can be kept. Here the members' places are
looked up once, so that any sample can be read alone: training's order is a function of (seed, step), and goes on wherever
it stopped, whatever the workers and processes. docs/scaling.md says what that costs.
"""

from __future__ import annotations

import hashlib
import json
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Annotated, Any, Literal, cast

import torch
from annotated_types import Interval
from cdkit.hooks import Trial, hookimpl
from cdkit.parts import DataError, Dataset, Example, NonNegative, SampleShape

from cdkit_data.buckets import shapes
from cdkit_data.captions import unique
from cdkit_data.fitting import Crop, fitted
from cdkit_data.pictures import Notes, decode
from cdkit_data.read_alone import ReadAlone
from cdkit_data.shard_index import PICTURES, Index, bucket_index, index_of, print_of, shards_of
from cdkit_data.splits import SPLITS, Split
from cdkit_data.tar import files_in

OPEN = 32  # files at a time
WHITE = (255, 255, 255)


class Shards(Dataset):
    """Tar files whose members are called KEY.png (jpg, jpeg, webp), KEY.txt (a caption a line), KEY.cls, KEY.json (an object).

    Any sample is read alone, when it is asked for: memory does not grow with the data, and training goes on anywhere. Pictures
    are read as `folder` reads them. Columns: `text` is the caption, or the JSON's field `column`; `label` is KEY.cls; further
    text fields of the JSON are handed on if `also` names them.

    train: the files of training, `shards/train-{000000..000099}.tar` or `shards/train-*.tar`. validation, test: likewise; empty,
    they are the last file but one and the last of `train`. size: rows and columns of a picture. channels: 1 is grey, 3 is
    colour. column: of the JSON, that holds the captions; empty: KEY.txt does. also: further fields that are handed on. crop: how
    a picture becomes a square. upscale: take pictures that are smaller than size, too. most_bad: training pictures, in each
    process, that may prove unreadable: the next one is taken, and the run lists them. aspect: the longer side over the shorter,
    at most; above 1, training pictures keep about their shape, at size x size pixels or a little less, and batches are of one
    shape. step: what both sides are then multiples of.
    """

    def __init__(
        self,
        *,
        train: str,
        validation: str = "",
        test: str = "",
        size: Annotated[int, Interval(ge=1, le=4096)] = 64,
        channels: Literal[1, 3] = 3,
        column: str = "",
        also: tuple[str, ...] = (),
        crop: Crop = "centre",
        upscale: bool = False,
        most_bad: NonNegative = 0,
        aspect: Annotated[float, Interval(ge=1, le=4)] = 1.0,
        step: Annotated[int, Interval(ge=1, le=512)] = 64,
    ) -> None:
        if aspect > 1 and size % step:
            raise ValueError(f"size is {size} and step is {step}; expected a size that is a multiple of step")
        self.shape = SampleShape(channels, size, size)
        self.columns = unique(("text", *also))
        self.column, self.also, self.upscale = column, also, upscale
        self.crop: Crop = crop
        self.most_unreadable = most_bad
        self.shapes = shapes(size, step, aspect) if aspect > 1 else ()
        self.named = {"train": train, "validation": validation, "test": test}

    def split(self, name: Split) -> Samples:
        return Samples(self, index_of(self._paths[name]), varied=name == "train")

    @property
    def files(self) -> Sequence[int]:  # pyright: ignore[reportIncompatibleVariableOverride]  # it is read, and never set
        return index_of(self._paths["train"]).counts

    @property
    def buckets(self) -> Sequence[int]:  # pyright: ignore[reportIncompatibleVariableOverride]  # it is read, and never set
        return self._buckets

    @cached_property
    def _buckets(self) -> Sequence[int]:
        return cast(Sequence[int], bucket_index(self._paths["train"], self.shapes)) if self.shapes else ()

    def fingerprint(self) -> str:
        options = (self.shape, self.column, self.also, self.crop, self.upscale, self.shapes)
        said = hashlib.sha256(repr(options).encode())
        for name in SPLITS:
            said.update(f"{name}:{print_of(self._paths[name])}".encode())
        return said.hexdigest()

    @cached_property
    def _paths(self) -> dict[Split, tuple[Any, ...]]:
        found: dict[Split, tuple[Any, ...]] = {"train": shards_of(self.named["train"])}
        for name in ("test", "validation"):
            if self.named[name]:
                found[name] = shards_of(self.named[name])
                continue
            if len(found["train"]) < 2:
                raise DataError(
                    f"{self.named['train']}: no file can be spared for {name}", hint=f"name others with `{name}:`, or cut it up"
                )
            found[name], found["train"] = found["train"][-1:], found["train"][:-1]
        return found

    def example(self, key: str, files: Mapping[str, bytes], shape: SampleShape) -> Example:
        """One sample's members, by their ending, as an example of this shape. DataError that names it."""
        endings = [ending for ending in PICTURES if ending in files]
        if len(endings) != 1:
            raise DataError(f"{key}: has {len(endings) or 'no'} pictures, among {', '.join(files)}; expected one")
        picture = decode(files[endings[0]], f"{key}.{endings[0]}", background=WHITE, notes=Notes())
        image = fitted(picture, key, shape, crop=self.crop, upscale=self.upscale)
        return Example(key, image.to(torch.float32).mul_(2 / 255).sub_(1), self._said(key, files))

    def _said(self, key: str, files: Mapping[str, bytes]) -> dict[str, tuple[Any, ...]]:
        fields = fields_of(key, files) if self.column or self.also else {}
        text = lines_of(key, files, "txt") if not self.column else texts_of(key, fields, self.column)
        said = {"text": text, **{name: texts_of(key, fields, name) for name in self.also if name != "label"}}
        if "label" in self.also:
            said["label"] = lines_of(key, files, "cls")
        return said


class Samples(ReadAlone):
    """The samples of a split, each read when it is asked for; at most OPEN files are open."""

    def __init__(self, dataset: Shards, index: Index, *, varied: bool) -> None:
        self.dataset, self.samples = dataset, index
        self.buckets = dataset.buckets if varied else ()
        self.ends = list(accumulate(index.counts))
        self._open: OrderedDict[int, int] = OrderedDict()  # file -> descriptor

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, place: int) -> Example:
        file = bisect_right(self.ends, place)
        path = self.samples.paths[file]
        begin, length = (int(number) for number in self.samples.places[place])
        content = os.pread(self._descriptor(file), length, begin)
        key, files = files_in(content, f"{path}, sample {place}")
        return self.dataset.example(f"{path.stem}/{key}", files, self._shape(place))

    def _shape(self, place: int) -> SampleShape:
        whole = self.dataset.shape
        return SampleShape(whole.channels, *self.dataset.shapes[self.buckets[place]]) if len(self.buckets) else whole

    def _descriptor(self, file: int) -> int:
        if file not in self._open:  # what a fork finds open it shares, and pread moves no position
            self._open[file] = os.open(self.samples.paths[file], os.O_RDONLY | os.O_NOFOLLOW)
            while len(self._open) > OPEN:
                os.close(self._open.popitem(last=False)[1])
        self._open.move_to_end(file)
        return self._open[file]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}


def lines_of(key: str, files: Mapping[str, bytes], ending: str) -> tuple[str, ...]:
    """The lines of a text member that are equally true; DataError where it is missing or no UTF-8."""
    if ending not in files:
        raise DataError(f"{key}: has no {ending}, only {', '.join(files)}")
    try:
        return tuple(line.strip() for line in files[ending].decode().splitlines() if line.strip()) or ("",)
    except UnicodeDecodeError as error:
        raise DataError(f"{key}.{ending}: is no UTF-8: {error}") from error


def fields_of(key: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    """The JSON object of a sample."""
    try:
        found = json.loads(files["json"])
    except (KeyError, ValueError, RecursionError) as error:
        raise DataError(f"{key}.json: {'missing' if isinstance(error, KeyError) else f'is no JSON: {error}'}") from error
    if not isinstance(found, dict):
        raise DataError(f"{key}.json: holds {type(found).__name__}; expected an object")
    return found


def texts_of(key: str, fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A field that is a text, or a list of texts."""
    value = fields.get(name)
    told: list[Any] = value if isinstance(value, list) else [value]
    texts = tuple(text for text in told if isinstance(text, str))
    if not texts or len(texts) != len(told):
        raise DataError(f"{key}.json: {name!r} is {value!r}; expected a text, or a list of texts; it has {', '.join(fields)}")
    return texts


@hookimpl
def cdkit_dataset() -> type[Shards]:
    return Shards


@hookimpl
def cdkit_trial() -> Trial:
    return Trial(untried="it reads tar files of yours; its tests make some")
