"""How many heads a method's attention has at a width. A number that does not divide it is an error, not another network."""

from __future__ import annotations

from dataclasses import dataclass

from cdkit_injectors.inner import whole

USUAL = 64  # channels a head where nothing is said


@dataclass(frozen=True, slots=True)
class Heads:
    """Either `count` heads at every width (Stable Diffusion 1: 8), or heads of `width` channels (2 and XL: 64).

    With neither: as many heads of at least 64 channels as divide the width. Raises ValueError where both are given.
    """

    method: str
    count: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        if self.count is not None and self.width is not None:
            raise ValueError(
                f"{self.method}: heads is {self.count} and head_dim is {self.width}; expected one of the two, "
                f"as each decides the other"
            )

    def of(self, channels: int, site: str) -> int:
        """Heads at a site of `channels`; ValueError, naming the site and both numbers, where they do not divide it."""
        if self.count is not None:
            self._check("heads", self.count, channels, site)
            return self.count
        if self.width is not None:
            self._check("head_dim", self.width, channels, site)
            return channels // self.width
        return next(n for n in range(max(1, channels // USUAL), 0, -1) if channels % n == 0)

    def inside(self, inner: float | None, channels: int, site: str) -> tuple[int, int]:
        """The inner width of attention at a site, and its heads: `channels` of them where no inner width is given.

        It is a multiple of the heads' number, or of their width where that is what is said, so that it divides.
        """
        heads = self.of(channels, site)
        if inner is None:
            return channels, heads
        width = whole(inner, site, self.width or heads)
        return width, width // self.width if self.width else heads

    def _check(self, option: str, number: int, channels: int, site: str) -> None:
        if channels % number:
            divisors = [n for n in range(1, channels + 1) if channels % n == 0]
            below, above = max(n for n in divisors if n < number), min((n for n in divisors if n > number), default=channels)
            raise ValueError(
                f"{self.method} at {site}: {option} is {number}, which does not divide the {channels} channels there; "
                f"the nearest that do are {below} and {above}"
            )
