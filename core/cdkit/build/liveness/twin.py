"""The twin: the same spec, as narrow as its parts allow, with float64 weights and no gate left at zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from cdkit.build.assemble import assemble, make_encoder
from cdkit.diffusion.random import derive, generator
from cdkit.model import Model, Reader
from cdkit.spec import ConditionSpec, Spec
from cdkit.spec.model import PartSpec

LARGEST = 64_000_000  # parameters that a probe may hold in memory where a network has no narrow form
ROWS = 2  # of a twin's picture, in multiples of what its backbone asks for


@dataclass(frozen=True, slots=True)
class Twin:
    """A narrow model, and those of its conditions whose encoders are too heavy to run in it."""

    model: Model
    heavy: frozenset[str]


def twin(spec: Spec, full: Model) -> Twin | None:
    """A narrow twin of a spec that was assembled on the meta device; None if it cannot be narrowed enough to be run."""
    backbone = narrowed(spec.backbone)
    if backbone is None and _size(full.backbone) > LARGEST:
        return None
    small = replace(
        spec,
        backbone=backbone or spec.backbone,
        injectors=[replace(i, part=narrowed(i.part) or i.part) for i in spec.injectors],
        sample=_smaller(spec, full),
        autoencoder=None,
        task="denoise",
    )
    readers = {name: _reader(condition, small, full) for name, condition in spec.conditions.items() if not condition.of}
    heavy = frozenset(name for name, reader in readers.items() if reader is full.readers[name])
    model = assemble(small, readers=readers)
    model.backbone.double()
    for name, encoder in model.encoders.items():
        if name not in heavy:
            encoder.double()
    reopen(model, heavy, spec.seed)
    return Twin(model.eval(), heavy)


def narrowed(part: PartSpec) -> PartSpec | None:
    """The part with the options that its `narrow` makes of them; None where it says it cannot be narrowed."""
    narrow = getattr(part.factory(), "narrow", None)
    options: Mapping[str, Any] | None = narrow(part.options) if narrow else part.options
    return None if options is None else replace(part, options=options)


def _reader(condition: ConditionSpec, small: Spec, full: Model) -> Reader:
    """A narrow encoder that can be run, or the full one, on the meta device, for its widths alone."""
    part = narrowed(condition.part)
    if part is None:
        return full.readers[condition.name]
    reader = make_encoder(replace(condition, part=part), small)
    if not reader.of:
        reader.encoder.fit(list(reader.encoder.examples()) * 8)  # pyright: ignore[reportCallIssue]
    return reader


def _smaller(spec: Spec, full: Model) -> Any:
    step = full.backbone.multiple * ROWS
    return replace(spec.sample, height=min(spec.sample.height, step), width=min(spec.sample.width, step))


def reopen(model: Model, heavy: frozenset[str], seed: int) -> None:
    """Draw every parameter that is zero throughout, so that no gate hides what would pass it once trained."""
    for name, parameter in model.named_parameters():
        if any(name.startswith(f"encoders.{condition}.") for condition in heavy):
            continue
        if not bool(parameter.any()):
            fan_in = max(1, parameter[0].numel() if parameter.dim() > 1 else 1)
            drawn = torch.randn(parameter.shape, generator=generator(derive(seed, "reopen"), name), dtype=torch.float64)
            with torch.no_grad():
                parameter.copy_(drawn / fan_in**0.5)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
