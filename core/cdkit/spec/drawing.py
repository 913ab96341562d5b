"""drawing: a model as a few boxes and the ways between them: who is told what, by which method, and where that enters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cdkit.spec.model import PartSpec, Spec

SHOWN = 3  # options of a part that a box has room for


@dataclass(frozen=True, slots=True)
class Told:
    """A condition: what is read of it, by whom, and in which forms it is handed on."""

    name: str
    reader: str
    source: str  # a column, or the conditions that are joined
    forms: str = ""  # "tokens 768, pooled 768"
    size: str = ""  # "123.1 M parameters"


@dataclass(frozen=True, slots=True)
class Method:
    """A way of telling: an injector, and the conditions that it reads."""

    name: str
    part: str
    streams: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the network, with the places that each method fills in it, counted by kind: {"film": {"norm": 4}}."""

    name: str
    note: str
    narrow: int = 0  # how many times it was halved in height and width: what makes a U of a U-Net
    fills: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])


@dataclass(frozen=True, slots=True)
class Drawing:
    """A whole model. begins, ends: lines before and after the network."""

    title: str
    conditions: tuple[Told, ...]
    methods: tuple[Method, ...]
    blocks: tuple[Block, ...]
    begins: str
    ends: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The whole in one sentence, for who cannot see the drawing."""
        ways = [f"{method.name} tells it {' and '.join(method.streams)}" for method in self.methods]
        return f"{self.title}: {'; '.join(ways) or 'it is told nothing'}; {len(self.blocks)} blocks from {self.begins}"


def drawing_of(spec: Spec) -> Drawing:
    """What a spec says, its network as one box. `cdkit.build.drawing` opens that box."""
    return Drawing(
        title=spec.name,
        conditions=tuple(
            Told(name, condition.part.use, " + ".join(condition.of) or f"column {condition.column}")
            for name, condition in spec.conditions.items()
        ),
        methods=tuple(Method(one.name, one.part.use, one.streams, options(one.part)) for one in spec.injectors),
        blocks=(Block(spec.backbone.use, options(spec.backbone), fills={one.name: {"somewhere": 1} for one in spec.injectors}),),
        begins=begins(spec),
        ends=ends(spec),
    )


def begins(spec: Spec) -> str:
    shape = spec.sample
    what = "latents" if spec.autoencoder else "pixels"
    return f"noise, {shape.channels} × {shape.height} × {shape.width} {what}"


def ends(spec: Spec) -> tuple[str, ...]:
    """What becomes of the network's answer."""
    process = f"predicts {spec.diffusion['prediction']}, {spec.diffusion['schedule']} schedule"
    guider = f"guided by {spec.guidance.use} {options(spec.guidance, 1)}".rstrip() if spec.guidance else "not guided"
    sampler = f"{spec.sampler.part.use}, {spec.sampler.steps} steps" if spec.sampler else "no sampler named"
    eyes = (f"autoencoder {spec.autoencoder.part.use}: latents to pixels",) if spec.autoencoder else ()
    return (process, guider, sampler, *eyes)


def options(part: PartSpec, most: int = SHOWN) -> str:
    """The first of a part's options that say something, in a line."""
    told = [f"{key} {short(value)}" for key, value in part.options.items() if value not in (None, (), [], "")]
    return ", ".join(told[:most])


def short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(short, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
