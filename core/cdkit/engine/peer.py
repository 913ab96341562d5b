"""peer: another library's network over the weights of a spec's model, run as that library's users run it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from cdkit.build import assemble
from cdkit.build.liveness.streams import random_streams
from cdkit.engine.device import mixed_precision
from cdkit.engine.weights import held_weights
from cdkit.errors import UsageError
from cdkit.foreign import Foreign, Format
from cdkit.registry import Registry
from cdkit.spec import Spec


def prepared_peer(
    spec: Spec, what: Literal["denoiser", "train"], batch: int, device: torch.device, library: str, *, compiled: bool
) -> Callable[[], Any]:
    """One call of it, in bfloat16 on a GPU; or a pass forward and back in the spec's precision, over float32 weights.

    UsageError where the format of this name has no network for the spec.
    """
    model = assemble(spec).to(device)
    made: Format = Registry.installed().get("format", library)()
    network = made.network(Foreign(spec.filled(), held_weights(model)["backbone"], None, {}))
    if network is None:
        raise UsageError(f"--against {library}: that format has no network to measure")
    half = torch.bfloat16 if device.type == "cuda" and what == "denoiser" else torch.float32
    network = network.train(what == "train").to(half)
    run: Callable[..., Tensor] = torch.compile(network) if compiled else network
    x, t = torch.randn(batch, *model.shape, device=device, dtype=half), torch.full((batch,), 500.0, device=device)
    streams = model.joined(random_streams(model, batch, device, half))
    mixed = mixed_precision(spec.train.precision, device) == "bf16"

    def called() -> Tensor:
        with torch.inference_mode():
            return run(x, t, streams)

    def learned() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            out = run(x, t, streams)
        out.float().square().mean().backward()
        network.zero_grad(set_to_none=True)

    return called if what == "denoiser" else learned
