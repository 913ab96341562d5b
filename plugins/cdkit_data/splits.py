"""Which split a picture belongs to: decided by its content alone, so that it never moves and is never in two."""

from __future__ import annotations

import hashlib
from typing import Literal, TypeAlias

Split: TypeAlias = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
TEST, VALIDATION = 10, 20  # of a hundred: below TEST is test, from there below VALIDATION is validation, the rest train


def content_id(content: bytes, *parts: int | str) -> str:
    """16 hex digits from what a picture is made of; parts (its shape, say) keep equal bytes of unlike pictures apart."""
    prefix = "/".join(str(part) for part in parts).encode()
    return hashlib.blake2b(prefix + b"\0" + content, digest_size=8).hexdigest()


def split_of(id: str) -> Split:
    """The split of a picture with this id (16 hex digits): 80 % train, 10 % validation, 10 % test, near enough."""
    place = int(hashlib.blake2b(f"split/{id}".encode(), digest_size=8).hexdigest(), 16) % 100
    if place < TEST:
        return "test"
    return "validation" if place < VALIDATION else "train"
