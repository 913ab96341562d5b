"""acting: where each word acts in an arm's model, measured once and kept in the comparison's folder as numbers and a PNG."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cdkit.errors import PromptError, UsageError
from cdkit.model import Model
from cdkit.model.influence import Influence, by_kind, influence, words_of
from cdkit.model.pixels import to_picture

DEEP = 65535  # a map's levels in its PNG of 16 bits; the largest is `most`


def longest(prompts: Sequence[str]) -> str:
    """The prompt of most words."""
    return max(prompts, key=lambda prompt: (len(words_of(prompt)), len(prompt)))


def acting(file: Path, prompt: str, loaded: Callable[[], Model], guidance: float | None) -> dict[str, Any]:
    """What is kept in `file`, or measured now and kept there; `why` is in it where it cannot be measured.

    The maps lie beside each other in one picture beside the file, a row a word, a column a noise level.
    """
    if file.is_file() and (known := json.loads(file.read_text(encoding="utf-8")))["prompt"] == prompt:
        return known
    try:
        model = loaded()
        found = influence(model, prompt, guidance=guidance, places=by_kind(model))
    except (PromptError, UsageError) as error:
        return {"prompt": prompt, "why": str(error)}
    told = {"prompt": prompt, **numbers(found)}
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet(found).save(file.with_suffix(".maps.png"))
    to_picture(found.picture).save(file.with_suffix(".picture.png"))
    file.write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")  # last: who finds it finds the pictures too
    return told


def numbers(found: Influence) -> dict[str, Any]:
    """All but the maps' pixels: W words, K levels, `places` (W, K) by the kind of site."""
    return {
        "words": list(found.words),
        "sigmas": list(found.sigmas),
        "whole": found.whole.tolist(),
        "places": {name: value.tolist() for name, value in found.places.items()},
        "most": float(found.maps.max()),
        "size": list(found.maps.shape[2:]),
    }


def sheet(found: Influence) -> Any:
    """Maps (W, K, H, W') -> a picture of 16 bits, W * H rows and K * W' columns."""
    from PIL import Image

    most = float(found.maps.max()) or 1.0
    words, levels, height, width = found.maps.shape
    flat = (found.maps / most).permute(0, 2, 1, 3).reshape(words * height, levels * width)
    return Image.fromarray((flat * DEEP).round().to(torch.int32).numpy().astype("uint16"))


def maps_of(file: Path, told: dict[str, Any]) -> Tensor:
    """What `sheet` wrote: (W, K, H, W')."""
    import numpy
    from PIL import Image

    height, width = told["size"]
    with Image.open(file.with_suffix(".maps.png")) as picture:
        flat = torch.from_numpy(numpy.asarray(picture).astype("float32"))
    shape = (len(told["words"]), height, len(told["sigmas"]), width)
    return flat.reshape(shape).permute(0, 2, 1, 3) / DEEP * told["most"]
