"""Every claim's file is handed over under its own name, and every entry point has a file."""

from __future__ import annotations

from importlib.metadata import entry_points

import cdkit_claims.shipped as shipped
import pytest


def test_files_and_entry_points_are_the_same() -> None:
    files = {path.stem for path in shipped.CLAIMS.glob("*.yaml")}
    points = [point for point in entry_points(group="cdkit") if point.name.startswith("claim.") and "cdkit_claims" in point.value]
    assert {point.name.removeprefix("claim.") for point in points} == files
    for point in points:
        assert point.load().cdkit_claim() == shipped.CLAIMS / f"{point.name.removeprefix('claim.')}.yaml"


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(AttributeError, match=r"claims holds no nothing_over_something\.yaml"):
        shipped.nothing_over_something  # noqa: B018
