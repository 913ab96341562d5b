"""Checks for whoever writes a part: call them from your own tests; our own parts pass by the same calls.

    from cdkit.testing import check_injector

    def test_mine() -> None:
        check_injector(Mine)

Each runs named checks and raises an AssertionError that names the check, what was measured and what is allowed. A check can
be called alone too: `INJECTOR_CHECKS["padding"](InjectorCase({"mine": Mine}))`.
"""

from cdkit.testing.backbones import BACKBONE_CHECKS, BackboneCase, check_backbone
from cdkit.testing.case import EVERY_FORM, InjectorCase
from cdkit.testing.encoders import ENCODER_CHECKS, EncoderCase, check_encoder
from cdkit.testing.guiders import GUIDER_CHECKS, GuiderCase, check_guider
from cdkit.testing.injectors import INJECTOR_CHECKS, check_injector
from cdkit.testing.reference import Reference
from cdkit.testing.samplers import SAMPLER_CHECKS, SamplerCase, check_sampler

__all__ = [
    "BACKBONE_CHECKS",
    "ENCODER_CHECKS",
    "EVERY_FORM",
    "GUIDER_CHECKS",
    "INJECTOR_CHECKS",
    "SAMPLER_CHECKS",
    "BackboneCase",
    "EncoderCase",
    "GuiderCase",
    "InjectorCase",
    "Reference",
    "SamplerCase",
    "check_backbone",
    "check_encoder",
    "check_guider",
    "check_injector",
    "check_sampler",
]
