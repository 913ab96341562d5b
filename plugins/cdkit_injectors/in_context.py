"""`in_context`: words stand among the picture's own tokens, and self-attention reads both (Peebles and Xie 2023, 2212.09748)."""

from __future__ import annotations

from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Adaptable, Joined, SequenceTap, Site, Stream, Widths, layers_of
from torch import Tensor, nn

from cdkit_injectors.inner import Inner, inside
from cdkit_injectors.masked import words_of
from cdkit_injectors.streams import only


class InContextTap(SequenceTap):
    """The words, normalised and projected to h's width, with their mask. Signal: (B, L, C), and (B, L) if they have a mask.

    Not the identity at birth, and it cannot be: a softmax shares its weight of one among all keys, so a word that can be
    heard at all takes some from the picture, even if its key and value are zero. Only a masked word takes none, and a mask
    does not learn. A sample with no word that counts leaves the picture's attention as it is.
    """

    def __init__(self, channels: int, width: int, inner: int | None = None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.read = nn.Identity() if inner is None else nn.Sequential(nn.Linear(width, inner), nn.SiLU())
        self.project = nn.Linear(inner or width, channels)

    def prepare(self, *streams: Stream) -> tuple[Tensor, ...]:
        tokens, mask = words_of(streams[0])
        words = self.project(self.read(self.norm(tokens.to(self.project.weight.dtype))))
        return (words,) if mask is None else (words, mask)

    def adaptable(self) -> dict[str, Adaptable]:
        return {name: Adaptable(layer) for name, layer in layers_of(self)}

    def forward(self, h: Tensor, signal: tuple[Tensor, ...], emb: Tensor) -> Joined:
        del emb
        words, *masks = signal
        return Joined(words.to(h.dtype), masks[0] if masks else None)


class InContext:
    """Fills `sequence` sites; reads one stream's tokens. Raises ValueError where it has none.

    inner: hidden channels between a word and what it becomes, with SiLU; none: one Linear.
    """

    def __init__(self, streams: tuple[str, ...], widths: tuple[Widths, ...], *, inner: Inner | None = None) -> None:
        _, self.width = only("in_context", streams, widths, "tokens")
        self.inner = inner

    def tap(self, site: Site) -> SequenceTap | None:
        if site.kind != "sequence":
            return None
        return InContextTap(site.width, self.width, inside(self.inner, site.name))


@hookimpl
def cdkit_injector() -> type[InContext]:
    return InContext


@hookimpl
def cdkit_trial() -> Trial:
    return Trial(exceptions={"identity": "a softmax shares its weight among all keys"})
