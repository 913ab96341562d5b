"""Reused: an answer that was kept stands in for a new one, at the steps that do not have to ask anew."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from torch import Tensor


def reused(own: Callable[..., Any], given: tuple[Any, ...], phase: Hashable, kept: Tensor | None) -> tuple[Any, Tensor | None]:
    """The answer itself. phase: True where the module has to answer, which it always does where nothing was kept."""
    if kept is not None and not phase:
        return kept, None
    answer: Tensor = own(*given)
    return answer, answer


def reused_change(
    own: Callable[..., Any], given: tuple[Any, ...], phase: Hashable, kept: Tensor | None
) -> tuple[Any, Tensor | None]:
    """What was added to the first thing that it is given."""
    h: Tensor = given[0]
    if kept is not None and not phase:
        return h + kept, None
    answer: Tensor = own(*given)
    return answer, answer - h
