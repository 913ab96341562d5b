"""Which checks a part of each kind is put to, and how a case is made of the part and its options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

from cdkit.hooks import Trial
from cdkit.parts import Joiner, Widths
from cdkit.testing.approximations import APPROXIMATION_CHECKS
from cdkit.testing.autoencoders import AUTOENCODER_CHECKS, AutoencoderCase
from cdkit.testing.backbones import BACKBONE_CHECKS, BackboneCase
from cdkit.testing.case import EVERY_FORM, TINY, InjectorCase
from cdkit.testing.datasets import DATASET_CHECKS, DatasetCase
from cdkit.testing.encoders import ENCODER_CHECKS, EncoderCase
from cdkit.testing.frozen import CALLBACK_CHECKS, METRIC_CHECKS, FrozenCase
from cdkit.testing.guiders import GUIDER_CHECKS, GuiderCase
from cdkit.testing.injectors import INJECTOR_CHECKS
from cdkit.testing.joiners import JOINER_CHECKS, JoinerCase
from cdkit.testing.samplers import SAMPLER_CHECKS, SamplerCase

Checks: TypeAlias = Mapping[str, Callable[[Any], None]]
NARROW = Widths(tokens=5, pooled=4)  # of an injector's second stream and those after it: unlike the first


def checks_of(kind: str, part: Any) -> Checks:
    """The checks for a part; none for kinds that are no objects: commands, formats, runs, claims."""
    return JOINER_CHECKS if joins(kind, part) else CHECKS.get(kind, {})


def case_of(kind: str, part: Any, trial: Trial) -> Any:
    """The part, its options bound, as its kind's checks take it."""
    made = partial(part, **trial.options)
    if joins(kind, part):
        return JoinerCase(made)
    if kind == "injector":
        return InjectorCase({"injector": made}, (EVERY_FORM, *[NARROW] * (trial.streams - 1)))
    if kind == "encoder" and "sample" in inspect.signature(part).parameters:
        return EncoderCase(partial(made, sample=TINY))
    return CASES[kind](made)


def joins(kind: str, part: Any) -> bool:
    return kind == "encoder" and inspect.isclass(part) and issubclass(part, Joiner)


CASES: Mapping[str, Callable[[Any], Any]] = {
    "encoder": EncoderCase,
    "backbone": BackboneCase,
    "sampler": SamplerCase,
    "guider": GuiderCase,
    "approximation": FrozenCase,
    "autoencoder": AutoencoderCase,
    "dataset": DatasetCase,
    "metric": FrozenCase,
    "callback": FrozenCase,
}
CHECKS: Mapping[str, Checks] = {
    "encoder": ENCODER_CHECKS,
    "injector": INJECTOR_CHECKS,
    "backbone": BACKBONE_CHECKS,
    "sampler": SAMPLER_CHECKS,
    "guider": GUIDER_CHECKS,
    "approximation": APPROXIMATION_CHECKS,
    "autoencoder": AUTOENCODER_CHECKS,
    "dataset": DATASET_CHECKS,
    "metric": METRIC_CHECKS,
    "callback": CALLBACK_CHECKS,
}
