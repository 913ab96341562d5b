"""The specs that ship: each is read, filled and read again."""

from __future__ import annotations

from pathlib import Path

import pytest
from cdkit.registry import Registry
from cdkit.spec import read_spec

SPECS = Path(__file__).parents[3] / "specs"


@pytest.fixture(scope="module")
def installed() -> Registry:
    return Registry.installed()


@pytest.mark.parametrize("path", sorted(SPECS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_spec_is_right_and_its_filled_form_is_the_same(path: Path, installed: Registry) -> None:
    spec = read_spec(path, registry=installed)
    again = read_spec(spec.to_yaml(), registry=installed)
    assert again.filled() == spec.filled()
    assert again.digest() == spec.digest()
