"""`added_kv`: words bring keys and values of their own to self-attention (GLIDE, Nichol et al. 2021, arXiv 2112.10741, 2.3).

softmax(q(h) [k(h); k'(words)]ᵀ / √d) [v(h); v'(words)], one softmax over pixels and words. `in_context` has the backbone's own
k and v read the words; here each site has projections k' and v' for them, under diffusers' names: add_k_proj, add_v_proj.
"""

from __future__ import annotations

from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Adaptable, Joined, SequenceTap, Site, Stream, Widths, layers_of
from torch import Tensor, nn

from cdkit_injectors.inner import Inner, inside
from cdkit_injectors.masked import words_of
from cdkit_injectors.streams import only


class AddedKVTap(SequenceTap):
    """The words' keys and values, of self-attention's width A. Signal: both (B, L, A), and (B, L) if the words have a mask.

    Not the identity at birth, and it cannot be, for the reason that `in_context` gives: a softmax shares its weight of one
    among all keys. A sample with no word that counts leaves the picture's attention as it is. inner: a Linear and SiLU of that
    width read the words first.
    """

    def __init__(self, keys: int, width: int, inner: int | None = None) -> None:
        super().__init__()
        self.read = nn.Identity() if inner is None else nn.Sequential(nn.Linear(width, inner), nn.SiLU())
        self.add_k_proj = nn.Linear(inner or width, keys)
        self.add_v_proj = nn.Linear(inner or width, keys)

    def prepare(self, *streams: Stream) -> tuple[Tensor, ...]:
        tokens, mask = words_of(streams[0])
        tokens = self.read(tokens.to(self.add_k_proj.weight.dtype))
        keys_values = self.add_k_proj(tokens), self.add_v_proj(tokens)
        return keys_values if mask is None else (*keys_values, mask)

    def adaptable(self) -> dict[str, Adaptable]:
        return {name: Adaptable(layer) for name, layer in layers_of(self)}

    def forward(self, h: Tensor, signal: tuple[Tensor, ...], emb: Tensor) -> Joined:
        del emb
        keys, values, *masks = signal
        return Joined(h[:, :0], masks[0] if masks else None, keys.to(h.dtype), values.to(h.dtype))


class AddedKV:
    """Fills `sequence` sites whose self-attention takes more keys and values; reads one stream's tokens.

    inner: hidden channels between the words and their keys and values, with SiLU; none: one Linear for each. Raises ValueError
    where the stream has no tokens.
    """

    def __init__(self, streams: tuple[str, ...], widths: tuple[Widths, ...], *, inner: Inner | None = None) -> None:
        _, self.width = only("added_kv", streams, widths, "tokens")
        self.inner = inner

    def tap(self, site: Site) -> SequenceTap | None:
        if site.kind != "sequence" or not site.keys:
            return None
        return AddedKVTap(site.keys, self.width, inside(self.inner, site.name))


@hookimpl
def cdkit_injector() -> type[AddedKV]:
    return AddedKV


@hookimpl
def cdkit_trial() -> Trial:
    return Trial(exceptions={"identity": "a softmax shares its weight among all keys"})
