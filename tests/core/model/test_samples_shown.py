"""Samples in a notebook: the grid, its words for who cannot see it, and nothing that a caption could break out of."""

from __future__ import annotations

import json

import torch
from cdkit.model import Samples


def test_samples_are_shown() -> None:
    shown = Samples(torch.zeros(2, 1, 8, 8), ("<b>a cat", "a cat"), (3, 4), {"sampler": "euler"})._repr_html_()
    assert "<b>" not in shown
    assert "alt='&lt;b&gt;a cat, a cat'" in shown
    assert "data:image/png;base64," in shown
    assert "&quot;seeds&quot;" in shown


def test_what_is_saved_is_what_is_shown() -> None:
    from io import BytesIO

    from PIL import Image

    samples = Samples(torch.zeros(1, 1, 8, 8), ("a cat",), (3,), {"sampler": "euler"})
    with Image.open(BytesIO(samples.png())) as picture:
        assert json.loads(picture.text["cdkit"]) == samples.recipe_of()  # type: ignore[attr-defined]
    with Image.open(BytesIO(samples.png(metadata=False))) as picture:
        assert "cdkit" not in picture.info
