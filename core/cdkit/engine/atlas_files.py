"""atlas_files: an atlas on disk: a labelled grid, one HTML page that opens without a network, and the numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cdkit.model.atlas import Atlas
from cdkit.model.attention import resized
from cdkit.model.pixels import png_uri, to_picture, veiled

if TYPE_CHECKING:
    from PIL.Image import Image

WAYS = {"influence": "left out", "attention": "attended"}


def save(atlas: Atlas, folder: Path, about: str) -> list[Path]:
    """Write atlas.png, atlas.html, atlas.json and sites.png. about: who drew, in a line."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("atlas.png", "atlas.html", "atlas.json", "sites.png")]
    grid(atlas).save(paths[0])
    paths[1].write_text(page(atlas, about), encoding="utf-8")
    paths[2].write_text(json.dumps(numbers(atlas), ensure_ascii=False, indent=1), encoding="utf-8")
    sites(atlas).save(paths[3])
    return paths


def numbers(atlas: Atlas) -> dict[str, Any]:
    """What the maps amount to, by word: means over the picture, at each level, and by site."""
    attended = {site: maps.mean(dim=(2, 3)).tolist() for site, maps in atlas.attention.items()}
    return {
        "prompt": atlas.prompt,
        "words": list(atlas.words),
        "sigmas": list(atlas.sigmas),
        "influence": {
            "whole": atlas.influence.whole.tolist(),
            "sites": {site: found.tolist() for site, found in atlas.influence.places.items()},
        },
        "attention": {"sites": attended},
    }


def ways(atlas: Atlas) -> dict[str, Tensor]:
    """The maps (W, K, H, W') of each way to ask, in [0, 1] of the largest."""
    found = {"influence": atlas.influence.maps, "attention": atlas.attended}
    return {name: maps / (float(maps.max()) or 1.0) for name, maps in found.items() if maps is not None}


def grid(atlas: Atlas) -> Image:
    """A row a word and way to ask, a column a noise level, each map laid over the picture."""
    from cdkit.model.grid import labelled_grid

    tiles: list[Tensor] = []
    captions: list[str] = []
    for place, word in enumerate(atlas.words):
        for way, maps in ways(atlas).items():
            tiles += [laid(atlas, level) for level in maps[place]]
            captions += [f"{word} {WAYS[way]}, {sigma:.2f}" for sigma in atlas.sigmas]  # Pillow's own font has no σ
    return labelled_grid(torch.stack(tiles), captions, columns=len(atlas.sigmas), scale=None)


def sites(atlas: Atlas) -> Image:
    """A row a site and way to ask, a column a word, the mean of all noise levels; each row on a scale of its own."""
    from cdkit.model.grid import labelled_grid

    tiles: list[Tensor] = []
    captions: list[str] = []
    for way, by_name in (("influence", atlas.influence.by_place), ("attention", atlas.attention)):
        for site, maps in by_name.items():
            found = maps.mean(dim=1)
            tiles += [laid(atlas, share) for share in found / (float(found.max()) or 1.0)]
            captions += [f"{word} {WAYS[way]}, {site}" for word in atlas.words]
    return labelled_grid(torch.stack(tiles), captions, columns=len(atlas.words), scale=None)


def laid(atlas: Atlas, share: Tensor) -> Tensor:
    """A map (h, w) in [0, 1] over the picture, at the picture's size."""
    height, width = atlas.influence.picture.shape[1:]
    return veiled(atlas.influence.picture, resized(share[None, None], height, width)[0, 0])


def page(atlas: Atlas, about: str) -> str:
    """All of it as one file."""
    template = Template(files("cdkit.engine").joinpath("atlas.html").read_text(encoding="utf-8"))
    picture = png_uri(to_picture(atlas.influence.picture))
    return template.substitute(
        title=escape(f"Where each word of “{atlas.prompt}” acts"),
        about=escape(about),
        picture=f'<img alt="{escape(f"the picture of {atlas.prompt}", quote=True)}" src="{picture}">',
        influence=table(atlas, "influence", ways(atlas)["influence"]),
        attention=table(atlas, "attention", ways(atlas)["attention"]) if atlas.attention else silent(),
        sites=by_site(atlas, "influence", atlas.influence.by_place),
        attended=by_site(atlas, "attention", atlas.attention) if atlas.attention else "",
    )


def silent() -> str:
    return "<p>No method of this model attends to words that can be told apart.</p>"


def table(atlas: Atlas, way: str, maps: Tensor) -> str:
    """Words by noise levels."""
    head = [f"σ {sigma:.2g}" for sigma in atlas.sigmas]
    body = [
        (
            word,
            [cell(atlas, f"{word}, {WAYS[way]}, σ {sigma:.2g}", level) for sigma, level in zip(atlas.sigmas, found, strict=True)],
        )
        for word, found in zip(atlas.words, maps, strict=True)
    ]
    return rows("word", head, body)


def cell(atlas: Atlas, told: str, share: Tensor) -> str:
    return f'<img class="map" alt="{escape(told, quote=True)}" src="{png_uri(to_picture(laid(atlas, share)))}">'


def by_site(atlas: Atlas, way: str, sites: Mapping[str, Tensor]) -> str:
    """Sites by words: a site's map, the mean of all noise levels, and what it amounts to at each of them."""
    most = max((float(maps.mean(dim=(2, 3)).max()) for maps in sites.values()), default=0.0) or 1.0
    body: list[tuple[str, list[str]]] = []
    for site, maps in sites.items():
        top = float(maps.mean(dim=1).max()) or 1.0
        shown = [
            cell(atlas, f"{word}, {WAYS[way]} at {site}", found.mean(dim=0) / top)
            for word, found in zip(atlas.words, maps, strict=True)
        ]
        body.append((site, [image + by_level(atlas, found, most) for image, found in zip(shown, maps, strict=True)]))
    return rows("site", list(atlas.words), body)


def by_level(atlas: Atlas, maps: Tensor, most: float) -> str:
    """A bar and a number a noise level."""
    means = maps.mean(dim=(1, 2)).tolist()
    return "".join(
        f"<div>σ {sigma:.2f} <span class='bar' style='width:{2 * value / most:.2f}rem'></span>{value:.2g}</div>"
        for sigma, value in zip(atlas.sigmas, means, strict=True)
    )


def rows(corner: str, head: list[str], body: list[tuple[str, list[str]]]) -> str:
    """A table whose cells are HTML and whose heads are text."""
    top = "".join(f"<th scope='col'>{escape(name)}</th>" for name in [corner, *head])
    return (
        f"<div class='scroll' tabindex='0' role='region' aria-label='{corner}s'><table><thead><tr>{top}</tr></thead>"
        f"<tbody>{''.join(lines(body))}</tbody></table></div>"
    )


def lines(body: list[tuple[str, list[str]]]) -> Iterator[str]:
    for name, cells in body:
        yield f"<tr><th scope='row'>{escape(name)}</th>{''.join(f'<td>{inner}</td>' for inner in cells)}</tr>"
