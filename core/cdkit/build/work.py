"""work: what one call of the denoiser costs, counted on the meta device, by site and by part, and the least time it takes.

MACs are multiplications with an addition, of convolutions, products and attention, of one picture in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from cdkit.build.liveness.streams import BATCH, fake
from cdkit.build.liveness.trace import slots
from cdkit.model import Model

HALF = 2  # bytes of a number in bfloat16
PRODUCTS = 780e12  # an H100's bfloat16 products a second, and bytes a second of its memory, as measured (docs/performance.md)
MEMORY = 3.0e12


@dataclass(frozen=True, slots=True)
class Work:
    """macs: of a picture in a step; prepare_macs: once a prompt. activations: bytes that training keeps of one, as bfloat16.
    seconds: of a step of one picture on an H100, at the least: every product at the rate of its arithmetic or of its
    memory, whichever is slower, and nothing else. sites: macs of the methods at each; parts: of each part of the backbone.
    """

    macs: int
    prepare_macs: int
    activations: int
    seconds: float
    sites: Mapping[str, int]
    parts: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def work(model: Model) -> Work:
    """model: on the meta device."""
    x, t = torch.empty((BATCH, *model.shape), device="meta"), torch.full((BATCH,), 0.0, device="meta")
    with torch.no_grad():
        with FlopCounterMode(display=False) as prepared:
            signals = model.prepare(model.joined(fake(model)))
        with FlopCounterMode(display=False) as forward:
            model.backbone(x, t, signals)
        one = model.prepare(model.joined(first(fake(model))))
        with Roofline() as roofline:
            model.backbone(x[:1], t[:1], one)
    of = macs_by_module(model.backbone, forward)
    paths = {id(module): path for path, module in model.backbone.named_modules()}
    return Work(
        macs=forward.get_total_flops() // (2 * BATCH),
        prepare_macs=prepared.get_total_flops() // (2 * BATCH),
        activations=kept(lambda: model.backbone(x, t, signals), model.backbone) // BATCH,
        seconds=roofline.seconds,
        sites={slot.site.name: of.get(paths[id(slot)], 0) for slot in slots(model) if len(slot.taps)},
        parts={name: macs for name, child in model.backbone.named_children() if (macs := within(of, name, child))},
    )


def within(of: Mapping[str, int], name: str, part: nn.Module) -> int:
    """MACs of a part; of those that it holds, where it is a list and never called."""
    return of.get(name) or sum(within(of, f"{name}.{inner}", child) for inner, child in part.named_children())


def first(streams: Mapping[str, Any]) -> dict[str, Any]:
    """The same streams, of one picture."""
    forms = ("tokens", "mask", "pooled", "spatial")
    return {
        name: type(stream)(**{form: None if getattr(stream, form) is None else getattr(stream, form)[:1] for form in forms})
        for name, stream in streams.items()
    }


def macs_by_module(network: nn.Module, counted: FlopCounterMode) -> dict[str, int]:
    """MACs of a picture by a module's path; what is within counts too."""
    root = f"{type(network).__name__}."
    return {
        name.removeprefix(root): sum(flops.values()) // (2 * BATCH)
        for name, flops in counted.get_flop_counts().items()
        if name.startswith(root)
    }


def kept(call: Callable[[], Tensor], network: nn.Module) -> int:
    """Bytes, in bfloat16, of what is saved for the gradient: every tensor once, and no weight."""
    weights = {parameter.untyped_storage()._cdata for parameter in network.parameters()}  # pyright: ignore[reportPrivateUsage]
    seen: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        key = tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]
        if key not in weights:
            seen[key] = tensor
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = call()
        del out
    return sum(tensor.untyped_storage().nbytes() // tensor.element_size() for tensor in seen.values()) * HALF


class Roofline(TorchDispatchMode):
    """Adds up, while it lasts, the least seconds of every product: its arithmetic, or its operands and answer in memory.

    Attention is decomposed here into products of batches, whose scores no good kernel writes down: their arithmetic counts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        out = func(*args, **(kwargs or {}))
        counter = flop_registry.get(func._overloadpacket)
        if counter is not None:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
            moved = 0 if func is torch.ops.aten.bmm.default else HALF * sum(tensor.numel() for tensor in tensors)
            self.seconds += max(counter(*args, **(kwargs or {}), out_val=out) / PRODUCTS, moved / MEMORY)
        return out
