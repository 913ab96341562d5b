"""Every backbone x every injector, alone and all at once, mounted as the builder mounts them."""

from __future__ import annotations

from typing import Any

import pytest
from cdkit.registry import Registry
from cdkit.testing import INJECTOR_CHECKS, InjectorCase

# What an injector is by itself, whatever carries it, is checked on the kit's reference network (tests/plugins/injectors).
# `large` is no promise of a whole network: scales that multiply from block to block may overflow it.
ALONE = {"refusal", "everywhere", "gradients", "mask types", "word order", "random state", "large", "state dict"}
NO_IDENTITY = {
    "in_context": "a softmax shares its weight among all keys",
    "added_kv": "a softmax shares its weight among all keys",
    "all": "in_context and added_kv are among them",
}


def test_the_grid_spans_all_that_is_installed(installed: Registry, spread: dict[str, set[str]]) -> None:
    for kind, names in spread.items():
        ours = {name for name in installed.names(kind) if installed.provider(kind, name).startswith("cdkit==")}
        assert ours == names


MARKS = {
    "compile": [pytest.mark.slow],  # seconds for each pair
    "adaptable": [pytest.mark.slow],  # a forward for every layer
    "devices": [pytest.mark.slow],  # and these three build and draw several times over
    "copies": [pytest.mark.slow],
    "dtypes": [pytest.mark.slow],
}


def param(check: str) -> Any:
    return pytest.param(check, marks=MARKS.get(check, []))


@pytest.mark.parametrize("check", [param(name) for name in INJECTOR_CHECKS if name not in ALONE])
def test_grid(case: InjectorCase, arm: str, check: str) -> None:
    if check == "identity" and arm in NO_IDENTITY:
        with pytest.raises(AssertionError, match=r"^identity: "):
            INJECTOR_CHECKS[check](case)
        return
    INJECTOR_CHECKS[check](case)
