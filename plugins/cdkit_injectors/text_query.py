"""`text_query`: every word asks, every pixel answers; the mirror image of `cross_attention`.

What the words found in the picture is averaged and scales and shifts all of it. It is here to be compared: which word an
answer belongs to, and where in the picture, is lost in the average.
"""

from __future__ import annotations

from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Adaptable, Stream, Tap, layers_of
from einops import rearrange
from torch import Tensor, nn

from cdkit_injectors.attending import Attending
from cdkit_injectors.masked import attend, counts, mean, words_of
from cdkit_injectors.modulation import modulate, silent_linear


class TextQueryTap(Tap):
    """h (B, N, C) -> h (1 + scale) + shift, of the words' mean answer. At birth h itself: `to_out` starts at zero.

    Queries from the words (D), keys and values from norm(h). Signal: queries (B, L, A), and the mask (B, L) if there is one.
    A sample with no word that counts keeps h.
    """

    def __init__(self, channels: int, width: int, *, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_k = nn.Linear(channels, inner, bias=False)
        self.to_v = nn.Linear(channels, inner, bias=False)
        self.to_out = silent_linear(inner, 2 * channels)

    def prepare(self, *streams: Stream) -> tuple[Tensor, ...]:
        tokens, mask = words_of(streams[0])
        queries = self.to_q(tokens.to(self.to_q.weight.dtype))
        return (queries,) if mask is None else (queries, mask)

    def adaptable(self) -> dict[str, Adaptable]:
        return {name: Adaptable(layer) for name, layer in layers_of(self)}

    def forward(self, h: Tensor, signal: tuple[Tensor, ...], emb: Tensor) -> Tensor:
        del emb
        queries, *masks = signal
        mask = masks[0] if masks else None
        normed = self.norm(h)
        answers = attend(queries, self.to_k(normed), self.to_v(normed), None, heads=self.heads)
        told = self.to_out(mean(answers, mask))
        told = told if mask is None else told.masked_fill(~counts(mask), 0)
        scale, shift = rearrange(told, "b (two c) -> two b 1 c", two=2)
        return modulate(h, scale, shift)


class TextQuery(Attending):
    """Fills `attend` sites; reads one stream's tokens.

    heads or head_dim: one of them; neither means heads of about 64 channels. inner: A, the width of queries, keys and values,
    in multiples of the heads; none: C, the site's own. Raises ValueError where the stream or the heads
    do not fit.
    """

    method = "text_query"

    def made(self, channels: int, *, heads: int, inner: int) -> Tap:
        return TextQueryTap(channels, self.width, heads=heads, inner=inner)


@hookimpl
def cdkit_injector() -> type[TextQuery]:
    return TextQuery


@hookimpl
def cdkit_trial() -> Trial:
    return Trial({"heads": 2})
