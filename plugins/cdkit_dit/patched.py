"""Patches in, patches out: what a diffusion transformer has round its blocks (Peebles and Xie 2023, arXiv 2212.09748)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import lcm
from typing import Any

import torch
from cdkit.parts import Adaptable, Backbone, Layout, Mount, SampleShape, Signals, Site, SiteKind, layers_of
from einops import rearrange
from torch import Tensor, nn

from cdkit_dit.attention import split_qkv
from cdkit_dit.block import Open
from cdkit_dit.modulation import Modulation, modulate
from cdkit_dit.positions import positions
from cdkit_dit.time import TimeEmbedding

NARROW = 16  # channels of a narrow twin, or the least multiple of them that its heads divide


class Patched(Backbone):
    """x (B, C, H, W) of the sample's size, t (B,) in [0, 1000] -> (B, C, H, W), by way of blocks that map tokens to tokens.

    blocks: called with what opens a site among the tokens; its blocks are drawn in their place, between the stem and the last
    layer. Starts as published: Xavier-uniform projections, zero biases, zero in the time's modulations and the last layer.
    """

    positions: Tensor  # (1, width, H / patch, W / patch)

    def __init__(
        self, mount: Mount, sample: SampleShape, *, patch: int, width: int, blocks: Callable[[Open], Iterable[nn.Module]]
    ) -> None:
        super().__init__()
        self.multiple = self.patch = patch
        self.size = (sample.height, sample.width)
        self.time = TimeEmbedding(width)
        self.embed_site = mount(Site("embed", "embed", "vector", width, 1, width))
        self.stem = nn.Conv2d(sample.channels, width, patch, stride=patch)
        open_site = partial(_open, mount, width, patch)
        self.input_site = open_site("input", "input", "map")
        self.register_buffer("positions", positions(sample.height // patch, sample.width // patch, width), persistent=False)
        self.blocks = nn.ModuleList(blocks(open_site))
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.modulation = Modulation(width, width, 2)
        self.norm_site = open_site("out.norm", "norm", "tokens")
        self.out = nn.Linear(width, patch * patch * sample.channels)
        self._draw()

    def _draw(self) -> None:
        """The published start, of this network's own layers and of no tap's; a Modulation has drawn itself."""
        for path, layer in layers_of(self.blocks):
            if not path.endswith("modulation.linear"):
                _xavier(layer)
        _xavier(self.stem)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    @abstractmethod
    def through(self, h: Tensor, emb: Tensor, signals: Signals) -> Tensor:
        """The picture's tokens h (B, N, width) and emb (B, width) through all blocks -> (B, N, width)."""

    def forward(self, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        check_size(x, self.size)
        emb = self.time(t, x.dtype)
        emb = self.embed_site(emb, signals, emb)
        h = self.input_site(self.stem(x), signals, emb) + self.positions
        h = self.through(rearrange(h, "b c h w -> b (h w) c"), emb, signals)
        shift, scale = self.modulation(emb)
        h = self.out(self.norm_site(modulate(self.norm(h), shift, scale), signals, emb))
        return rearrange(h, "b (h w) (p q c) -> b c (h p) (w q)", h=x.shape[2] // self.patch, p=self.patch, q=self.patch)

    def adaptable(self) -> Mapping[str, Adaptable]:
        """Every Linear and Conv2d by its path; an attention's fused one as `to_q`, `to_k`, `to_v`, its last as `to_out`."""
        return {name: part for path, layer in layers_of(self) for name, part in split_qkv(path, layer)}

    @classmethod
    def narrow(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same blocks, so the same sites, at a width of 16 or what the heads divide."""
        return {**options, "width": min(lcm(NARROW, options.get("heads", 6)), options.get("width", 384))}


def check_width(width: int, heads: int, mlp_ratio: float) -> None:
    """Raise ValueError unless heads and the four kinds of position divide the width, and something is hidden."""
    if width % heads:
        raise ValueError(
            f"heads is {heads}, which does not divide width {width}; the nearest width is {-(-width // heads) * heads}"
        )
    if width % 4:
        raise ValueError(
            f"width is {width}, but positions need a multiple of 4; the nearest are {width // 4 * 4} and {width // 4 * 4 + 4}"
        )
    if not round(width * mlp_ratio):
        raise ValueError(f"mlp_ratio is {mlp_ratio}, which leaves the feed-forward of width {width} no hidden channel")


def check_size(x: Tensor, size: tuple[int, int]) -> None:
    """Raise ValueError unless x (B, C, H, W) has the size that the fixed positions were made for."""
    if tuple(x.shape[2:]) != size:
        raise ValueError(
            f"the picture is {x.shape[2]} x {x.shape[3]}, but this transformer's positions are for {size[0]} x {size[1]}"
        )


def _open(mount: Mount, width: int, stride: int, name: str, kind: SiteKind, layout: Layout) -> nn.Module:
    return mount(Site(name, kind, layout, width, stride, width, keys=width if kind == "sequence" else 0))


def _xavier(layer: nn.Module) -> None:
    """Xavier-uniform as a matrix, bias zero."""
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    nn.init.xavier_uniform_(layer.weight.flatten(1))
    assert isinstance(layer.bias, torch.Tensor)
    nn.init.zeros_(layer.bias)
