"""Spec: what a spec file says, checked, with every default in place. It holds names and options, no tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cdkit.registry import Registry
from cdkit.spec.here import located
from cdkit.spec.place import Place
from cdkit.spec.sections import Ends, LoraSection, SampleSection, Spacing, Task, TrainSection

__all__ = ["AutoencoderSpec", "ConditionSpec", "InjectorSpec", "PartSpec", "Place", "SamplerSpec", "Spec"]


@dataclass(frozen=True)
class PartSpec:
    """One registered part: which, and with which options (all of them, defaults included)."""

    kind: str
    use: str  # as it is written: `name` or `dist/name`
    options: Mapping[str, Any]
    place: Place
    places: Mapping[str, Place]  # of the keys that are written, those that core reads too
    provider: str  # "dist==version"
    registry: Registry = field(default_factory=Registry.installed, repr=False, compare=False)

    def factory(self) -> Any:
        """The class or function that makes the part."""
        return self.registry.get(self.kind, self.use)

    @property
    def keywords(self) -> dict[str, Any]:
        """The options as the part is made with them: `here:NAME` is NAME beside the file that says so."""
        return {key: located(value, self.places.get(key, self.place)) for key, value in self.options.items()}

    @property
    def name(self) -> str:
        """The bare name."""
        return self.use.rpartition("/")[2]


@dataclass(frozen=True)
class ConditionSpec:
    """One condition and who encodes it. A joiner has `of`, and no column, dropout or trainable of its own."""

    name: str
    part: PartSpec
    column: str
    dropout: float
    trainable: bool | None
    of: tuple[str, ...]
    place: Place


@dataclass(frozen=True)
class InjectorSpec:
    """One conditioning method, the conditions that it reads, and patterns of the sites where it may be."""

    name: str
    part: PartSpec
    streams: tuple[str, ...]
    sites: tuple[str, ...]
    place: Place


@dataclass(frozen=True)
class SamplerSpec:
    part: PartSpec
    steps: int
    spacing: Spacing
    ends: Ends = "clean"


@dataclass(frozen=True)
class AutoencoderSpec:
    """What turns pixels into latents and back, and the run that its weights come from, if they come from one."""

    part: PartSpec
    run: str


@dataclass(frozen=True)
class Spec:
    """A whole spec. Two specs that differ in places alone are filled alike and have one digest."""

    name: str
    seed: int
    sample: SampleSection
    conditions: dict[str, ConditionSpec]
    injectors: list[InjectorSpec]
    backbone: PartSpec
    autoencoder: AutoencoderSpec | None
    diffusion: Mapping[str, Any]
    guidance: PartSpec | None
    sampler: SamplerSpec | None
    data: PartSpec | None
    train: TrainSection
    evaluate: list[PartSpec]
    place: Place
    places: Mapping[str, Place] = field(default_factory=dict[str, Place])  # of the sections that are written
    registry: Registry = field(default_factory=Registry.installed, repr=False, compare=False)
    lora: LoraSection | None = None
    task: Task = "denoise"
    callbacks: list[PartSpec] = field(default_factory=list["PartSpec"])
    approximations: list[PartSpec] = field(default_factory=list["PartSpec"])

    def filled(self) -> dict[str, Any]:
        """Plain values with every default written out; read again, it is this spec."""
        from cdkit.spec.fill import filled

        return filled(self)

    def to_yaml(self) -> str:
        """The filled spec as YAML."""
        from cdkit.spec.fill import to_yaml

        return to_yaml(self)

    def digest(self) -> str:
        """sha256, in hex, of what decides the meaning of weights: shapes, encoders, methods, network and process."""
        from cdkit.spec.fill import digest

        return digest(self)

    def _repr_html_(self) -> str:
        """In a notebook: who is told what, and by which method."""
        from cdkit.spec.html import shown

        return shown(self)

    @property
    def parts(self) -> list[PartSpec]:
        """Every part that the spec names."""
        seeing, drawing = self.autoencoder and self.autoencoder.part, self.sampler and self.sampler.part
        optional = (seeing, self.guidance, drawing, *self.approximations, self.data, *self.evaluate, *self.callbacks)
        named = [condition.part for condition in self.conditions.values()] + [injector.part for injector in self.injectors]
        return [*named, self.backbone, *(part for part in optional if part)]

    @property
    def provenance(self) -> dict[str, str]:
        """`kind.use` -> the distribution that provides it."""
        return {f"{part.kind}.{part.use}": part.provider for part in self.parts}
