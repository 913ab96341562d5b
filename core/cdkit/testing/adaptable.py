"""What a part declares adaptable has to be called, or a LoRA that is hooked to it would be silently ignored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cdkit.parts import Adaptable
from cdkit.testing.verdict import require, require_apart

READ = "it must be called, not read"


def require_heard(check: str, layers: Mapping[str, Adaptable], drawn: Callable[[], Tensor]) -> None:
    """Every layer is one that a LoRA can imitate; its rows are rows of it; and what is added to its answer shows."""
    with torch.no_grad():
        plain = drawn()
        for name, target in layers.items():
            layer, out = target.layer, target.layer.weight.shape[0]
            imitable = isinstance(layer, nn.Linear) or (layer.groups == 1 and layer.padding_mode == "zeros")
            require(
                check, imitable, f"{name}", measured=str(layer), allowed="a Linear, or a Conv2d of one group padded with zeros"
            )
            rows = range(*target.rows.indices(out)) if target.rows else range(out)
            require(check, len(rows) > 0 and rows.step == 1, f"rows of {name}", measured=rows, allowed=f"some of {out}")
            handle = layer.register_forward_hook(_pushed)
            try:
                require_apart(check, drawn(), plain, 1e-9, f"{name} answers something else; {READ}")
            finally:
                handle.remove()


def _pushed(layer: nn.Module, given: tuple[Any, ...], said: Tensor) -> Tensor:
    """Another answer at every place: a push that is alike everywhere, added to all keys, would be lost in a softmax."""
    del layer, given
    noise = torch.randn(said.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return said + noise.to(said.dtype)
