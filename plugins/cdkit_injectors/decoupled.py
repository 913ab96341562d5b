"""`decoupled`: every pixel asks once, the words and an image each answer (IP-Adapter, Ye et al. 2023, 2308.06721, eq. 5).

h + out(softmax(q k(words)ᵀ / √d) v(words) + scale · softmax(q k'(image)ᵀ / √d) v'(image)), with q of norm h. Its parameters
are those of `cross_attention` and, under IP-Adapter's own names, to_k_ip and to_v_ip.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Adaptable, Positive, PositiveFloat, Site, Stream, Tap, Widths, layer_normed, layers_of
from einops import rearrange
from torch import Tensor, nn

from cdkit_injectors.cross_attention import Attention, Padding
from cdkit_injectors.heads import Heads
from cdkit_injectors.inner import Inner
from cdkit_injectors.masked import attend, counts, heeded, words_of
from cdkit_injectors.streams import offers

Part: TypeAlias = tuple[Tensor, ...]  # keys and values (B, L, A), and the mask (B, L) if there is one


class DecoupledTap(Tap):
    """h (B, N, C) -> h + what the words and the image answer to norm2(h). At birth h itself: `to_out` starts at zero.

    Signal: keys, values and perhaps a mask of the words, and those of the image. A stream in which no token counts answers
    nothing; where neither has one that does, a sample keeps h.
    """

    def __init__(self, channels: int, widths: tuple[int, int], *, heads: int, padding: Padding, scale: float, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.padding: Padding = padding
        self.scale = scale
        words, image = widths
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = Attention(channels, words, inner)
        self.to_k_ip = nn.Linear(image, inner, bias=False)
        self.to_v_ip = nn.Linear(image, inner, bias=False)

    def prepare(self, *streams: Stream) -> tuple[Part, Part]:
        words, image = streams
        words = words if self.padding == "mask" else Stream(tokens=words.tokens)
        return projected(words, self.attn2.to_k, self.attn2.to_v), projected(image, self.to_k_ip, self.to_v_ip)

    def adaptable(self) -> dict[str, Adaptable]:
        """By peft's names; `to_out` is the first of a list, as in Stable Diffusion."""
        return {path.removesuffix(".0"): Adaptable(layer) for path, layer in layers_of(self)}

    def forward(self, h: Tensor, signal: tuple[Part, Part], emb: Tensor) -> Tensor:
        del emb
        query = self.attn2.to_q(layer_normed(self.norm2, h))
        words, image = (answered(query, part, self.heads) for part in signal)
        answer = self.attn2.to_out[0](words + self.scale * image).to(h.dtype)
        said = audible(signal)
        return h + answer if said is None else h + answer.masked_fill(~rearrange(said, "b 1 -> b 1 1"), 0)

    def attention(self, h: Tensor, signal: tuple[Part, Part]) -> Tensor | None:
        """To the words; the image has a softmax of its own."""
        keys, _, *masks = signal[0]
        return heeded(self.attn2.to_q(self.norm2(h)), keys, masks[0] if masks else None, heads=self.heads)


def projected(stream: Stream, to_k: nn.Linear, to_v: nn.Linear) -> Part:
    """Keys and values of a stream's tokens, with its mask."""
    tokens, mask = words_of(stream)
    tokens = tokens.to(to_k.weight.dtype)
    return (to_k(tokens), to_v(tokens)) if mask is None else (to_k(tokens), to_v(tokens), mask)


def answered(query: Tensor, part: Part, heads: int) -> Tensor:
    """One softmax: query (B, N, A) over a part's keys -> (B, N, A), zero for a sample in which no token counts."""
    keys, values, *masks = part
    if not masks:
        return attend(query, keys, values, None, heads=heads)
    answer = attend(query, keys, values, masks[0], heads=heads)
    return answer.masked_fill(~rearrange(counts(masks[0]), "b 1 -> b 1 1"), 0)


def audible(signal: tuple[Part, Part]) -> Tensor | None:
    """(B, 1) bool: does any token of either part count? None: some do in every sample, as one part has no mask."""
    masks = [mask for _, _, *rest in signal for mask in rest]
    return None if len(masks) < len(signal) else torch.stack([counts(mask) for mask in masks]).any(dim=0)


class Decoupled:
    """Fills `attend` sites; reads the tokens of two streams: words, then an image (`streams: [text, image]`).

    scale: how much the image answers beside the words; IP-Adapter trains at 1, and less of it is a weaker image. heads or
    head_dim: one of them; neither means heads of about 64 channels. padding: of the words, as for `cross_attention`; the
    image's mask is always honoured. inner: A, the width of queries, keys and values, in multiples of the heads; none: C, the
    site's own. Raises ValueError where the streams or the heads do not fit.
    """

    def __init__(
        self,
        streams: tuple[str, ...],
        widths: tuple[Widths, ...],
        *,
        scale: PositiveFloat = 1.0,
        heads: Positive | None = None,
        head_dim: Positive | None = None,
        padding: Padding = "mask",
        inner: Inner | None = None,
    ) -> None:
        self.widths = token_widths(streams, widths)
        self.heads = Heads("decoupled", heads, head_dim)
        self.padding: Padding = padding
        self.scale = scale
        self.inner = inner

    def tap(self, site: Site) -> Tap | None:
        if site.kind != "attend":
            return None
        inner, heads = self.heads.inside(self.inner, site.width, site.name)
        return DecoupledTap(site.width, self.widths, heads=heads, padding=self.padding, scale=self.scale, inner=inner)

    @classmethod
    def narrow(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """As many heads as any width allows."""
        return {name: value for name, value in options.items() if name not in ("heads", "head_dim", "inner")}


def token_widths(streams: tuple[str, ...], widths: tuple[Widths, ...]) -> tuple[int, int]:
    """The widths of both streams' tokens. ValueError where there are not two streams, or where one has no tokens."""
    if len(streams) != 2:
        given = ", ".join(repr(name) for name in streams) or "none"
        raise ValueError(
            f"decoupled reads exactly two streams, words and an image, such as [text, image]; got {len(streams)} ({given})"
        )
    words, image = (width.tokens for width in widths)
    if not (words and image):
        offered = " and ".join(f"{name!r} offers {offers(width)}" for name, width in zip(streams, widths, strict=True))
        raise ValueError(f"decoupled needs tokens of both its streams, but {offered}")
    return words, image


@hookimpl
def cdkit_injector() -> type[Decoupled]:
    return Decoupled


@hookimpl
def cdkit_trial() -> Trial:
    return Trial({"heads": 2}, streams=2)
