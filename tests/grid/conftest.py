"""The grid: every backbone and every injector that is installed, at the smallest sizes that keep their sites."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from cdkit.build.mount import Mounted, Mounting
from cdkit.parts import ConditioningInjector, SampleShape, Widths
from cdkit.registry import Registry
from cdkit.testing import InjectorCase
from cdkit.testing.case import EVERY_FORM

INSTALLED = Registry.installed()
SAMPLE = SampleShape(2, 8, 8)
BACKBONES: dict[str, dict[str, Any]] = {
    "unet": {"width": 16, "mult": (1, 2), "blocks": 1, "attention": (1,), "heads": 2},
    "controlnet": {"width": 16, "mult": (1, 2), "blocks": 1, "attention": (1,), "heads": 2},
    "unet_classic": {"width": 16, "mult": (1, 2), "heads": 2, "head_dim": 4},
    "dit": {"width": 16, "depth": 2, "heads": 2},
    "mmdit": {"width": 16, "depth": 2, "heads": 2, "qk_norm": True},
}
INJECTORS: dict[str, dict[str, Any]] = {
    "cross_attention": {"heads": 2},
    "film": {},
    "adaln_zero": {},
    "adagn": {},
    "film_gain": {},
    "adaln_single": {},
    "weights": {"rank": 2},
    "add": {},
    "concat": {},
    "concat_multi": {},
    "hint": {"channels": (8,)},
    "spade": {"hidden": 4},
    "in_context": {},
    "added_kv": {},
    "text_query": {"heads": 2},
    "decoupled": {"heads": 2},
    "gated": {"heads": 2},
    "perceiver": {"heads": 2, "latents": 3, "depth": 1},
}
STREAMS = {"decoupled": 2}  # of a case's streams each injector reads the first ones; unless it is named here, one


ROWLESS = "its blocks hold tokens, and a map is told row by row"
PATCHES = "its first layer takes patches, and a hint is added row by row"
PLACELESS = {
    **{(name, method): ROWLESS for name in ("dit", "mmdit") for method in ("spade", "concat_multi")},
    **{(name, "hint"): PATCHES for name in ("dit", "mmdit")},
    ("mmdit", "added_kv"): "words have keys and values of their own there already: its sequence site takes tokens alone",
}


def mounting(injectors: Mapping[str, ConditioningInjector], seed: int, sites: tuple[str, ...]) -> Mounting:
    """The builder's own slots."""
    return Mounting({name: Mounted(injector, sites) for name, injector in injectors.items()}, seed)


def reading(name: str, streams: tuple[str, ...], widths: tuple[Widths, ...]) -> ConditioningInjector:
    """An injector of the streams that it reads; its taps take no notice of those that follow."""
    read = STREAMS.get(name, 1)
    return INSTALLED.get("injector", name)(streams[:read], widths[:read], **INJECTORS[name])


def case_of(backbone: str, *injectors: str) -> InjectorCase:
    """These injectors, together, on this backbone."""
    return InjectorCase(
        {name: partial(reading, name) for name in injectors},
        widths=(EVERY_FORM,) * max(STREAMS.get(name, 1) for name in injectors),
        backbone=partial(INSTALLED.get("backbone", backbone), **BACKBONES[backbone]),
        sample=SAMPLE,
        mounting=mounting,
    )


LARGE = {"controlnet"}  # two networks in one


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in BACKBONES])
def backbone(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[*INJECTORS, "all"])
def arm(request: pytest.FixtureRequest) -> str:
    """One injector, or all at once."""
    return request.param


@pytest.fixture
def case(backbone: str, arm: str) -> InjectorCase:
    if (backbone, arm) in PLACELESS:
        pytest.skip(f"{arm} has no place on {backbone}: {PLACELESS[backbone, arm]}")
    return case_of(backbone, *([name for name in INJECTORS if (backbone, name) not in PLACELESS] if arm == "all" else [arm]))


@pytest.fixture
def installed() -> Registry:
    return INSTALLED


@pytest.fixture
def spread() -> dict[str, set[str]]:
    """The backbones and injectors that the grid spans."""
    return {"backbone": set(BACKBONES), "injector": set(INJECTORS)}


@pytest.fixture
def film_case(backbone: str) -> InjectorCase:
    return case_of(backbone, "film")
