"""How many attention heads a width gets. A number that does not divide it is an error, not another network."""

from __future__ import annotations

from dataclasses import dataclass

USUAL = 64  # channels a head where nothing is said: what attention kernels are fastest at


@dataclass(frozen=True, slots=True)
class Heads:
    """Either `count` heads at every width (Stable Diffusion 1: 8), or heads of `width` channels (2 and XL: 64).

    With neither: as many heads of at least 64 channels as divide the width. Raises ValueError where both are given.
    """

    count: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        if self.count is not None and self.width is not None:
            raise ValueError(
                f"heads is {self.count} and head_dim is {self.width}; expected one of the two, as each decides the other"
            )

    def of(self, channels: int, where: str) -> int:
        """Heads at a width of `channels`; `where` names the place for the ValueError if they do not divide it."""
        if self.count is not None:
            _divides(self.count, channels, f"{where}: heads is {self.count}")
            return self.count
        if self.width is not None:
            _divides(self.width, channels, f"{where}: head_dim is {self.width}")
            return channels // self.width
        return next(n for n in range(max(1, channels // USUAL), 0, -1) if channels % n == 0)


def _divides(number: int, channels: int, what: str) -> None:
    if channels % number:
        divisors = [n for n in range(1, channels + 1) if channels % n == 0]
        below = max(n for n in divisors if n < number) if number > 1 else 1
        above = min((n for n in divisors if n > number), default=channels)
        raise ValueError(
            f"{what}, which does not divide the {channels} channels there; the nearest that do are {below} and {above}"
        )
