"""widen: an arm's whole network, as wide as makes it cost what the reference does. Its weights at birth are others then."""

from __future__ import annotations

from dataclasses import replace

from cdkit.compare.resize import LIMIT, Cost
from cdkit.errors import SpecError, UsageError
from cdkit.spec import Spec

OPTION = "width"
WIDER = 4  # times what an arm says; beyond that it is another network


def widened(arm: str, spec: Spec, cost: Cost, target: float, what: str) -> Spec:
    """The arm with its backbone's `width` solved for, as it is where it costs the target. UsageError where 1 % is out of reach.

    what: as for `resized`.
    """
    found = cost(spec)
    if abs(found / target - 1) <= LIMIT:
        return spec
    if not isinstance(width := spec.backbone.options.get(OPTION), int):
        raise UsageError(
            f"arm {arm!r}: the backbone {spec.backbone.use} has no option `{OPTION}` to be solved for",
            hint="match `by: inner`, or take a backbone that has one, such as unet",
        )
    tried = {width: found}
    step = 1 if found < target else -1
    while (tried[width] - target) * step < 0 and (wider := next_width(spec, cost, width, step, tried)) > 0:
        width = wider
    best = min(tried, key=lambda width: abs(tried[width] - target))
    if abs(tried[best] / target - 1) > LIMIT:
        raise UsageError(
            f"arm {arm!r}: {what}: {tried[best]:,.0f} at the nearest, with a backbone of `{OPTION}: {best}`, the reference's "
            f"{target:,.0f}: {tried[best] / target - 1:+.1%}, more than 1 %",
            hint="a small network grows by leaps: take a wider one for all arms, or match `by: inner`",
        )
    return with_width(spec, best)


def next_width(spec: Spec, cost: Cost, width: int, step: int, tried: dict[int, float]) -> int:
    """The next width of which the network can be made, its cost in `tried`; 0 where there is none."""
    most = WIDER * spec.backbone.options[OPTION]
    while 0 < (width := width + step) <= most:
        try:
            tried[width] = cost(with_width(spec, width))
        except SpecError:  # heads, or groups, do not divide it
            continue
        return width
    return 0


def with_width(spec: Spec, width: int) -> Spec:
    return replace(spec, backbone=replace(spec.backbone, options={**spec.backbone.options, OPTION: width}))
