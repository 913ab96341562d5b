"""The probe: on a narrow twin with its gates open, do two different things said give two different outputs?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from cdkit.build.liveness.paths import Path, paths
from cdkit.build.liveness.severed import Edge, Severed
from cdkit.build.liveness.streams import BATCH, leaves, random
from cdkit.build.liveness.trace import slots, swapped
from cdkit.build.liveness.twin import Twin
from cdkit.diffusion.random import generator
from cdkit.model import Model
from cdkit.parts import Encoder, Signals, Stream

SMALLEST = 1e-9  # share of the output's own size; float64 rounding is some 1e-15
TIME = 500.0


def probe(twin: Twin) -> dict[str, float]:
    """Follow every path of a twin with numbers. Returns each injector's effect, as a share of the output's size.

    Raises Severed at the first edge where one ends.
    """
    model = twin.model
    effects: dict[str, float] = {}
    with torch.inference_mode():
        said = {name: _said(twin, name) for name in model.told}
        base = {name: pair[0] for name, pair in said.items()}
        plain = model.prepare(model.joined(base))
        output = _forward(model, plain)
        for path in paths(model.spec):
            other = {**base, path.condition: said[path.condition][1]}
            effect = _effect(model, path, base, other, plain, output)
            effects[path.injector] = max(effect, effects.get(path.injector, 0.0))
    return effects


def _said(twin: Twin, name: str) -> tuple[Stream, Stream]:
    """Two streams of batch BATCH that say different things."""
    encoder = twin.model.readers[name].encoder
    if name in twin.heavy or not isinstance(encoder, Encoder):
        draws = generator(0, "probe", name)
        return random(twin.model, name, draws), random(twin.model, name, draws)
    first, second = encoder.examples()
    return encoder([first] * BATCH), encoder([second] * BATCH)


def _effect(
    model: Model, path: Path, base: Mapping[str, Stream], other: Mapping[str, Stream], plain: Signals, output: Tensor
) -> float:
    changed = model.prepare(model.joined(other))
    shown = _forward(model, swapped(path.injector, changed, plain))
    effect = float((shown - output).abs().max() / output.abs().max().clamp_min(1e-300))
    if effect > SMALLEST and bool(shown.isfinite().all()):
        return effect
    raise Severed(model.spec, path, _locate(model, path, base, other, plain, changed))


def _locate(
    model: Model, path: Path, base: Mapping[str, Stream], other: Mapping[str, Stream], plain: Signals, changed: Signals
) -> Edge:
    if alike(leaves(base[path.condition]), leaves(other[path.condition])):
        return Edge(f"condition {path.condition!r}", "its stream", "its encoder reads two different examples alike")
    if alike(leaves(model.joined(base)[path.stream]), leaves(model.joined(other)[path.stream])):
        return Edge(f"condition {path}", f"stream {path.stream!r}", "the joiner drops it")
    sites = [slot.site.name for slot in slots(model) if path.injector in slot.taps]
    if all(alike(plain[site][path.injector], changed[site][path.injector]) for site in sites):
        return Edge(f"stream {path.stream!r}", f"the taps of {path.injector!r}", "prepare makes the same signal of both")
    return Edge(
        f"the signals of {path.injector!r}",
        "the output",
        f"two different signals at {', '.join(sites[:3])} draw the same, with every zero gate opened",
    )


def alike(left: Any, right: Any) -> bool:
    """True if two pytrees hold the same numbers."""
    pairs = zip(tree_leaves(left), tree_leaves(right), strict=True)
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs if isinstance(a, Tensor))


def _forward(model: Model, signals: Signals) -> Tensor:
    draws = generator(0, "probe", "picture")
    x = torch.randn((BATCH, *model.shape), generator=draws, dtype=torch.float64)
    return model.backbone(x, torch.full((BATCH,), TIME, dtype=torch.float64), signals)
