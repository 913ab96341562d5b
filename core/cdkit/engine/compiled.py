"""compiled: a backbone by torch.compile in training, whole or block by block; what was compiled is there for the next process.

Blocks of one class and one shape are compiled once: what tells them apart is the names of their sites, so within a block signals
go by the place of their site. A network of fifty blocks is then a dozen small graphs instead of one large one.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Literal

import torch
from torch import nn

from cdkit.cache import cache_folder
from cdkit.engine.blocks import blocks_of, slots_in
from cdkit.parts import Signals

PLACE = "TORCHINDUCTOR_CACHE_DIR"
KINDS = 64  # of one class of blocks; torch gives up at 8, and Stable Diffusion's residual blocks have 14 shapes

Backend = str | Callable[..., Any]


def compiled(backbone: nn.Module, how: Literal["regional", "whole"], backend: Backend = "inductor") -> None:
    """From here on it is compiled when it is first called in training, for each shape it meets."""
    keep(str(cache_folder() / "compiled"))
    if how == "whole":
        backbone.compile(dynamic=False, backend=backend)
        return
    torch._dynamo.config.recompile_limit = max(KINDS, torch._dynamo.config.recompile_limit)  # pyright: ignore
    sites = frozenset(slot.site.name for slot in slots_in(backbone))
    for block in blocks_of(backbone)[0]:
        block.forward = Alike(block, torch.compile(block.forward, dynamic=False, backend=backend), sites)


def keep(folder: str) -> None:
    """Where torch looks from now on, unless the environment says another place than torch's own, which it writes there itself.

    Not in a folder with a blank in its name, at which the C++ compiler's command line would be cut.
    """
    said = Path(os.environ.get(PLACE, gettempdir() + "/torchinductor_"))
    torchs = said.parent == Path(gettempdir()) and said.name.startswith("torchinductor_")
    if torchs and folder.split() == [folder]:
        os.environ[PLACE] = folder


@contextmanager
def undisturbed() -> Generator[None]:
    """While it lasts, a training says nothing of what torch looks at when it compiles a block between others."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed")
        yield


class Alike:
    """A block's forward, compiled for training, with signals by the place of their site in the block and not by its name.

    sites: all that the backbone has, by which signals are known among what a block is handed.
    """

    def __init__(self, block: nn.Module, fast: Callable[..., Any], sites: frozenset[str]) -> None:
        self._block, self._ordinary, self._fast, self._sites = block, block.forward, fast, sites
        self._slots = list(slots_in(block))
        for place, slot in enumerate(self._slots):
            slot.key = str(place)

    def __call__(self, *inputs: Any) -> Any:
        forward = self._fast if self._block.training else self._ordinary  # grids of samples have shapes of their own
        if not any(map(self._are_signals, inputs)):
            self._as_they_were()
        return forward(*[self._by_place(one) if self._are_signals(one) else one for one in inputs])

    def _are_signals(self, handed: Any) -> bool:
        return isinstance(handed, Mapping) and handed.keys() <= self._sites

    def _by_place(self, signals: Signals) -> Signals:
        return {slot.key: signals[slot.site.name] for slot in self._slots if slot.site.name in signals}

    def _as_they_were(self) -> None:
        """For a block that is not handed its signals as they are: each is compiled by itself then."""
        for slot in self._slots:
            slot.key = slot.site.name
