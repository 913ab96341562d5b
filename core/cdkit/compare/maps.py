"""maps: where each word acts, as the report's page shows it: a row a word, a column a noise level, and bars by kind of site."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from cdkit.compare.acting import maps_of
from cdkit.compare.embed import data
from cdkit.model.pixels import png_uri, to_picture

PICTURE = 100_000  # bytes of the one that the maps are of
BRIGHTEST = 0.99  # the share of all pixels, of all arms, that the scale does not clip
NOTHING = "<p>No arm hears a prompt of which a word could be left out.</p>"


def words(acting: Mapping[str, Mapping[str, Any]], folder: Path) -> str:
    """The section. acting: what was measured, by arm; its maps lie in the comparison's folder."""
    maps = {arm: maps_of(folder / told["kept"], dict(told)) for arm, told in acting.items() if "why" not in told}
    top = scale(maps.values()) if maps else 0.0
    shown = [heard(arm, told, maps[arm], top, folder) if arm in maps else silent(arm, told) for arm, told in acting.items()]
    return (about(top) if maps else NOTHING) + "".join(shown)


def scale(maps: Any) -> float:
    """What is white in every arm's maps."""
    values = torch.cat([found.flatten() for found in maps])
    return float(values.sort().values[int(BRIGHTEST * (len(values) - 1))]) or float(values.max()) or 1.0


def about(top: float) -> str:
    return (
        "<p>Each model hears the prompt again without one word, at the same noise, on the picture that it drew itself. The maps "
        "show how far that moves what it takes for the clean picture, from much noise to little (σ). One scale for all of "
        f"them: black is no change, white is {top:.2g} and more, where the picture's values span -1 to 1. The bars say how far "
        "it moves, on average, where only the sites of one kind hear the prompt without the word; sites act together, so they "
        "need not add up.</p>"
    )


def silent(arm: str, told: Mapping[str, Any]) -> str:
    return f"<h3>{escape(arm)}</h3><p>{escape(str(told['why']))}.</p>"


def heard(arm: str, told: Mapping[str, Any], maps: Tensor, top: float, folder: Path) -> str:
    """One arm: the picture that it drew, its maps and its bars."""
    picture = data((folder / told["kept"]).with_suffix(".picture.png"), PICTURE)
    drawn = f"<img class='map' alt='{escape(arm, quote=True)}: what it drew' src='{picture}'>"
    return (
        f"<h3>{escape(arm)}: “{escape(told['prompt'])}”</h3><div class='acting'>{drawn}"
        f"<div class='scroll' tabindex='0'>{grid(told, maps, top)}</div><div class='scroll' tabindex='0'>{bars(told)}</div></div>"
    )


def grid(told: Mapping[str, Any], maps: Tensor, top: float) -> str:
    """All maps (W, K, H, W') of an arm."""
    head = "".join(f"<th scope='col'>σ {sigma:.2g}</th>" for sigma in told["sigmas"])
    lines = "".join(row(word, found, told["sigmas"], top) for word, found in zip(told["words"], maps, strict=True))
    return f"<table class='maps'><thead><tr><th scope='col'>without</th>{head}</tr></thead><tbody>{lines}</tbody></table>"


def row(word: str, maps: Tensor, sigmas: list[float], top: float) -> str:
    """A word's maps (K, H, W)."""
    cells = "".join(cell(word, found, sigma, top) for found, sigma in zip(maps, sigmas, strict=True))
    return f"<tr><th scope='row'>{escape(word)}</th>{cells}</tr>"


def cell(word: str, found: Tensor, sigma: float, top: float) -> str:
    told = escape(f"without {word}, at sigma {sigma:.2g}: {float(found.mean()):.2g} on average", quote=True)
    return f'<td><img class="map" alt="{told}" src="{png(found / top)}"></td>'


def png(share: Tensor) -> str:
    """A map (H, W) in [0, 1] as a data URI."""
    return png_uri(to_picture((share.clamp(0, 1) * 2 - 1).unsqueeze(0)))


def bars(told: Mapping[str, Any]) -> str:
    """Words by kinds of site: how far the picture moves, over all noise levels."""
    columns = {"all sites": told["whole"], **told["places"]}
    means = {name: [fmean(levels) for levels in values] for name, values in columns.items()}
    most = max((value for values in means.values() for value in values), default=0.0) or 1.0
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in means)
    lines = "".join(
        f"<tr><th scope='row'>{escape(word)}</th>{''.join(bar(values[place], most) for values in means.values())}</tr>"
        for place, word in enumerate(told["words"])
    )
    return f"<table class='bars'><thead><tr><th scope='col'>without</th>{head}</tr></thead><tbody>{lines}</tbody></table>"


def bar(value: float, most: float) -> str:
    return f"<td><span class='bar' style='width:{4 * value / most:.2f}rem'></span>{value:.2g}</td>"
