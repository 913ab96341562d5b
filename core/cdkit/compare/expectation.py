"""expectation: what a claim says of an arm beside the reference, before anybody looks: a sign and a threshold.

Both make a region of differences, in the score's own units and larger being better. The interval of the verdict inside it:
reproduced; outside it: contradicted; across its border: nobody can tell. So an arm that is `no_better` by more than a margin is
shown to be so by a narrow interval alone, and never by too few seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from annotated_types import Ge

Sign: TypeAlias = Literal["better", "worse", "no_better", "no_worse", "alike"]
Outcome: TypeAlias = Literal["reproduced", "contradicted", "cannot tell"]
FEWEST = 3  # seeds: from here on the verdict's interval was measured to be valid; two may agree by chance to the last digit
MARGINS = ("no_better", "no_worse", "alike")  # signs that say nothing without a margin


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """sign: of the arm beside the reference. threshold: better or worse by more than it; else the margin that is forgiven."""

    sign: Sign
    threshold: Annotated[float, Ge(0)] = 0.0

    @property
    def region(self) -> tuple[float, float]:
        """The differences, between two ends, of which the claim speaks true."""
        margin = self.threshold
        return {
            "better": (margin, math.inf),
            "worse": (-math.inf, -margin),
            "no_better": (-math.inf, margin),
            "no_worse": (-margin, math.inf),
            "alike": (-margin, margin),
        }[self.sign]

    def outcome(self, found: Mapping[str, Any]) -> Outcome:
        """Of a verdict as JSON. Fewer than three seeds tell nothing, whatever their interval; nor does a verdict without one."""
        if found["seeds"] < FEWEST or found["low"] is None:
            return "cannot tell"
        left, right = self.region
        if left < found["low"] and found["high"] < right:
            return "reproduced"
        return "contradicted" if found["high"] <= left or right <= found["low"] else "cannot tell"

    def words(self) -> str:
        """ "better by more than 0.02" """
        return {
            "better": f"better by more than {self.threshold:g}",
            "worse": f"worse by more than {self.threshold:g}",
            "no_better": f"no better by {self.threshold:g} or more",
            "no_worse": f"no worse by {self.threshold:g} or more",
            "alike": f"within {self.threshold:g}",
        }[self.sign]


def together(outcomes: Iterable[Outcome]) -> Outcome:
    """Of a claim about several arms: each has to hold, and one that is contradicted contradicts it."""
    found = set(outcomes)
    if "contradicted" in found:
        return "contradicted"
    return "cannot tell" if "cannot tell" in found else "reproduced"
