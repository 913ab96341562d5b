"""Specs: the YAML file that assembles a model, read with a place for everything that is wrong in it."""

from __future__ import annotations

from cdkit.spec.model import ConditionSpec, InjectorSpec, PartSpec, Place, SamplerSpec, Spec
from cdkit.spec.problem import BrokenParts, Problem, SpecErrors
from cdkit.spec.read import read_spec
from cdkit.spec.sections import SampleSection, TrainSection

__all__ = [
    "BrokenParts",
    "ConditionSpec",
    "InjectorSpec",
    "PartSpec",
    "Place",
    "Problem",
    "SampleSection",
    "SamplerSpec",
    "Spec",
    "SpecErrors",
    "TrainSection",
    "read_spec",
]
