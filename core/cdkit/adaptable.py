"""What a LoRA (Hu et al. 2021) may adapt: every part names its own layers, and speaks for no other part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, slots=True)
class Adaptable:
    """A layer that low-rank corrections may be added to (LoRA), or those rows of a fused one that a name stands for.

    The layer is called, never read: a correction is added to what it answers. A Conv2d has one group and pads with zeros.
    """

    layer: nn.Linear | nn.Conv2d
    rows: slice | None = None  # of the output features, both ends said; None: all of them


class AdaptableModule(nn.Module):
    """A module that names the layers which a LoRA may adapt: encoders, taps and backbones."""

    def adaptable(self) -> Mapping[str, Adaptable]:
        """Its own layers by peft-style names within it ("down.0.attn.0.blocks.0.attn1.to_q"), not those of what is mounted
        on it; none unless it says. `layers_of` finds them where names are paths.
        """
        return {}


def layers_of(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    """Every Linear and Conv2d within a module by its path, but for those within modules that speak for themselves."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear | nn.Conv2d):
            yield prefix + name, child
        elif not isinstance(child, AdaptableModule):
            yield from layers_of(child, f"{prefix}{name}.")
