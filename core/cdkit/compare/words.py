"""words: a verdict as a sentence that says how sure it is, and what would make it surer."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any


def sentence(result: Mapping[str, Any], arm: str) -> str:
    """ "film is worse than cross_attention in said_drawn: 0.91 against 0.98 …" """
    use, reference = result["score"], result["reference"]
    found = result["verdicts"][use][arm]
    ours, theirs = (fmean(result["arms"][name]["scores"][use]) for name in (arm, reference))
    told = {
        "better": f"{arm} is better than {reference}",
        "worse": f"{arm} is worse than {reference}",
        "cannot tell": f"nobody can tell {arm} from {reference}",
    }[found["outcome"]]
    return f"  {told}: {use} {ours:.4g} against {theirs:.4g}, difference {interval(found)}{more(found)}"


def interval(found: Mapping[str, Any]) -> str:
    """+0.031 [0.012, 0.050]"""
    if found["low"] is None:
        return f"{found['difference']:+.4f} [no interval{' from one seed' if found['seeds'] == 1 else ''}]"
    return f"{found['difference']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]"


def more(found: Mapping[str, Any]) -> str:
    if found["outcome"] != "cannot tell":
        return ""
    if found["more"] is None:
        return "; no number of seeds up to 1,000 would tell, if this is the difference" if found["low"] is not None else ""
    return f"; {found['more']} more {'seed' if found['more'] == 1 else 'seeds'} would tell, if this is the difference"
