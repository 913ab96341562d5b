"""U-Net tensors by two names: ours, which follow the sites, and diffusers'.

A tap's name holds the name that its injector has in a spec, so a translation needs to know those: `Methods`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

TOP = {
    "time.linear1": "time_embedding.linear_1",
    "time.linear2": "time_embedding.linear_2",
    "stem": "conv_in",
    "norm": "conv_norm_out",
    "out": "conv_out",
}
KINDS = {"res": "resnets", "attn": "attentions", "downsample": "downsamplers", "upsample": "upsamplers"}
RESNET = {"time": "time_emb_proj", "shortcut": "conv_shortcut"}
BLOCK = {"attn1.to_out": "attn1.to_out.0", "ff.proj": "ff.net.0.proj", "ff.out": "ff.net.2"}
OURS = re.compile(r"(?:(down|up)\.(\d+)|(mid))\.(res|attn|downsample|upsample)\.(\d+)\.(.+)")
THEIRS = re.compile(r"(?:(down|up)_blocks\.(\d+)|(mid)_block)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")


class Methods(NamedTuple):
    """What a spec calls the injectors whose taps hold Stable Diffusion's tensors."""

    words: str = "cross_attention"
    added: str = "add"
    channels: str = "concat"


PLAIN = Methods()


class UnknownName(ValueError):
    """A tensor that is no part of a Stable Diffusion U-Net."""


def to_diffusers(name: str, methods: Methods = PLAIN) -> str:
    """Ours -> theirs. UnknownName for a tensor that theirs do not have."""
    return _translated(name, _top(methods), _block(methods), OURS, theirs=True)


def from_diffusers(name: str, methods: Methods = PLAIN) -> str:
    """Theirs -> ours. UnknownName for a tensor that ours do not have."""
    return _translated(name, _turned(_top(methods)), _turned(_block(methods)), THEIRS, theirs=False)


def _translated(name: str, top: dict[str, str], block: dict[str, str], pattern: re.Pattern[str], *, theirs: bool) -> str:
    stem, _, last = name.rpartition(".")
    if stem in top:
        return f"{top[stem]}.{last}"
    found = pattern.fullmatch(name)
    if found is None:
        raise UnknownName(name)
    half, level, mid, kind, place, inner = found.groups()
    kinds, resnet = (KINDS, RESNET) if theirs else (_turned(KINDS), _turned(RESNET))
    where = _where(half, level, mid, theirs=theirs)
    return f"{where}.{kinds[kind]}.{place}.{_inner(inner, resnet, block, theirs=theirs)}"


def _where(half: str | None, level: str | None, mid: str | None, *, theirs: bool) -> str:
    if mid:
        return "mid_block" if theirs else "mid"
    return f"{half}_blocks.{level}" if theirs else f"{half}.{level}"


def _inner(inner: str, resnet: dict[str, str], block: dict[str, str], *, theirs: bool) -> str:
    """What stands within a residual block or a transformer."""
    before, after = ("blocks", "transformer_blocks") if theirs else ("transformer_blocks", "blocks")
    found = re.fullmatch(rf"{before}\.(\d+)\.(.+)\.(weight|bias)", inner)
    if found:
        number, part, last = found.groups()
        return f"{after}.{number}.{block.get(part, part)}.{last}"
    part, _, last = inner.rpartition(".")
    return f"{resnet.get(part, part)}.{last}"


def _top(methods: Methods) -> dict[str, str]:
    project = f"embed_site.taps.{methods.added}.project"
    return {**TOP, f"{project}.0": "add_embedding.linear_1", f"{project}.2": "add_embedding.linear_2"}


def _block(methods: Methods) -> dict[str, str]:
    tap = f"attend.taps.{methods.words}"
    taps = {f"{tap}.{part}": part for part in ("norm2", "attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0")}
    return {**BLOCK, **taps}


def _turned(names: dict[str, str]) -> dict[str, str]:
    return {theirs: ours for ours, theirs in names.items()}
