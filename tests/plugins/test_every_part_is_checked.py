"""Every part of ours passes what `cdkit plugins check cdkit` puts it to: the same calls, check by check, as anybody's."""

from __future__ import annotations

import pytest
from cdkit.hooks import KINDS
from cdkit.registry import Registry
from cdkit.testing.conformance import conformance

INSTALLED = Registry.installed()
OURS = [(kind, name) for kind in KINDS for name in INSTALLED.names(kind) if INSTALLED.provider(kind, name).startswith("cdkit==")]
HAS_ITS_KIT = ("backbone", "injector")  # in `make test`, of each
SLOW = {("dataset", "emoji"), ("dataset", "fashion"), ("dataset", "shapes"), ("encoder", "e5")}


def marks(part: tuple[str, str]) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] * (part in SLOW or part[0] in HAS_ITS_KIT)


@pytest.mark.parametrize(
    ("kind", "name"),
    [pytest.param(*part, id=".".join(part), marks=marks(part)) for part in OURS],
)
def test_part(kind: str, name: str) -> None:
    rows = list(conformance(kind, name, INSTALLED))
    assert rows
    assert not [f"{row.check}: {row.said}" for row in rows if row.outcome == "failed"]
    reasons = [row.said for row in rows if row.outcome in ("untried", "excepted")]
    assert all(reasons), "what is not tried says why"
