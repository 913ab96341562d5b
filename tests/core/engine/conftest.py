"""A tiny spec on real digits: a training of seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cdkit.spec import Spec, read_spec

DIGITS = Path(__file__).parents[3] / "specs" / "digits.yaml"
TINY = (
    "backbone.width=8",
    "backbone.heads=1",
    "conditions.text.dim=8",
    "conditions.text.heads=1",
    "train.batch=4",
    "train.steps=8",
    "train.warmup=2",
    "train.log_every=1",
    "train.sample_every=0",
    "train.checkpoint_every=1",
    "train.keep=20",
    "sampler.steps=3",
)


@pytest.fixture(scope="module")
def tiny() -> Callable[..., Spec]:
    """The tiny spec, with more overrides."""

    def spec(*overrides: str) -> Spec:
        return read_spec(DIGITS, overrides=(*TINY, *overrides))

    return spec
