"""Wilson's interval against scipy's, and against what an interval is for."""

from __future__ import annotations

import math

import pytest
import torch
from cdkit_metrics.intervals import Share, share_of
from scipy.stats import binomtest


@pytest.mark.parametrize(("count", "n"), [(0, 10), (10, 10), (1, 3), (50, 100), (1991, 2000), (1, 2000)])
def test_agrees_with_scipy(count: int, n: int) -> None:
    theirs = binomtest(count, n).proportion_ci(0.95, method="wilson")
    assert Share(count, n).interval() == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_covers_the_truth_as_often_as_it_says() -> None:
    truth, n, trials = 0.97, 300, 4000
    counts = torch.binomial(torch.full((trials,), float(n)), torch.tensor(truth), torch.Generator().manual_seed(0))
    covered = share_of(low <= truth <= high for low, high in (Share(int(c), n).interval() for c in counts))
    assert abs(covered.value - 0.95) < 4 * math.sqrt(0.95 * 0.05 / trials) + 0.015


def test_nothing_seen_says_nothing() -> None:
    assert Share(0, 0).report() == {"share": 0.0, "interval": [0.0, 1.0], "count": 0, "n": 0}


def test_report_holds_what_is_needed_to_read_it() -> None:
    report = share_of([True, True, False, True]).report()
    assert (report["share"], report["count"], report["n"]) == (0.75, 3, 4)
    assert report["interval"][0] < 0.75 < report["interval"][1]
