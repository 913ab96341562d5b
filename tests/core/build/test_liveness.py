"""No condition dies in silence: every way we know of severing one is caught and named; no good spec is accused.

A mutant is a real part with one edge cut: an injector whose taps are deaf, a network that drops what a site returns, an
encoder that reads everything alike. Each is mounted through the registry, as a third party's would be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.build import assemble
from cdkit.build.liveness import prove
from cdkit.errors import SpecError
from cdkit.parts import Joined, Site, Stream
from cdkit.registry import Registry
from cdkit.spec import read_spec
from torch import Tensor, nn
from wrong_taps import Deaf, Wrapped, with_taps

SPECS = Path(__file__).parents[3] / "specs"
INSTALLED = Registry.installed()
INJECTORS = {
    "cross_attention": "{use: cross_attention, streams: [text], heads: 2}",
    "film": "{use: film, streams: [text]}",
    "adaln_zero": "{use: adaln_zero, streams: [text]}",
    "adagn": "{use: adagn, streams: [text]}",
    "film_gain": "{use: film_gain, streams: [text]}",
    "adaln_single": "{use: adaln_single, streams: [text], width: 24}",
    "weights": "{use: weights, streams: [text], rank: 1}",
    "add": "{use: add, streams: [text]}",
    "concat": "{use: concat, streams: [text]}",
    "in_context": "{use: in_context, streams: [text]}",
    "added_kv": "{use: added_kv, streams: [text]}",
    "text_query": "{use: text_query, streams: [text], heads: 2}",
    "gated": "{use: gated, streams: [text], heads: 2}",
    "perceiver": "{use: perceiver, streams: [text], heads: 2, latents: 4, depth: 1}",
}
HOME = {
    "cross_attention": "attend",
    "film": "norm",
    "adaln_zero": "branch",
    "adagn": "norm",
    "film_gain": "norm",
    "adaln_single": "branch",
    "weights": "norm",
    "add": "embed",
    "concat": "input",
    "in_context": "sequence",
    "added_kv": "sequence",
}
BASE = """
cdkit: 1
name: tiny
sample: {{channels: 1, height: 8, width: 8}}
conditions:
  text: {text}
injectors:
  - {injector}
backbone: {{use: {backbone}, width: 32, mult: [1, 2], blocks: 1, attention: [1], heads: 2}}
diffusion: {{schedule: cosine, prediction: v}}
sampler: {{use: ddim}}
{more}
"""


def spec_text(
    injector: str, *, text: str = "{use: bytes, dim: 16, depth: 1, heads: 2}", backbone: str = "unet", more: str = ""
) -> str:
    return BASE.format(injector=injector, text=text, backbone=backbone, more=more)


def proof_of(tmp_path: Path, text: str, parts: Mapping[tuple[str, str], Callable[..., Any]] | None = None) -> Any:
    path = tmp_path / "tiny.yaml"
    path.write_text(text)
    spec = read_spec(path, registry=INSTALLED.extended(parts or {}))
    return prove(assemble(spec, device="meta"))


# --------------------------------------------------------------------------- injectors with an edge cut


class Muffled(Wrapped):
    """A tap that listens to a signal made of nothing but zeros."""

    def prepare(self, *streams: Stream) -> Any:
        return self.tap.prepare(*[Stream(*[None if f is None else zeros(f) for f in forms(s)]) for s in streams])


class Faint(Wrapped):
    """A tap whose stream depends on what was said, times nothing: only numbers can tell."""

    def prepare(self, *streams: Stream) -> Any:
        return self.tap.prepare(
            *[Stream(*[f if f is None or f.dtype == torch.bool else f * 0 for f in forms(s)]) for s in streams]
        )


def forms(stream: Stream) -> tuple[Tensor | None, ...]:
    return stream.tokens, stream.mask, stream.pooled, stream.spatial


def zeros(form: Tensor) -> Tensor:
    return torch.ones_like(form) if form.dtype == torch.bool else torch.zeros_like(form)


@pytest.mark.parametrize("name", INJECTORS)
def test_a_good_spec_is_proved_alive(tmp_path: Path, name: str) -> None:
    proof = proof_of(tmp_path, spec_text(INJECTORS[name]))
    assert proof.through == {"text": (name,)}
    assert proof.probed
    assert proof.effects[name] > 1e-6


@pytest.mark.parametrize("mutant", [Deaf, Muffled, Faint])
@pytest.mark.parametrize("name", INJECTORS)
def test_a_deaf_injector_is_caught(tmp_path: Path, name: str, mutant: type[Wrapped]) -> None:
    text = spec_text(INJECTORS[name].replace(f"use: {name}", "use: cut, name: cut"))
    with pytest.raises(
        SpecError, match=r"tiny\.yaml:6:9: conditions\.text: what it says cannot reach the output through 'cut'"
    ) as caught:
        proof_of(tmp_path, text, {("injector", "cut"): with_taps(INSTALLED.get("injector", name), mutant)})
    assert {Deaf: "signal", Muffled: "prepare", Faint: "prepare"}[mutant] in str(caught.value)


# --------------------------------------------------------------------------- networks with an edge cut


class Dropped(nn.Module):
    """A place whose slot is called, and whose answer is thrown away."""

    def __init__(self, slot: nn.Module) -> None:
        super().__init__()
        self.slot = slot

    def forward(self, h: Tensor, signals: Any, emb: Tensor) -> Any:
        out = self.slot(h, signals, emb)
        return Joined(h) if isinstance(out, Joined) else h


class Uncalled(Dropped):
    """A place that is opened, and never asked."""

    def forward(self, h: Tensor, signals: Any, emb: Tensor) -> Any:
        del signals, emb
        return Joined(h) if type(self.slot).__name__ == "SequenceSlot" else h


def deaf_network(kind: str, mutant: type[Dropped]) -> Callable[..., Any]:
    """The real U-Net, with the slots of one kind of site wrapped in the mutant."""
    real = INSTALLED.get("backbone", "unet")

    class Deafened(real):
        def __init__(self, mount: Any, sample: Any, **options: Any) -> None:
            def deaf(site: Site) -> nn.Module:
                return mutant(mount(site)) if site.kind in (kind, "norm" if kind == "branch" else kind) else mount(site)

            super().__init__(deaf, sample, **options)

    Deafened.__init__.__annotations__ = dict(real.__init__.__annotations__)
    Deafened.__init__.__signature__ = __import__("inspect").signature(real.__init__)
    return Deafened


@pytest.mark.parametrize("mutant", [Dropped, Uncalled])
@pytest.mark.parametrize("name", HOME)
def test_a_network_that_drops_a_place_is_caught(tmp_path: Path, name: str, mutant: type[Dropped]) -> None:
    parts = {("backbone", "deafened"): deaf_network(HOME[name], mutant)}
    with pytest.raises(SpecError, match=r"cannot reach the output") as caught:
        proof_of(tmp_path, spec_text(INJECTORS[name], backbone="deafened"), parts)
    said = {Dropped: "the backbone drops what the site returns", Uncalled: "never calls its site"}
    assert said[mutant] in str(caught.value)


def nothing_drawn() -> Callable[..., Any]:
    """The real U-Net, whose output is multiplied by nothing: only numbers can tell."""
    real = INSTALLED.get("backbone", "unet")

    class Mute(real):
        def forward(self, x: Tensor, t: Tensor, signals: Any) -> Tensor:
            return super().forward(x, t, signals) * 0 + x

    return Mute


def test_an_output_times_nothing_is_caught(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="draw the same, with every zero gate opened"):
        proof_of(tmp_path, spec_text(INJECTORS["film"], backbone="mute"), {("backbone", "mute"): nothing_drawn()})


# --------------------------------------------------------------------------- encoders that read everything alike


def illiterate(name: str, change: Callable[[Any], Any]) -> Callable[..., Any]:
    """The real encoder, told something else than was said."""
    real = INSTALLED.get("encoder", name)

    class Illiterate(real):
        def forward(self, raw: Any) -> Stream:
            return super().forward([change(value) for value in raw])

    return Illiterate


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda _: "", "reads two different examples alike"),
        (lambda _: "a cat", "reads two different examples alike"),
        (lambda value: "x" * len(value), "reads two different examples alike"),
    ],
    ids=["empty", "constant", "length"],
)
def test_an_encoder_that_ignores_what_is_said_is_caught(tmp_path: Path, change: Callable[[Any], Any], why: str) -> None:
    text = spec_text(INJECTORS["film"], text="{use: illiterate, dim: 16, depth: 1, heads: 2}")
    with pytest.raises(SpecError, match=why):
        proof_of(tmp_path, text, {("encoder", "illiterate"): illiterate("bytes", change)})


def test_a_label_that_is_always_the_first_is_caught(tmp_path: Path) -> None:
    text = spec_text("{use: add, streams: [text]}", text="{use: illiterate, names: [cat, dog]}")
    with pytest.raises(SpecError, match="reads two different examples alike"):
        proof_of(tmp_path, text, {("encoder", "illiterate"): illiterate("label", lambda _: "cat")})


# --------------------------------------------------------------------------- specs that silence their own conditions


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (spec_text(INJECTORS["film"], text="{use: bytes, dropout: 1.0}"), "its dropout is 1, so training never tells it"),
        (spec_text(INJECTORS["film"], more="guidance: {use: cfg, scale: 0.0}"), "never lets it count"),
        (spec_text("{use: film, streams: [text], sites: [nowhere.*]}"), r"'nowhere\.\*' matches no site of unet"),
        (spec_text("{use: film, streams: [text], sites: [embed]}"), "finds no site|matches no site"),
        (spec_text("{use: film, streams: [txet]}"), "did you mean 'text'"),
        (spec_text("{use: film, streams: []}"), "streams"),
        (spec_text(INJECTORS["film"]).replace("injectors:\n  - {use: film, streams: [text]}", "injectors: []"), "text"),
        (spec_text(INJECTORS["cross_attention"], text="{use: size, count: 2}"), "tokens"),
    ],
    ids=["dropout", "guidance", "pattern", "no_site", "misspelt", "no_stream", "unread", "wrong_form"],
)
def test_a_spec_that_silences_its_condition_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        proof_of(tmp_path, text)


def test_two_injectors_are_proved_one_by_one(tmp_path: Path) -> None:
    """A deaf injector is caught although a good one beside it carries the same condition."""
    text = spec_text("{use: film, streams: [text]}\n  - {use: cut, name: cut, streams: [text]}")
    with pytest.raises(SpecError, match="through 'cut'"):
        proof_of(tmp_path, text, {("injector", "cut"): with_taps(INSTALLED.get("injector", "add"), Deaf)})


# --------------------------------------------------------------------------- no false alarm


@pytest.mark.parametrize("path", sorted(SPECS.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_shipped_spec_is_accused(path: Path) -> None:
    spec = read_spec(path)
    proof = prove(assemble(spec, device="meta"))
    assert set(proof.through) == {name for name, condition in spec.conditions.items() if not condition.of}
    assert proof.probed
