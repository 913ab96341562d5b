"""The trace: on the meta device, does the output depend on the condition at all? No memory and no weights."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cdkit.build.liveness.paths import Path, paths
from cdkit.build.liveness.severed import Edge, Severed
from cdkit.build.liveness.streams import BATCH, fake, leaves
from cdkit.build.liveness.taint import Taint
from cdkit.build.mount import Slot
from cdkit.model import Model
from cdkit.parts import Joined, Signals, Stream


@dataclass(frozen=True, slots=True)
class Call:
    """What a tap was handed, as shapes: enough to call it again by itself."""

    h: tuple[int, ...]
    emb: tuple[int, ...]


def trace(model: Model) -> None:
    """Follow every path of a meta model from stream to output. Raises Severed at the first edge where one ends."""
    streams = fake(model)
    with torch.no_grad():
        plain = model.prepare(model.joined(streams))
        for path in paths(model.spec):
            _follow(model, path, streams, plain)


def _follow(model: Model, path: Path, streams: Mapping[str, Stream], plain: Signals) -> None:
    own = fake(model)
    mine = {**streams, path.condition: own[path.condition]}
    with Taint(leaves(own[path.condition])) as taint:
        joined = model.joined(mine)
        if not taint.reached(leaves(joined[path.stream])):
            raise Severed(model.spec, path, Edge(f"condition {path}", f"stream {path.stream!r}", "the joiner drops it"))
        alive = taint.reached(_forward(model, swapped(path.injector, model.prepare(joined), plain)))
    if not alive:
        raise Severed(model.spec, path, _locate(model, path, mine, _calls(model, plain)))


def swapped(injector: str, changed: Signals, plain: Signals) -> Signals:
    """The signals of one injector out of `changed`, all others out of `plain`."""
    return {
        site: {name: (changed if name == injector else plain)[site][name] for name in signals} for site, signals in plain.items()
    }


def _forward(model: Model, signals: Signals) -> Tensor:
    x = torch.empty((BATCH, *model.shape), device="meta")
    return model.backbone(x, torch.empty(BATCH, device="meta"), signals)


def _locate(model: Model, path: Path, streams: Mapping[str, Stream], calls: Mapping[str, Call]) -> Edge:
    """The first edge of a path across which nothing is handed on."""
    filled = [slot for slot in slots(model) if path.injector in slot.taps]
    with Taint(leaves(streams[path.condition])) as taint:
        signals = model.prepare(model.joined(streams))
        read = [slot for slot in filled if taint.reached(signals[slot.site.name][path.injector])]
        if not read:
            return Edge(f"stream {path.stream!r}", f"the taps of {path.injector!r}", "prepare drops what it says")
        called = [slot for slot in read if slot.site.name in calls]
        if not called:
            names = ", ".join(slot.site.name for slot in read[:3])
            return Edge(f"the taps of {path.injector!r}", "the backbone", f"it never calls its site {names}")
        answered = [slot for slot in called if taint.reached(_alone(slot, path.injector, signals, calls[slot.site.name]))]
    if not answered:
        return Edge(f"the signals of {path.injector!r}", "what its taps return", "forward ignores its signal")
    names = ", ".join(slot.site.name for slot in answered[:3])
    return Edge(f"the sites {names}", "the output", "the backbone drops what the site returns")


def _alone(slot: Slot, injector: str, signals: Signals, call: Call) -> Any:
    h, emb = torch.empty(call.h, device="meta"), torch.empty(call.emb, device="meta")
    out = slot.taps[injector](h, signals[slot.site.name][injector], emb)
    return (out.tokens, out.keys, out.values) if isinstance(out, Joined) else out


def slots(model: Model) -> list[Slot]:
    """Every slot of the backbone, in the order in which they were mounted."""
    return [module for module in model.backbone.modules() if isinstance(module, Slot)]


def _calls(model: Model, signals: Signals) -> dict[str, Call]:
    with recorded(model) as calls:
        _forward(model, signals)
    return calls


@contextmanager
def recorded(model: Model) -> Generator[dict[str, Call]]:
    """While it lasts, a dictionary fills with what each site was called with."""
    calls: dict[str, Call] = {}

    def record(slot: Slot, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        given = dict(zip(("h", "signals", "emb"), args, strict=False)) | dict(kwargs)
        calls[slot.site.name] = Call(tuple(given["h"].shape), tuple(given["emb"].shape))

    handles = [slot.register_forward_pre_hook(record, with_kwargs=True) for slot in slots(model)]  # pyright: ignore[reportArgumentType]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
