"""resize: an arm's methods, as wide inside as makes them cost what the reference's do. The network beside them stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from cdkit.build import assemble
from cdkit.build.report import parameters
from cdkit.errors import UsageError
from cdkit.spec import Spec
from cdkit.spec.model import InjectorSpec

OPTION = "inner"  # of an injector that can be resized: a number, in thousandths, which a fraction of its sites may round up
DIGITS = 3
WIDEST = 2**20
LIMIT = 0.01
HINTS = {  # by whether there is a narrower one
    True: "give its attention fewer `heads`, of which the width is a multiple, or the reference another width",
    False: "narrower it cannot be: confine it to fewer `sites`, give the reference a wider `inner`, or match another axis",
}
Cost = Callable[[Spec], float]


def method_weights(spec: Spec) -> float:
    """How many weights an arm's injectors have, counted on the meta device."""
    return float(sum(parameters(assemble(spec, device="meta"))["taps"].values()))


def resized(arm: str, spec: Spec, cost: Cost, target: float, what: str) -> Spec:
    """The arm with its `inner` solved for, as it is where it costs the target already. UsageError where 1 % is out of reach.

    what: a sentence's subject, what is to be alike: "the weights of its methods". An arm with no injector is left as it is.
    """
    found = cost(spec)
    if not spec.injectors or abs(found / target - 1) <= LIMIT:
        return spec
    if not any(can_resize(injector) for injector in spec.injectors):
        raise UsageError(
            f"arm {arm!r}: {what}: {found:,.0f}, the reference's {target:,.0f}, and none of its injectors "
            f"({', '.join(injector.part.use for injector in spec.injectors)}) has an option `{OPTION}` to make up for it",
            hint=f"take a method with `{OPTION}` for it or for the reference, match another axis, or say `by: backbone`",
        )
    inner = nearest(lambda inner: cost(with_inner(spec, inner)), target)
    fitted = with_inner(spec, inner)
    found = cost(fitted)
    if abs(found / target - 1) > LIMIT:
        raise UsageError(
            f"arm {arm!r}: {what}: {found:,.0f} at the nearest, with `{OPTION}: {inner:g}`, the reference's {target:,.0f}: "
            f"{found / target - 1:+.1%}, more than 1 %",
            hint=HINTS[inner > 1],
        )
    return fitted


def can_resize(injector: InjectorSpec) -> bool:
    return OPTION in injector.part.options


def with_inner(spec: Spec, inner: float) -> Spec:
    """Every injector that can be resized at this width; several in the proportion that they say, the widest at `inner`.

    One that says no width of its own is as wide as the widest.
    """
    said = [float(injector.part.options.get(OPTION) or 0) for injector in spec.injectors]
    shares = [width / max(said) if width else 1.0 for width in said]
    made = [
        at_width(injector, max(1.0, inner * share)) if can_resize(injector) else injector
        for injector, share in zip(spec.injectors, shares, strict=True)
    ]
    return replace(spec, injectors=made)


def at_width(injector: InjectorSpec, inner: float) -> InjectorSpec:
    options = {**injector.part.options, OPTION: round(inner, DIGITS)}
    return replace(injector, part=replace(injector.part, options=options))


def nearest(cost: Callable[[float], float], target: float) -> float:
    """The width at which a cost that grows with it comes nearest to the target, in as few digits as say so."""
    grain = 10**DIGITS

    @cache
    def costs(thousandths: int) -> float:
        return cost(thousandths / grain)

    low, high = grain, 2 * grain  # the answer is between them
    while costs(high) < target and high < WIDEST * grain:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if costs(middle) < target else (low, middle)
    best = min(low, high, key=lambda width: abs(costs(width) - target))
    units = [10**digits for digits in range(DIGITS, -1, -1)]
    rounded = (ends * unit for unit in units for ends in (best // unit, -(-best // unit)) if ends)
    return next(short for short in rounded if costs(short) == costs(best)) / grain
