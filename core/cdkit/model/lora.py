"""LoRA: a layer's answer plus scale * up(down(x)), of low rank (Hu et al. 2021, arXiv 2106.09685).

A correction is hooked to its layer and lives beside the network, so the network's tensors keep their names and values: every
checkpoint still loads, and what is detached was never there. scale is alpha / rank, times the strength that it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from cdkit.diffusion.random import generator
from cdkit.parts import Adaptable

TRAINED = "trained"  # the name of the LoRA that a spec asks for, among a model's


class Lora(nn.Module):
    """The correction of one layer. down (r, in) or (r, in, k, k) of a convolution, up (out, r) or (out, r, 1, 1); up is zero.

    out counts the rows that the layer's name stands for: of a fused layer the others stay as they are.
    """

    def __init__(self, target: Adaptable, rank: int, alpha: float) -> None:
        super().__init__()
        check(target.layer)
        weight = target.layer.weight
        rows = len(range(*target.rows.indices(weight.shape[0]))) if target.rows else weight.shape[0]
        like = weight.new_zeros((), dtype=torch.promote_types(weight.dtype, torch.float32))
        self.down = nn.Parameter(like.new_zeros(rank, *weight.shape[1:]))
        self.up = nn.Parameter(like.new_zeros(rows, rank, *[1] * (weight.dim() - 2)))
        self.alpha, self.strength = alpha, 1.0
        self._target = [target]  # in a list, so that the layer is no part of this module
        self._hook: RemovableHandle | None = None

    @property
    def scale(self) -> float:
        return self.strength * self.alpha / self.down.shape[0]

    def forward(self, x: Tensor) -> Tensor:
        """What the layer says of x, less its weight and bias: scale * up(down(x)), for the rows alone."""
        layer, x = self._target[0].layer, x.to(self.down.dtype)
        if isinstance(layer, nn.Conv2d) and x.dim() == 4:
            low = F.conv2d(x, self.down, None, layer.stride, layer.padding, layer.dilation)
            return self.scale * F.conv2d(low, self.up)
        # A 1 x 1 convolution may be applied to tokens, as the matrix that it is.
        return self.scale * F.linear(F.linear(x, self.down.flatten(1)), self.up.flatten(1))

    def delta(self) -> Tensor:
        """What the layer's rows of weights would have to grow by to say the same: scale * up @ down, in their shape."""
        return self.scale * (self.up.flatten(1) @ self.down.flatten(1)).reshape(len(self.up), *self.down.shape[1:])

    def attach(self) -> None:
        self._hook = self._target[0].layer.register_forward_hook(self._added)

    def detach_(self) -> None:
        """The layer as it was."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    @torch.no_grad()
    def merge_(self) -> None:
        """Add the correction to the layer's weights, and let go of it."""
        self.detach_()
        target = self._target[0]
        rows = target.layer.weight[target.rows or slice(None)]
        rows.copy_(rows.to(self.down.dtype) + self.delta())

    def _added(self, layer: nn.Module, given: tuple[Any, ...], said: Tensor) -> Tensor:
        correction = self(given[0]).to(said.dtype)
        rows = self._target[0].rows
        if rows is None:
            return said + correction
        as_map = isinstance(layer, nn.Conv2d) and said.dim() == 4
        size = said.shape[1 if as_map else -1]
        start, stop, _ = rows.indices(size)
        return said + F.pad(correction, [0, 0, 0, 0, start, size - stop] if as_map else [start, size - stop])


class LoraSet(nn.Module):
    """One LoRA: the corrections of all the layers that it adapts, by our names of them. Its state dict is NAME.down, NAME.up."""

    def __init__(self, corrections: Mapping[str, Lora]) -> None:
        super().__init__()
        self._corrections = dict(corrections)
        for name, lora in corrections.items():
            place(self, name.split("."), lora)
        self.strength = 1.0
        for lora in self:
            lora.attach()

    def __iter__(self) -> Iterator[Lora]:
        return iter(self._corrections.values())

    def __len__(self) -> int:
        return len(self._corrections)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._corrections)

    def summary(self) -> str:
        """How much it is: `a LoRA of 128 layers, 32 of them in encoders, rank 8`."""
        ranks = sorted({lora.down.shape[0] for lora in self})
        rank = f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranks[0]} to {ranks[-1]}"
        read = sum(name.startswith("encoders.") for name in self.names)
        return f"a LoRA of {len(self)} layers{f', {read} of them in encoders' if read else ''}, {rank}"

    def strengthen(self, strength: float) -> None:
        """How much of it is added: 1 is all that it was trained to, 0 none."""
        self.strength = strength
        for lora in self:
            lora.strength = strength

    def detach_(self) -> None:
        """Every layer as it was."""
        for lora in self:
            lora.detach_()

    def merge_(self) -> None:
        """Into the weights, for good."""
        for lora in self:
            lora.merge_()

    def tensors(self) -> dict[str, Tensor]:
        """What a file of ours holds: NAME.down, NAME.up and NAME.alpha."""
        alphas = {f"{name}.alpha": torch.tensor(lora.alpha) for name, lora in self._corrections.items()}
        return {**self.state_dict(), **alphas}


def check(layer: nn.Linear | nn.Conv2d) -> None:
    """ValueError for a convolution that down and up cannot imitate."""
    if isinstance(layer, nn.Conv2d) and (layer.groups != 1 or layer.padding_mode != "zeros"):
        raise ValueError(f"a convolution of {layer.groups} groups that pads with {layer.padding_mode} takes no LoRA: {layer}")


def place(module: nn.Module, path: list[str], leaf: nn.Module) -> None:
    """A submodule at a dotted path, so that its tensors have that name in a state dict."""
    *stems, last = path
    for stem in stems:
        if stem not in dict(module.named_children()):
            module.add_module(stem, nn.Module())
        module = module.get_submodule(stem)
    module.add_module(last, leaf)


def chosen(names: Iterable[str], target: str) -> set[str]:
    """The names that a target means: it is a name, the end of one, or a pattern of either (`to_q`, `down.*.to_q`)."""
    return {name for name in names if fnmatchcase(f".{name}", f"*.{target}")}


def drawn(layers: Mapping[str, Adaptable], rank: int, alpha: float, seed: int) -> LoraSet:
    """A new LoRA of these layers: down as peft draws it, keyed by (seed, name), up zero, so at birth it corrects nothing."""
    made = {name: Lora(target, rank, alpha) for name, target in layers.items()}
    for name, lora in made.items():
        nn.init.kaiming_uniform_(lora.down, a=5**0.5, generator=generator(seed, "lora", name))
    return LoraSet(made)
