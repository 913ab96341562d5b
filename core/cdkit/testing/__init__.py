"""Checks for whoever writes a part: call them from your own tests; our own parts pass by the same calls.

    from cdkit.testing import every_check

    @every_check("injector", Mine)
    def test_mine(check) -> None:
        check()

`every_check` makes a test of each check of a kind, and takes `expected_failures={name: reason}`; `InjectorSuite` and its like are
classes to derive from; `check_injector(Mine)` and its like are plain functions, for whoever has no pytest. Each raises an
AssertionError that names the check, what was measured and what is allowed. `cdkit plugins check DIST` runs them from a shell.
"""

from cdkit.testing.approximations import APPROXIMATION_CHECKS, check_approximation
from cdkit.testing.autoencoders import AUTOENCODER_CHECKS, AutoencoderCase, check_autoencoder
from cdkit.testing.backbones import BACKBONE_CHECKS, BackboneCase, check_backbone
from cdkit.testing.case import EVERY_FORM, InjectorCase
from cdkit.testing.datasets import DATASET_CHECKS, DatasetCase, check_dataset
from cdkit.testing.encoders import ENCODER_CHECKS, EncoderCase, check_encoder
from cdkit.testing.frozen import CALLBACK_CHECKS, METRIC_CHECKS, FrozenCase, check_callback, check_metric
from cdkit.testing.guiders import GUIDER_CHECKS, GuiderCase, check_guider
from cdkit.testing.injectors import INJECTOR_CHECKS, check_injector
from cdkit.testing.joiners import JOINER_CHECKS, JoinerCase, check_joiner
from cdkit.testing.reference import Reference
from cdkit.testing.samplers import SAMPLER_CHECKS, SamplerCase, check_sampler
from cdkit.testing.suites import (
    ApproximationSuite,
    AutoencoderSuite,
    BackboneSuite,
    CallbackSuite,
    Check,
    DatasetSuite,
    EncoderSuite,
    GuiderSuite,
    InjectorSuite,
    JoinerSuite,
    MetricSuite,
    SamplerSuite,
    every_check,
)

__all__ = [
    "APPROXIMATION_CHECKS",
    "AUTOENCODER_CHECKS",
    "BACKBONE_CHECKS",
    "CALLBACK_CHECKS",
    "DATASET_CHECKS",
    "ENCODER_CHECKS",
    "EVERY_FORM",
    "GUIDER_CHECKS",
    "INJECTOR_CHECKS",
    "JOINER_CHECKS",
    "METRIC_CHECKS",
    "SAMPLER_CHECKS",
    "ApproximationSuite",
    "AutoencoderCase",
    "AutoencoderSuite",
    "BackboneCase",
    "BackboneSuite",
    "CallbackSuite",
    "Check",
    "DatasetCase",
    "DatasetSuite",
    "EncoderCase",
    "EncoderSuite",
    "FrozenCase",
    "GuiderCase",
    "GuiderSuite",
    "InjectorCase",
    "InjectorSuite",
    "JoinerCase",
    "JoinerSuite",
    "MetricSuite",
    "Reference",
    "SamplerCase",
    "SamplerSuite",
    "check_approximation",
    "check_autoencoder",
    "check_backbone",
    "check_callback",
    "check_dataset",
    "check_encoder",
    "check_guider",
    "check_injector",
    "check_joiner",
    "check_metric",
    "check_sampler",
    "every_check",
]
