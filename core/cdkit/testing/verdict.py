"""What a check says when it fails: its name, what was measured and what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

Case = TypeVar("Case")


def require(check: str, holds: bool, what: str, *, measured: object, allowed: object) -> None:
    """AssertionError with the check's name unless it holds."""
    if not holds:
        raise AssertionError(f"{check}: {what}: measured {measured}, allowed {allowed}")


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference as a share of the largest value expected; infinite where shapes differ or numbers are not finite."""
    if found.shape != expected.shape or not bool(found.isfinite().all()):
        return float("inf")
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-300))


def require_close(check: str, found: Tensor, expected: Tensor, bound: float, what: str) -> None:
    """AssertionError unless two tensors are alike but for `bound`, a share of the largest value."""
    measured = difference(found, expected)
    require(check, measured <= bound, what, measured=f"a relative difference of {measured:.3g}", allowed=f"at most {bound:.3g}")


def require_apart(check: str, found: Tensor, other: Tensor, bound: float, what: str) -> None:
    """AssertionError unless two tensors are finite and differ by more than `bound`, a share of the largest value."""
    measured = difference(found, other)
    apart = bound < measured < float("inf")
    require(check, apart, what, measured=f"a relative difference of {measured:.3g}", allowed=f"more than {bound:.3g}, finite")


def require_equal(check: str, found: Tensor, expected: Tensor, what: str) -> None:
    """AssertionError unless two tensors are equal bit for bit, dtype included."""
    same = found.dtype == expected.dtype and torch.equal(found, expected)
    seen = f"{found.dtype} {tuple(found.shape)}, a relative difference of {difference(found, expected):.3g}"
    require(check, same, what, measured=seen, allowed=f"{expected.dtype} {tuple(expected.shape)}, equal bit for bit")


def run(checks: Mapping[str, Callable[[Case], None]], case: Case, exceptions: Mapping[str, str]) -> None:
    """Every check on one case. `exceptions`: check -> the reason why this part need not pass it; one that passes is an error."""
    unknown = [name for name in exceptions if name not in checks]
    if unknown:
        raise ValueError(f"no check is called {', '.join(map(repr, unknown))}; the checks are {', '.join(checks)}")
    for name, check in checks.items():
        if name not in exceptions:
            check(case)
            continue
        try:
            check(case)
        except AssertionError:
            continue
        raise AssertionError(f"{name}: declared an exception ({exceptions[name]}), but it holds; drop the exception")
