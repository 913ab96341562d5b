"""Numbers out of names: the same on every machine, in every order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def number(*parts: object) -> int:
    """A number in [0, 2^62) that any change in the parts changes."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 2


def picture_seeds(seed: int, split: str, n: int) -> list[int]:
    """A seed for each of n pictures. Every split draws noise of its own: what is tuned on one is judged on another."""
    first = number("pictures", seed, split) % 2**40
    return list(range(first, first + n))


def shuffled(names: Sequence[str], *key: object) -> list[str]:
    """The same names in an order that depends on the key alone, whatever order they came in."""
    return sorted(names, key=lambda name: (number(*key, name), name))
