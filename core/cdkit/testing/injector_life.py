"""Checks of an injector: it finds a place, starts as nothing, can learn, and what it is told matters."""

from __future__ import annotations

import torch

from cdkit.parts import Joined, Site
from cdkit.testing.case import InjectorCase
from cdkit.testing.verdict import require, require_apart, require_equal

MATTERS = 1e-6  # least share of the output's size that another stream must change


def check_place(case: InjectorCase) -> None:
    """Every injector takes at least one site of the network."""
    slots = case.mounted().slots
    for name in case.factories:
        taken = [site for site, slot in slots.items() if name in slot.taps]
        require("place", bool(taken), f"{name} must take a site of {', '.join(slots)}", measured=0, allowed=">= 1")


def check_backbone(case: InjectorCase) -> None:
    """The network's own weights are bit-equal with and without the injector."""
    own = case.bare().mounted(dtype=torch.float32).network.state_dict()
    mounted = case.mounted(dtype=torch.float32).network.state_dict()
    for name, value in own.items():
        require_equal("backbone", mounted[name], value, f"the network's weight {name}, with the injector mounted")


def check_identity(case: InjectorCase) -> None:
    """New, it changes no bit of what the network draws."""
    expected = case.bare().mounted(dtype=torch.float32)([])
    found = case.mounted(opened=False, dtype=torch.float32)(case.streams())
    require_equal("identity", found, expected, "what the network draws with the new injector mounted")


def check_learns(case: InjectorCase) -> None:
    """New, it has a gradient; one step of descent later, what it is told shows."""
    mounted = case.mounted(opened=False)
    first, second = case.streams(), case.streams(1)
    mounted(first).square().mean().backward()
    gradients = {name: value.grad for name, value in mounted.taps.items() if value.grad is not None}
    size = max((float(gradient.abs().max()) for gradient in gradients.values()), default=0.0)
    require("learns", size > 0, "the largest gradient of any of its parameters at birth", measured=size, allowed="more than 0")
    with torch.no_grad():
        for value in mounted.taps.values():
            value -= (0 if value.grad is None else value.grad) / size
        require_apart("learns", mounted(first), mounted(second), MATTERS, "told otherwise after one step of descent")


def check_matters(case: InjectorCase) -> None:
    """With its gates open, other streams give another output: each stream by itself, for every sample."""
    _told_otherwise("matters", case, "anywhere")


def check_everywhere(case: InjectorCase) -> None:
    """The same at each of its sites, with nothing mounted at the others."""
    for site in case.mounted().filled:
        _told_otherwise("everywhere", case.at(site), f"at {site}")


def _told_otherwise(check: str, case: InjectorCase, where: str) -> None:
    first, second = case.streams(), case.streams(1)
    mounted = case.mounted()
    with torch.no_grad():
        plain = mounted(first)
        for i, name in enumerate(case.names):
            found = mounted([second[j] if i == j else stream for j, stream in enumerate(first)])
            for sample in range(len(plain)):
                what = f"sample {sample}, told another {name} {where}"
                require_apart(check, found[sample], plain[sample], MATTERS, what)


def check_shapes(case: InjectorCase) -> None:
    """A tap returns h's shape and dtype; a sequence tap tokens of h's width, or keys and values of the site's; masks are bool."""
    for dtype in (torch.float32, torch.bfloat16):
        mounted = case.mounted(dtype=dtype)
        signals = mounted.prepare(case.streams())
        for site in mounted.filled:
            slot = mounted.slots[site]
            h = _features(slot.site.layout, slot.site.width, slot.site.stride, case).to(dtype)
            emb = torch.ones(len(h), slot.site.embedding, dtype=dtype)
            for name, tap in slot.taps.items():
                out = tap(h, signals[site][name], emb)
                _require_shape(out, h, slot.site, f"{name} at {site}")


def _require_shape(out: torch.Tensor | Joined, h: torch.Tensor, site: Site, what: str) -> None:
    if isinstance(out, Joined):
        _require_joined(out, h, site, what)
        return
    require(
        "shapes",
        out.shape == h.shape and out.dtype == h.dtype,
        what,
        measured=(out.dtype, tuple(out.shape)),
        allowed=(h.dtype, tuple(h.shape)),
    )


def _require_joined(out: Joined, h: torch.Tensor, site: Site, what: str) -> None:
    tokens, projected = out.tokens, [part for part in (out.keys, out.values) if part is not None]
    fits = tokens.shape[::2] == h.shape[::2] and tokens.dtype == h.dtype
    fits = fits and all(part.shape[::2] == (len(h), site.keys) and part.dtype == h.dtype for part in projected)
    rows = tokens.shape[1] + (projected[0].shape[1] if projected else 0)
    fits = fits and len(projected) in (0, 2) and len({part.shape[1] for part in projected}) <= 1
    fits = fits and (out.mask is None or (out.mask.dtype == torch.bool and out.mask.shape == (len(h), rows)))
    measured = [(part.dtype, tuple(part.shape)) for part in (tokens, *projected)]
    allowed = (h.dtype, "(B, any, C)", f"keys and values (B, any, {site.keys})", "bool mask over all")
    require("shapes", fits, what, measured=measured, allowed=allowed)


def _features(layout: str, width: int, stride: int, case: InjectorCase) -> torch.Tensor:
    rows, columns = case.sample.height // stride, case.sample.width // stride
    shape = {"map": (width, rows, columns), "tokens": (rows * columns, width), "vector": (width,)}[layout]
    return torch.randn((3, *shape), generator=torch.Generator().manual_seed(2))
