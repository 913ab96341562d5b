"""The parts that decide how to draw: the spec's sampler, guider and approximations, or what was asked for instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from cdkit.build.assemble import blamed, make_approximations
from cdkit.errors import UsageError
from cdkit.parts import Approximation, Guider, Sampler

if TYPE_CHECKING:
    from torch import nn

    from cdkit.spec import Spec
    from cdkit.spec.sections import Ends, Spacing


class Way(NamedTuple):
    """A sampler, and the grid that it is to follow."""

    sampler: Sampler
    steps: int
    spacing: Spacing
    ends: Ends


def make_sampler(spec: Spec, use: str | None = None, steps: int | None = None) -> Way:
    """The sampler and its grid. `use` names another registered sampler, with its defaults, on the spec's grid."""
    if spec.sampler is None and use is None:
        raise UsageError(f"{spec.name} has no `sampler:`", hint="add one to the spec, or name one with --sampler")
    length = steps or (spec.sampler.steps if spec.sampler else 50)
    grid: tuple[Spacing, Ends] = (spec.sampler.spacing, spec.sampler.ends) if spec.sampler else ("trailing", "clean")
    if spec.sampler is None or (use is not None and use != spec.sampler.part.use):
        return Way(spec.registry.get("sampler", str(use))(), length, *grid)
    with blamed(spec.sampler.part.place, "sampler"):
        return Way(spec.sampler.part.factory()(**spec.sampler.part.keywords), length, *grid)


def make_guider(spec: Spec, scale: float | None = None) -> Guider | None:
    """The spec's guider, with another scale where one is given; None where the spec has none."""
    if spec.guidance is None:
        if scale is not None and scale != 1:
            raise UsageError(
                f"{spec.name} has no `guidance:`, so nothing takes the scale {scale}", hint="add `guidance: {use: cfg}`"
            )
        return None
    options = spec.guidance.keywords | ({} if scale is None else {"scale": scale})
    with blamed(spec.guidance.place, "guidance"):
        return spec.guidance.factory()(**options)


def asked_approximations(spec: Spec, network: nn.Module, asked: Sequence[str] | None = None) -> tuple[Approximation, ...]:
    """The spec's approximations, or those asked for: a name, or what a spec would say (`{use: deep_cache, every: 5}`)."""
    from cdkit.spec.asked import asked_parts

    parts = spec.approximations if asked is None else asked_parts("approximation", asked, "--approximate", spec.registry)
    return make_approximations(spec, parts, network)


def chosen(written: Sequence[str]) -> tuple[str, ...] | None:
    """What the command line's --approximate asks for: None is as the spec has it, and `none` is nothing."""
    return tuple(text for text in written if text != "none") if written else None
