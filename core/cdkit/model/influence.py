"""influence: where a word acts, by leaving it out: in the picture, at which noise, and through which places of the network.

The prompt is encoded again without the word; the noisy picture is the same. What changes in the clean picture that the model
then sees is the word's doing. It asks nothing of a method but that it prepares signals, so it holds for every injector.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor
from torch.utils import _pytree as pytree

from cdkit.diffusion.random import generator
from cdkit.model.draw import by_column, text_column
from cdkit.parts import Signals

if TYPE_CHECKING:
    from cdkit.model.model import Model, Values

LEVELS = (0.2, 0.4, 0.6, 0.8)  # shares of the times of training that lie below
AT_ONCE = 128  # rows of a forward pass
HAN = "\u3400-\u9fff"
WORD = re.compile(rf"[{HAN}]|[^\s{HAN}]+")


@dataclass(frozen=True, slots=True)
class Influence:
    """Of each of W words: `maps` (W, V, H, W') at V noise levels, and the `shares` (W, P) of P places of the network.

    A map is how far the clean picture moves, in a picture's own units ([-1, 1]), averaged over its channels. A place's share is
    how far it moves, on average, where only that place hears the prompt without the word.
    """

    words: tuple[str, ...]
    levels: tuple[float, ...]
    maps: Tensor
    places: tuple[str, ...]
    shares: Tensor


def words_of(prompt: str) -> Iterator[tuple[str, str]]:
    """Every word, and the prompt without it: what stands between blanks, and each Chinese character."""
    for found in WORD.finditer(prompt):
        rest = prompt[: found.start()] + prompt[found.end() :]
        yield found[0], " ".join(rest.split())


def place_of(site: str) -> str:
    """The part of the network that a site is in: `down.1.res.0.norm1` -> `down.1`."""
    first, *rest = site.split(".")
    return f"{first}.{rest[0]}" if rest and rest[0].isdecimal() else first


@torch.inference_mode()
def influence(model: Model, values: Values, *, levels: Sequence[float] = LEVELS, seed: int = 0) -> Influence:
    """Where the words of one prompt act. values: the prompt, or one value a column; levels: in (0, 1).

    The picture is the one that the model draws of the whole prompt with this seed. A prompt of one word is compared with silence.
    """
    raw = by_column(model, values)
    column = text_column(model)
    (prompt,) = raw[column]
    said = list(words_of(prompt))
    model.eval()
    signals = told(model, raw, column, [prompt, *(rest for _, rest in said)])
    clean = drawn(model, raw, seed)
    places = tuple(dict.fromkeys(place_of(site) for site in signals))
    rows = Rows(len(said), places)
    seen = torch.stack([answers(model, clean, signals, rows, level, seed) for level in levels])
    moved = (seen[:, 1:] - seen[:, :1]).abs()
    maps = rearrange(reduce(moved[:, : len(said)], "v w c h x -> v w h x", "mean"), "v w h x -> w v h x")
    shares = reduce(moved[:, len(said) :], "v (w p) c h x -> w p", "mean", w=len(said), p=len(places))
    return Influence(tuple(word for word, _ in said), tuple(levels), maps.cpu(), places, shares.cpu())


def told(model: Model, raw: Mapping[str, Sequence[Any]], column: str, prompts: Sequence[str]) -> Signals:
    """Signals, a row a prompt; a prompt with nothing left is silence."""
    rows = {name: list(given) * len(prompts) for name, given in raw.items()} | {column: list(prompts)}
    keep = torch.tensor([bool(prompt) for prompt in prompts], device=model.device)
    silent = {name: keep for name in model.told if model.readers[name].column == column}
    streams = model.encode(rows) | {
        name: model.null(name, len(prompts)) for name in model.told if model.readers[name].column not in rows
    }
    return model.prepare(model.joined(model.silenced(streams, silent)))


def drawn(model: Model, raw: Mapping[str, Sequence[Any]], seed: int) -> Tensor:
    """What the model draws of the whole prompt, as the denoiser sees it (1, C, H, W)."""
    images = model.sample(raw, seeds=[seed]).images.to(model.device)
    return images if model.autoencoder is None else model.autoencoder.encode(images)


class Rows:
    """Which prompt every row hears, and at which place: row 0 the whole one, then each word left out everywhere, then each of
    them at one place after the other."""

    def __init__(self, words: int, places: Sequence[str]) -> None:
        self.heard: list[tuple[int, str | None]] = [(word, None) for word in range(words + 1)]
        self.heard += [(word, place) for word in range(1, words + 1) for place in places]

    def at(self, place: str) -> list[int]:
        """Whose signals the rows take at this place."""
        return [word if only in (None, place) else 0 for word, only in self.heard]


def answers(model: Model, clean: Tensor, signals: Signals, rows: Rows, level: float, seed: int) -> Tensor:
    """The clean pictures (R, C, H, W) that all rows see in one noisy picture."""
    noise = torch.randn(clean.shape, generator=generator(seed, "influence", str(level))).to(clean)
    t = model.diffusion.times(torch.full((1,), level, device=clean.device))
    x = model.diffusion.noised(clean, noise, t)
    found: list[Tensor] = []
    for start in range(0, len(rows.heard), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        n = len(rows.heard[part])
        many, times = repeat(x, "1 ... -> n ...", n=n), repeat(t, "1 -> n", n=n)
        heard = {site: taken(kept, rows.at(place_of(site))[part]) for site, kept in signals.items()}
        found.append(model.diffusion.clean(model.backbone(many, times, heard), many, times).float())
    return torch.cat(found)


def taken(signal: Any, rows: Sequence[int]) -> Any:
    """The rows of every tensor of a signal."""
    return pytree.tree_map_only(Tensor, lambda leaf: leaf[torch.tensor(rows, device=leaf.device)], signal)
