"""Pass: what is done to a map between two skips; and Below: all that lies below a skip, pass within pass."""

from __future__ import annotations

from cdkit.parts import Signals
from torch import Tensor, nn

from cdkit_unet.moment import Moment
from cdkit_unet.rows import beside


class Pass(nn.Module):
    """A residual block and a transformer, or a change of resolution, or both: h, and a skip on the way up, -> h. Its weights are
    those of a level."""

    def __init__(self, res: nn.Module | None = None, attn: nn.Module | None = None, resample: nn.Module | None = None) -> None:
        super().__init__()
        self.blocks = () if res is None or attn is None else ((res, attn),)  # tuples: the weights are registered there
        self.resample = () if resample is None else (resample,)

    def forward(self, h: Tensor, moment: Moment, signals: Signals, skip: Tensor | None = None) -> Tensor:
        for res, attn in self.blocks:
            h = attn(res(h, moment, signals, beside(skip, h)), moment.emb, signals)
        for change in self.resample:
            h = change(h)
        return h


class Bottom(nn.Module):
    """The lowest resolution: a skip -> what comes up to be joined to it, of the same size."""

    def __init__(self, mid: nn.Module, site: nn.Module) -> None:
        super().__init__()
        self.parts = mid, site

    def forward(self, skip: Tensor, moment: Moment, signals: Signals) -> Tensor:
        mid, site = self.parts
        return site(mid(skip, moment, signals), signals, moment.emb)


class Below(nn.Module):
    """The same above it: the pass down, all that lies below what it makes, the two joined, and the pass up."""

    def __init__(self, down: Pass, below: nn.Module, site: nn.Module, up: Pass) -> None:
        super().__init__()
        self.parts = down, below, site, up

    def forward(self, skip: Tensor, moment: Moment, signals: Signals) -> Tensor:
        down, below, site, up = self.parts
        made = down(skip, moment, signals)
        return up(below(made, moment, signals), moment, signals, site(made, signals, moment.emb))
