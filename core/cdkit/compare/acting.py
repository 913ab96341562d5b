"""acting: where each word of a prompt acts, arm by arm: kept beside the scores, and a section of the report."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import torch
from torch import Tensor

from cdkit.model import Model
from cdkit.model.influence import influence, words_of

FOLDER = "influence"
WORDS = 8  # of a prompt, at most; longer prompts are for the Python API
STRONGEST = 3  # places named
ABOUT = Template(
    "How far the picture of “$prompt” moves, seen at four levels of noise, when one word is left out; white is $most of the two "
    "from black to white, for all arms alike. Beside them the parts of the network through which a word acts most: how far the "
    "picture moves if that part alone does not hear it."
)


def telling(prompts: tuple[str, ...]) -> str:
    """The prompt of which the report tells: that of the most words, of equals the first; "" where none is short enough."""
    fitting = [prompt for prompt in prompts if 0 < len(list(words_of(prompt))) <= WORDS]
    return max(fitting, key=lambda prompt: len(list(words_of(prompt))), default="")


def acted(model: Model, prompt: str, file: Path) -> dict[str, Any]:
    """What the words of a prompt do in a model: `words`, `levels`, `places` and their `shares`, the maps beside in a file."""
    from safetensors.torch import save_file

    found = influence(model, prompt)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({"maps": found.maps.half().contiguous()}, file)
    return {
        "prompt": prompt,
        "words": list(found.words),
        "levels": list(found.levels),
        "places": list(found.places),
        "shares": [[round(float(share), 6) for share in row] for row in found.shares],
        "maps": file.name,
    }


def acting(arms: Mapping[str, Any], folder: Path) -> str:
    """The section: for each arm a row a word, a map a noise level, and the places that carry it. "" where nobody was asked."""
    told = {name: arm["influence"] for name, arm in arms.items() if arm.get("influence")}
    if not told:
        return ""
    maps = {name: read(folder / FOLDER / found["maps"]) for name, found in told.items()}
    most = max(float(of.max()) for of in maps.values()) or 1.0
    tables = "".join(table(name, found, maps[name], most) for name, found in told.items())
    deaf = [name for name in arms if name not in told]
    silent = f"<p>{escape(', '.join(deaf))}: hears nothing.</p>" if deaf else ""
    prompt = escape(next(iter(told.values()))["prompt"])
    return f"<h2>Where each word acts</h2><p>{ABOUT.substitute(prompt=prompt, most=f'{most:.2g}')}</p>{tables}{silent}"


def read(file: Path) -> Tensor:
    from safetensors.torch import load_file

    return load_file(file)["maps"].float()


def table(name: str, found: Mapping[str, Any], maps: Tensor, most: float) -> str:
    head = "".join(f"<th scope='col'>noise {level:g}</th>" for level in found["levels"])
    rows = "".join(row(name, found, maps[place], place, most) for place in range(len(found["words"])))
    return (
        f"<div class='scroll'><table class='acting'><caption>{escape(name)}</caption><thead><tr><th scope='col'>word</th>{head}"
        f"<th scope='col'>through</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def row(name: str, found: Mapping[str, Any], maps: Tensor, place: int, most: float) -> str:
    """One word: its maps (V, H, W), and the places that carry it."""
    word = found["words"][place]
    cells = "".join(cell(of, most, name, word, level) for of, level in zip(maps, found["levels"], strict=True))
    through = escape(strongest(found["places"], found["shares"][place]))
    return f"<tr><th scope='row'>{escape(word)}</th>{cells}<td>{through}</td></tr>"


def cell(of: Tensor, most: float, arm: str, word: str, level: float) -> str:
    told = escape(f"{arm}: where {word!r} acts at noise {level:g}; mean {float(of.mean()):.3g}", quote=True)
    return f"<td><img class='map' alt='{told}' src='{picture(of / most)}'></td>"


def picture(shares: Tensor) -> str:
    """A map (H, W) in [0, 1] as a grey PNG in the page itself."""
    from PIL import Image

    grey = (shares.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    out = io.BytesIO()
    Image.fromarray(grey, "L").save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def strongest(places: list[str], shares: list[float]) -> str:
    """`mid 0.12, up.0 0.08`"""
    order = sorted(range(len(places)), key=lambda place: -shares[place])[:STRONGEST]
    return ", ".join(f"{places[place]} {shares[place]:.2g}" for place in order)
