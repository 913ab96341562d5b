"""check_backbone: everything that a denoising network owes to the methods that will be mounted on it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cdkit.parts import Backbone, Joined, SampleShape, Signals, Site
from cdkit.testing.adaptable import require_heard
from cdkit.testing.case import TINY, BackboneFactory, open_zeros
from cdkit.testing.elsewhere import require_at_home, require_copies, require_layout, require_whole_graph
from cdkit.testing.mounting import Slot
from cdkit.testing.verdict import require, require_apart, require_close, require_equal, run

FORBIDDEN = "a site's slot must be called, and what it returns must be used"
NOTHING: Signals = {}
SEQUENCE_EXTRA = 3  # tokens that a check joins at a `sequence` site


@dataclass(frozen=True, slots=True)
class BackboneCase:
    """A network's factory, called factory(mount, sample) with its options bound, and a sample's shape that suits it."""

    factory: BackboneFactory
    sample: SampleShape = TINY

    def made(self, dtype: torch.dtype = torch.float64) -> tuple[Backbone, Probes]:
        """A network drawn from a seed, no parameter of it zero, and the slots that it asked for."""
        probes = Probes()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = self.factory(probes, self.sample).to(dtype).eval()
        open_zeros(network, taps=True)
        return network, probes

    def born(self) -> Backbone:
        """A network as it is made, with nothing mounted: on the meta device under `torch.device("meta")`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.factory(Bare(), self.sample).eval()

    def noisy(self, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        draws = torch.Generator().manual_seed(0)
        return torch.randn((3, *self.sample), generator=draws, dtype=torch.float64).to(dtype), torch.tensor([10.0, 500.0, 990.0])

    def drawn(self, network: Backbone) -> Tensor:
        with torch.no_grad():
            return network(*self.noisy(next(network.parameters()).dtype), {})


class Probe(nn.Module):
    """A slot that notes how it was called and adds `push` to h, or three tokens of that size at a `sequence` site.

    `projected`: instead of the tokens, three keys and values, all different, of the width that the site declares.
    """

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site, self.push = site, 0.0
        self.calls: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        self.masked = self.projected = False

    def forward(self, h: Tensor, signals: Signals, emb: Tensor) -> Tensor | Joined:
        del signals
        self.calls.append((tuple(h.shape), tuple(emb.shape)))
        if self.site.kind != "sequence":
            return h + self.push * torch.linspace(0, 1, self.site.width, dtype=h.dtype).view(-1, *[1] * (h.dim() == 4) * 2)
        if not self.push:
            return Joined(h)
        mask = torch.ones(len(h), h.shape[1] + SEQUENCE_EXTRA, dtype=torch.bool)
        mask[:, h.shape[1] :] = not self.masked
        if self.projected:
            keys = self.push * torch.randn((len(h), SEQUENCE_EXTRA, self.site.keys), generator=torch.Generator().manual_seed(3))
            return Joined(h, mask, keys.to(h.dtype), keys.flip(1).to(h.dtype))
        extra = self.push * torch.linspace(0, 1, self.site.width, dtype=h.dtype).expand(len(h), SEQUENCE_EXTRA, -1)
        return Joined(torch.cat([h, extra], dim=1), mask)


class Probes:
    """A Mount of probes, by site name."""

    def __init__(self) -> None:
        self.slots: dict[str, Probe] = {}

    def __call__(self, site: Site) -> nn.Module:
        require("sites", site.name not in self.slots, f"sites named {site.name!r}", measured="two", allowed="one")
        return self.slots.setdefault(site.name, Probe(site))


class Bare:
    """A Mount with nothing on it."""

    def __call__(self, site: Site) -> nn.Module:
        return Slot(site, {})


def check_sites(case: BackboneCase) -> None:
    """Every site is called once, with h and emb of the shapes that it declares; there is at least one."""
    network, probes = case.made()
    case.drawn(network)
    require("sites", bool(probes.slots), "sites", measured=0, allowed="at least 1")
    for name, probe in probes.slots.items():
        site = probe.site
        require(
            "sites", len(probe.calls) == 1, f"calls of the slot at {name} in one forward", measured=len(probe.calls), allowed=1
        )
        h, emb = probe.calls[0]
        rows = {"map": 4, "tokens": 3, "vector": 2}[site.layout]
        fits = len(h) == rows and h[0] == 3 and h[1 if site.layout == "map" else -1] == site.width
        require("sites", fits, f"h at {name}", measured=h, allowed=f"{site.layout} of width {site.width}")
        require("sites", emb == (3, site.embedding), f"emb at {name}", measured=emb, allowed=(3, site.embedding))


def check_heard(case: BackboneCase) -> None:
    """What each site returns reaches the output; what is joined at a `sequence` site too, unless it is masked."""
    network, probes = case.made()
    plain = case.drawn(network)
    for name, probe in probes.slots.items():
        probe.push = 1.0
        require_apart("heard", case.drawn(network), plain, 1e-9, f"{name} returns something else; {FORBIDDEN}")
        if probe.site.kind == "sequence":
            _joined_heard(case, network, probe, plain)
        probe.push = 0.0


def _joined_heard(case: BackboneCase, network: Backbone, probe: Probe, plain: Tensor) -> None:
    """Masked tokens are not heard; keys and values are, where the site declares that it takes them, unless masked."""
    name = probe.site.name
    probe.masked = True
    require_close("heard", case.drawn(network), plain, 1e-12, f"{name} joins masked tokens")
    if probe.site.keys:
        probe.projected = True
        require_close("heard", case.drawn(network), plain, 1e-12, f"{name} joins masked keys and values")
        probe.masked = False
        require_apart("heard", case.drawn(network), plain, 1e-9, f"{name} joins keys and values; {FORBIDDEN}")


def check_shape(case: BackboneCase) -> None:
    """The output has x's shape and dtype and is finite, in float32, float64 and bfloat16."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        out = case.drawn(case.made(dtype)[0])
        measured = (tuple(out.shape), out.dtype, bool(out.isfinite().all()))
        require(
            "shape",
            measured == ((3, *case.sample), dtype, True),
            "shape, dtype, finite",
            measured=measured,
            allowed=(case.sample, dtype),
        )


def check_time(case: BackboneCase) -> None:
    """Another time step gives another output, and x too, sample by sample."""
    network, _ = case.made()
    x, t = case.noisy()
    with torch.no_grad():
        plain = network(x, t, {})
        require_apart("time", network(x, t.flip(0), {}), plain, 1e-9, "another time step")
        order = torch.tensor([1, 0, 2])
        require_close("time", network(x[order], t[order], {}), plain[order], 1e-12, "samples in another order")


def check_seeded(case: BackboneCase) -> None:
    """Drawn twice from one seed it is the same network, and a new one has the same sites in the same order."""
    first, probes = case.made()
    second, again = case.made()
    for name, value in first.state_dict().items():
        require_equal("seeded", second.state_dict()[name], value, f"{name}, drawn again from the same seed")
    same = [p.site for p in probes.slots.values()] == [p.site for p in again.slots.values()]
    require("seeded", same, "sites of a second network", measured="other sites", allowed="the same, in order")


def check_adaptable(case: BackboneCase) -> None:
    """Every layer that it declares adaptable is called, so that a LoRA's correction of it is heard; it may declare none.

    With tokens joined at every `sequence` site: a network may have layers for those alone.
    """
    network, probes = case.made()
    for probe in probes.slots.values():
        probe.push = float(probe.site.kind == "sequence")
    require_heard("adaptable", network.adaptable(), lambda: case.drawn(network))


def check_meta(case: BackboneCase) -> None:
    """Made on the meta device it has the weights that it has on the CPU, and no numbers: so `cdkit build` lays out."""
    require_layout(case.born)


def check_devices(case: BackboneCase) -> None:
    """Moved to another device it computes there: every tensor that it keeps is a parameter or a buffer."""
    network, given = case.born(), case.noisy(torch.float32)
    require_at_home(lambda device: copy.deepcopy(network).to(device)(*(value.to(device) for value in given), NOTHING))


def check_copies(case: BackboneCase) -> None:
    """A deep copy (an average of weights) and a pickled copy (another process) draw the same, bit for bit."""
    require_copies(case.born(), case.drawn)


def check_compile(case: BackboneCase) -> None:
    """torch.compile(fullgraph=True) takes it as one graph."""
    require_whole_graph(case.born(), lambda network: network(*case.noisy(torch.float32), NOTHING).detach())


BACKBONE_CHECKS: Mapping[str, Callable[[BackboneCase], None]] = {
    "sites": check_sites,
    "heard": check_heard,
    "shape": check_shape,
    "time": check_time,
    "seeded": check_seeded,
    "adaptable": check_adaptable,
    "meta": check_meta,
    "copies": check_copies,
    "devices": check_devices,
    "compile": check_compile,
}


def check_backbone(factory: BackboneFactory, *, sample: SampleShape = TINY, exceptions: Mapping[str, str] | None = None) -> None:
    """Run every check on a network: `factory(mount, sample)`, its options bound with functools.partial. Keep it small."""
    run(BACKBONE_CHECKS, BackboneCase(factory, sample), exceptions or {})
