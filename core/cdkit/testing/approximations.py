"""check_approximation: a frozen dataclass of its options, with phases to be counted on, that is never ignored in silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from cdkit.parts import Approximation, SampleShape
from cdkit.testing.frozen import FrozenCase, check_copies, check_options
from cdkit.testing.verdict import require, run

LENGTHS = (1, 2, 25)  # steps of a sampling


def check_phases(case: FrozenCase) -> None:
    """Phases can be compared and kept as keys, and depend on the step and the number of steps alone."""
    for steps in LENGTHS:
        first, second = (_made(case), _made(case))
        for index in range(steps):
            phase, again = first.phase(index, steps), second.phase(index, steps)
            hash(phase)
            same = phase == again and phase == first.phase(index, steps)
            require("phases", same, f"step {index} of {steps}, asked again", measured=again, allowed=phase)


def check_places(case: FrozenCase) -> None:
    """A network in which it finds no place is refused with a ValueError that says so; it would be ignored in silence."""
    try:
        found = _made(case).detours(nn.Sequential(nn.Conv2d(1, 1, 1)), SampleShape(1, 8, 8))
    except ValueError as error:
        require("places", bool(str(error)), "what the ValueError says", measured="nothing", allowed="which place it needs")
        return
    require("places", False, "one convolution", measured=f"{len(found)} detours", allowed="a ValueError")


def _made(case: FrozenCase) -> Approximation:
    made = case.factory()
    assert isinstance(made, Approximation)
    return made


APPROXIMATION_CHECKS: Mapping[str, Callable[[FrozenCase], None]] = {
    "options": check_options,
    "copies": check_copies,
    "phases": check_phases,
    "places": check_places,
}


def check_approximation(factory: Callable[[], Approximation], *, exceptions: Mapping[str, str] | None = None) -> None:
    """Run every check on an approximation: `factory()`, its options bound with functools.partial. What it costs is to measure."""
    run(APPROXIMATION_CHECKS, FrozenCase(factory), exceptions or {})
