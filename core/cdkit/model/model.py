"""Model: a network as people meet it: it draws, borrows LoRAs, and shows itself in a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdkit.model.draw import draw
from cdkit.model.lora import LoraSet
from cdkit.model.lora_file import read_lora
from cdkit.model.network import Network, Pace, Values
from cdkit.model.plain import Plain
from cdkit.model.samples import Samples


class Model(Network):
    """Encoders, a backbone with its taps, and the diffusion process, as one spec assembled them."""

    pace: Pace = Plain()

    def sample(self, values: Values = (), **how: Any) -> Samples:
        """Draw. `cdkit.model.draw.draw` says what can be asked for: negative, seed or seeds, steps, guidance, sampler …"""
        return draw(self, values, **how)

    def lora(self, path: str | Path, scale: float = 1.0) -> LoraSet:
        """Add a LoRA file, ours or of a format that is installed, times `scale`. Several may be added: their sum is.

        CheckpointError for a tensor that belongs to no layer of this model. `detach_` on what comes back takes it off again.
        """
        made = read_lora(self.spec, {**self.layers(), **self.readable_layers()}, Path(path))
        made.strengthen(scale)
        self.loras[f"{len(self.loras)}:{Path(path).stem.replace('.', '_')}"] = made
        return made

    def merge_loras(self) -> None:
        """Every LoRA into the weights, for good: the same answers, and nothing beside the network."""
        for lora in self.loras.values():
            assert isinstance(lora, LoraSet)
            lora.merge_()
        self.loras.clear()

    def _repr_html_(self) -> str:
        """In a notebook: the network block by block, and where each condition enters it."""
        from cdkit.build.drawing import opened
        from cdkit.spec.html import shown

        return shown(self.spec, opened(self))
