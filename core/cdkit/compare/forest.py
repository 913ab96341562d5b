"""forest: every arm's difference from the reference with its interval, as one SVG: which lie beyond zero is seen at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from cdkit.compare.curves import ticks
from cdkit.compare.words import interval

WIDTH, MARGIN, ROW = 560, 16, 44
TONES = {"better": "good", "worse": "bad", "cannot tell": "unsure"}


def forest(verdicts: Mapping[str, Mapping[str, Any]], reference: str) -> str:
    """A row an arm: its name, its interval, and the difference as a dot; an arm without an interval has the dot alone."""
    ends = [end for found in verdicts.values() for end in (found["low"], found["difference"], found["high"]) if end is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    scale = (WIDTH - 2 * MARGIN) / ((high - low) or 1.0)

    def x(value: float) -> float:
        return MARGIN + (value - low) * scale

    bottom = ROW * len(verdicts) + 8
    told = "; ".join(f"{arm} {interval(found)}" for arm, found in verdicts.items())
    drawn = "".join(row(arm, found, ROW * number, x) for number, (arm, found) in enumerate(verdicts.items()))
    marks = "".join(mark(tick, x(tick), bottom + 18) for tick in ticks(low, high) or [0.0])
    label = escape(f"difference from {reference}: {told}", quote=True)
    return (
        f'<svg viewBox="0 0 {WIDTH} {bottom + 26}" role="img" aria-label="{label}">'
        f"<path d='M{x(0):.1f} 4V{bottom}' stroke='currentColor' opacity='.4' stroke-dasharray='4 3'/>{drawn}{marks}</svg>"
    )


def mark(value: float, x: float, y: float) -> str:
    return f"<text x='{x:.0f}' y='{y}' text-anchor='middle'>{f'{value:+g}' if value else '0'}</text>"


def row(arm: str, found: Mapping[str, Any], top: float, x: Any) -> str:
    """One arm, in the colour of its outcome."""
    at, y = x(found["difference"]), top + 32
    left = min(max(at, 60), WIDTH - 60)
    line = "" if found["low"] is None else f"<path d='M{x(found['low']):.1f} {y}H{x(found['high']):.1f}' stroke-width='3'/>"
    return (
        f"<g class='{TONES[found['outcome']]}' stroke='currentColor' fill='currentColor'>"
        f"{line}<circle cx='{at:.1f}' cy='{y}' r='5'/>"
        f"<text x='{left:.0f}' y='{top + 20}' text-anchor='middle' stroke='none'>{escape(arm)}</text></g>"
    )
