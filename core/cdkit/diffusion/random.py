"""Counter-based randomness: every number is a function of (seed, sample id, step, purpose), never of what was drawn before.

So the size and order of batches, workers, ranks and resuming cannot change what a sample sees. The generator is
Philox-4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from cdkit.diffusion.precision import widest

Words = tuple[Tensor, Tensor, Tensor, Tensor]  # four 32-bit words, each in an int64 tensor

WORD = 0xFFFFFFFF
ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)  # golden ratio and sqrt(3) - 1: what the key grows by from round to round


def derive(seed: int, *parts: int | str) -> int:
    """A 63-bit seed for one purpose. Unequal arguments give unequal texts to hash: 1 is not "1", ("ab",) not ("a", "b")."""
    text = json.dumps((seed, *parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *parts: int | str) -> torch.Generator:
    """A CPU generator for one purpose."""
    return torch.Generator(device="cpu").manual_seed(derive(seed, *parts))


def keys(seed: int, ids: Sequence[str], step: int, purpose: str) -> Tensor:
    """(B,) int64 keys, one a sample, on the CPU."""
    return torch.tensor([derive(seed, sample, step, purpose) for sample in ids], dtype=torch.int64, device="cpu")


def philox(counter: Words, key: tuple[Tensor, Tensor]) -> Words:
    """Philox-4x32-10 on int64 tensors of 32-bit words: counter of four, key of two -> four random words."""
    a, b, c, d = counter
    low, high = key
    for _ in range(ROUNDS):
        # A product of two 32-bit words wraps around in int64, but its 64 bits are the right ones.
        first, second = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b, c, d = (second >> 32 & WORD) ^ b ^ low, second & WORD, (first >> 32 & WORD) ^ d ^ high, first & WORD
        low, high = low + WEYL[0] & WORD, high + WEYL[1] & WORD
    return a, b, c, d


def uniform(keys: Tensor, shape: Sequence[int] = (), *, device: torch.device | str = "cpu") -> Tensor:
    """(B, *shape) float32 in [0, 1), one key a sample: 24 random bits each."""
    words = _words(keys.to(device, non_blocking=True), math.prod(shape))
    return ((words >> 8).to(torch.float32) * 2.0**-24).reshape(len(keys), *shape)


def normal(keys: Tensor, shape: Sequence[int] = (), *, device: torch.device | str = "cpu") -> Tensor:
    """(B, *shape) float32, standard normal, one key a sample: Box and Muller (1958)."""
    count = math.prod(shape)
    words = _words(keys.to(device, non_blocking=True), count + count % 2)
    first, second = rearrange(words.to(widest(words.device)), "b (n pair) -> pair b n", pair=2)
    radius = ((first + 1) * 2.0**-32).log().mul(-2).sqrt()
    angle = second * (2 * math.pi * 2.0**-32)
    both = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1).to(torch.float32)
    return rearrange(both, "b n pair -> b (n pair)")[:, :count].reshape(len(keys), *shape)


def _words(keys: Tensor, count: int) -> Tensor:
    """(B, count) random 32-bit words: the counter runs along a sample, the key is the sample's."""
    index = torch.arange(-(-count // 4), device=keys.device, dtype=torch.int64)
    key = rearrange(keys, "b -> b 1")
    zero = torch.zeros_like(index)
    words = philox((index, zero, zero, zero), (key & WORD, key >> 32 & WORD))
    return rearrange(torch.stack(words, dim=-1), "b n word -> b (n word)")[:, :count]
