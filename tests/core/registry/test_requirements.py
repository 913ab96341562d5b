"""What a distribution requires: which cdkit it excludes, and what of it is not here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cdkit.registry import requirements
from cdkit.registry.requirements import excludes, pins, pins_of, unmet

Distribution = Callable[..., Path]


@pytest.mark.parametrize(
    ("needs", "excluded"),
    [
        ([], ""),
        (["cdkit"], ""),
        (["cdkit>=0.1"], ""),
        (["cdkit>=1,<2"], "<2,>=1"),
        (["CDKit<0.1"], "<0.1"),
        (["cdkit>=0.1", "cdkit<3", "cdkit<0.2"], "<3"),  # the first
        (["torch<0.1", "cdkit-text<0.1", "cdkits<0.1"], ""),  # of others
        (["cdkit<0.1; python_version < '3'", "cdkit<0.1; extra == 'old'"], ""),  # not here
        (["cdkit ==", "cdkit<0.1"], "<0.1"),  # what is no requirement says nothing
    ],
)
@pytest.mark.parametrize("version", ["3.0", "3.1.dev4"])
def test_a_cdkit_that_is_not_this_one(needs: list[str], excluded: str, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version before its release is one of those asked for too: who develops cdkit has plugins."""
    monkeypatch.setattr(requirements, "VERSION", version)
    assert excludes(needs) == excluded


@pytest.mark.parametrize("clause", ["==2.0", "===2.0", "~=2.0", "<3", "<=2.5", " @ https://example.org/torch.whl"])
def test_what_lets_pip_replace_torch(clause: str) -> None:
    assert pins([f"torch{clause}", "torch>=2", "torch>1,!=1.5", "torch"]) == [f"torch{clause}"]


def test_what_is_required_and_not_here(distribution: Distribution) -> None:
    distribution("cdkit-early", {}, version="2.0rc1")
    here = ["pytest>=1", "cdkit-early>=1", "nowhere-else>=2; extra == 'more'", "no requirement"]
    needs = [*here, "pytest<1", "cdkit-early>=2", "nowhere-to-be-found"]
    distribution("cdkit-needs", {}, metadata="".join(f"Requires-Dist: {need}\n" for need in needs))
    assert unmet("cdkit-needs") == needs[len(here) :]


def test_what_is_not_installed_requires_nothing() -> None:
    assert unmet("cdkit-nowhere") == []
    assert pins_of("cdkit-nowhere") == []
