"""sparkline: numbers as a line of blocks, for a terminal or a page of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 50


def sparkline(values: Sequence[float], width: int = WIDTH) -> str:
    """A block a span of values, its height the logarithm of their mean where all of them are positive. "" of no values."""
    count = min(width, len(values))
    spans = [values[len(values) * place // count : len(values) * (place + 1) // count] for place in range(count)]
    means = [fmean(span) for span in spans]
    bent = [math.log(mean) for mean in means] if all(mean > 0 for mean in means) else means
    if not bent:
        return ""
    low, high = min(bent), max(bent)
    return "".join(BLOCKS[round((len(BLOCKS) - 1) * ((value - low) / (high - low) if high > low else 0.5))] for value in bent)
