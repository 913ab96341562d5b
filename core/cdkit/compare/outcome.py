"""outcome: what came of a claim: reproduced, contradicted or nobody can tell, with the numbers, as claim.json and a paragraph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from cdkit.compare.claim import Claim
from cdkit.compare.expectation import FEWEST, together
from cdkit.compare.kept import write
from cdkit.compare.read import Comparison
from cdkit.compare.words import interval

REGISTERED = "registered.json"
DIGITS = 12  # of a digest, for people


def register(claim: Claim, folder: Path) -> list[dict[str, str]]:
    """Every digest that the claim's file had when it was run in this folder, the first first; this one is added if it is new."""
    kept = folder / REGISTERED
    known: list[dict[str, str]] = json.loads(kept.read_text(encoding="utf-8"))["files"] if kept.is_file() else []
    if not known or known[-1]["digest"] != claim.digest:
        known.append({"digest": claim.digest, "date": datetime.now(UTC).isoformat(timespec="seconds")})
        write(kept, {"files": known})
    return known


def outcome_of(
    claim: Claim, scale: str, comparison: Comparison, result: Mapping[str, Any], registered: list[dict[str, str]]
) -> dict[str, Any]:
    """Everything that claim.json holds. result: the comparison's, as `publish` returns it."""
    score = result["score"]
    arms = {arm: arm_of(claim, result, arm) for arm in claim.expect}
    made = {
        "claim": claim.keys.name,
        "scale": scale,
        "says": claim.keys.says,
        "paper": claim.keys.paper,
        "found": claim.keys.found,
        "here": claim.keys.here,
        "outcome": together(arm["outcome"] for arm in arms.values()),
        "score": score,
        "figure": result["figure"],
        "reference": result["reference"],
        "reference_score": fmean(result["arms"][result["reference"]]["scores"][score]),
        "expect": arms,
        "seeds": result["seeds"],
        "digest": claim.digest,
        "registered": registered,
        "specs": specs_digest(comparison),
        **{key: result[key] for key in ("date", "machine", "cdkit")},
    }
    return {**made, "words": paragraph(made)}


def arm_of(claim: Claim, result: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """One expectation and what was found: the verdict's numbers, larger differences being better whatever the score."""
    expected, found = claim.expect[arm], result["verdicts"][result["score"]][arm]
    numbers = {key: found[key] for key in ("difference", "low", "high", "confidence", "seeds", "prompts")}
    return {
        "sign": expected.sign,
        "threshold": expected.threshold,
        "expected": expected.words(),
        "outcome": expected.outcome(found),
        "score": fmean(result["arms"][arm]["scores"][result["score"]]),
        **numbers,
    }


def specs_digest(comparison: Comparison) -> str:
    """Of every arm's filled spec and the seeds: of what a scale trains, the bases included."""
    said = hashlib.sha256(repr(comparison.keys.seeds).encode())
    for arm, spec in comparison.arms.items():
        said.update(f"\n{arm}\n{spec.to_yaml()}".encode())
    return said.hexdigest()


def paragraph(made: Mapping[str, Any]) -> str:
    """The outcome in words."""
    told = [
        f"{made['claim']} at scale {made['scale']}: {made['outcome']}.",
        f"The claim, {made['paper']}: {made['says']}",
        *(sentence(made, arm, found) for arm, found in made["expect"].items()),
        f"{len(made['seeds'])} seeds, {made['machine']}, file {made['digest'][:DIGITS]}.",
    ]
    if made["scale"] == "tiny":
        told.append("The tiny scale shows that the claim runs from end to end; it is too short to judge it.")
    if len(made["seeds"]) < FEWEST:
        told.append(f"Fewer than {FEWEST} seeds tell nothing, whatever their interval.")
    if len(made["registered"]) > 1:
        first = made["registered"][0]["digest"][:DIGITS]
        told.append(f"The claim's file was changed since this folder was begun: it was {first} then.")
    return " ".join(told)


def sentence(made: Mapping[str, Any], arm: str, found: Mapping[str, Any]) -> str:
    """ "Expected of adagn beside add: better by more than 0. Found: said_drawn 0.91 against 0.87, difference …: reproduced." """
    scores = f"{made['score']} {found['score']:.4g} against {made['reference_score']:.4g}"
    return (
        f"Expected of {arm} beside {made['reference']}: {found['expected']}. Found: {scores}, "
        f"difference for the better {interval(found)}: {found['outcome']}."
    )
