"""Counter-based randomness: every number is a function of (seed, sample id, step, purpose), never of what was drawn before."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

MASK = 0xFFFFFFFF
ROUNDS = 10


def derive(seed: int, *parts: int | str) -> int:
    """A 63-bit seed for one purpose."""
    text = "\x1f".join([str(seed), *(f"{type(part).__name__}:{part}" for part in parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *parts: int | str) -> torch.Generator:
    """A CPU generator for one purpose."""
    return torch.Generator().manual_seed(derive(seed, *parts))


def keys(seed: int, ids: Sequence[str], step: int, purpose: str) -> Tensor:
    """(B,) int64 keys, one a sample."""
    return torch.tensor([derive(seed, sample, step, purpose) for sample in ids], dtype=torch.int64)


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Philox-4x32-10 (Salmon et al. 2011) on int64 tensors that hold 32-bit words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        hi0, hi1 = (p0 >> 32) & MASK, (p1 >> 32) & MASK
        c0, c1, c2, c3 = hi1 ^ c1 ^ k0, p1 & MASK, hi0 ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def _words(keys: Tensor, count: int) -> Tensor:
    """(B, count) 32-bit words."""
    blocks = -(-count // 4)
    key = keys.unsqueeze(1)
    index = torch.arange(blocks, device=keys.device, dtype=torch.int64).unsqueeze(0).expand(len(keys), -1)
    zero = torch.zeros_like(index)
    words = philox((index, zero, zero, zero), ((key & MASK).expand_as(index), ((key >> 32) & MASK).expand_as(index)))
    return torch.stack(words, dim=-1).flatten(1)[:, :count]


def uniform(keys: Tensor, shape: Sequence[int] = (), *, device: torch.device | str = "cpu") -> Tensor:
    """(B, *shape) float32 in [0, 1)."""
    count = math.prod(shape)
    return ((_words(keys.to(device), count) >> 8).to(torch.float32) * 2.0**-24).view(len(keys), *shape)


def normal(keys: Tensor, shape: Sequence[int] = (), *, device: torch.device | str = "cpu") -> Tensor:
    """(B, *shape) float32, standard normal, by Box and Muller."""
    count = math.prod(shape)
    pairs = -(-count // 2)
    words = _words(keys.to(device), 2 * pairs).view(len(keys), pairs, 2).to(torch.float64)
    radius = (-2 * ((words[..., 0] + 1) * 2.0**-32).log()).sqrt()
    angle = words[..., 1] * (2 * math.pi * 2.0**-32)
    both = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1).flatten(1)[:, :count]
    return both.to(torch.float32).view(len(keys), *shape)
