"""size: numbers as sinusoids. SDXL is told its picture's size, crop and target this way (Podell et al. 2023, section 2.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Encoder, Positive, PromptError, Stream, Widths
from einops import rearrange
from torch import Tensor, nn


class Size(Encoder):
    """`count` numbers -> pooled (B, count * dim): of each, dim / 2 cosines, then as many sines, of frequencies 10000^(-2i/dim).

    A raw value is a sequence of `count` finite numbers, one number where count is 1, or such numbers in a string. count: how
    many numbers. dim: channels of each. null: "zeros", or a vector that is "learned". default: what is told where nothing is;
    its sinusoids are then the null. Raises ValueError for a default that is no `count` numbers, or beside a learned null.
    """

    empty: Tensor

    def __init__(
        self,
        *,
        count: Positive = 6,
        dim: Positive = 256,
        null: Literal["zeros", "learned"] = "zeros",
        default: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"dim is {dim}; expected an even number, such as {dim + 1}")
        self.count = count
        self.dim = dim
        self.widths = Widths(pooled=count * dim)
        silence = torch.zeros(count * dim) if default is None else self._told(default, null)
        if null == "learned":
            self.empty = nn.Parameter(silence)
        else:
            self.register_buffer("empty", silence, persistent=False)

    def _told(self, default: tuple[float, ...], null: str) -> Tensor:
        """The null (count * dim,) that a default is."""
        if null == "learned":
            raise ValueError("a default and a learned null exclude each other; leave one of them out")
        if len(default) != self.count:
            raise ValueError(f"default has {len(default)} numbers, {list(default)}; expected {self.count}, the `count`")
        return sinusoids(torch.tensor(default, dtype=torch.float32, device="cpu"), self.dim).flatten()

    def forward(self, raw: Sequence[Any]) -> Stream:
        """B raw values -> a stream. PromptError for what is not `count` finite numbers."""
        numbers = torch.tensor([self._read(value, row) for row, value in enumerate(raw)], dtype=torch.float32)
        waves = sinusoids(numbers.to(self.empty.device, non_blocking=True), self.dim)
        return Stream(pooled=rearrange(waves, "b n d -> b (n d)").to(self.empty.dtype))

    def null(self, n: int) -> Stream:
        return Stream(pooled=self.empty.expand(n, -1))

    def examples(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return (512.0,) * self.count, (64.0,) * self.count

    def _read(self, value: Any, row: int) -> list[float]:
        try:
            numbers = numbers_in(value)
        except (TypeError, ValueError, OverflowError):
            raise PromptError(f"size {row}: expected {self._expected()}, got {str(value)[:40]!r}") from None
        if len(numbers) != self.count or not all(map(math.isfinite, numbers)):
            raise PromptError(f"size {row}: expected {self._expected()}, got {len(numbers)}: {str(value)[:40]}")
        return numbers

    def _expected(self) -> str:
        return "a finite number" if self.count == 1 else f"{self.count} finite numbers"


def numbers_in(value: Any) -> list[float]:
    """The numbers of a raw value. TypeError or ValueError if there are none to be found."""
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    values = list(value) if isinstance(value, Sequence) or getattr(value, "ndim", 0) else [value]
    return [float(number) for number in values]


def sinusoids(numbers: Tensor, dim: int) -> Tensor:
    """(..., ) -> (..., dim), cosines first, in the dtype of the numbers.

    In float32, and in this order of operations, they are the published models' own, to the last bit.
    """
    half = dim // 2
    exponents = -math.log(10000.0) * torch.arange(half, dtype=numbers.dtype, device=numbers.device) / half
    angle = numbers.unsqueeze(-1) * exponents.exp()
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


@hookimpl
def cdkit_encoder() -> type[Size]:
    return Size
