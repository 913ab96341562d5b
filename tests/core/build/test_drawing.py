"""The drawing of a model says what was assembled: every filled place once, every condition, and nothing that breaks out of it."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cdkit.build import assemble
from cdkit.build.drawing import block_of, counted, opened
from cdkit.build.liveness.trace import slots
from cdkit.cli.app import cdkit as program
from cdkit.model import Model
from cdkit.spec import read_spec
from cdkit.spec.drawing import drawing_of
from cdkit.spec.drawing_mermaid import mermaid
from cdkit.spec.drawing_svg import fitted, svg
from click.testing import CliRunner

SPECS = Path(__file__).parents[3] / "specs"


def meta(name: str) -> Model:
    return assemble(read_spec(SPECS / f"{name}.yaml"), device="meta")


@pytest.mark.parametrize("name", ["combined", "dit_digits", "mmdit_digits", "seed_unconditional"])
def test_every_filled_place_is_counted_once(name: str) -> None:
    model = meta(name)
    filled = sum(len(slot.taps) for slot in slots(model))
    drawing = opened(model)
    assert sum(count for block in drawing.blocks for kinds in block.fills.values() for count in kinds.values()) == filled
    assert [told.name for told in drawing.conditions] == list(model.spec.conditions)


def test_the_network_is_drawn_from_noise_to_picture() -> None:
    names = [block.name for block in opened(meta("combined")).blocks]
    assert names == ["embed", "input", "down.0", "down.1", "mid", "skip", "up.0", "up.1", "out"]
    assert [block.narrow for block in opened(meta("combined")).blocks if block.name.startswith("down")] == [0, 1]


@pytest.mark.parametrize("name", ["combined", "seed_unconditional"])
def test_the_drawing_is_whole(name: str) -> None:
    model = meta(name)
    drawing = svg(opened(model))
    root = ElementTree.fromstring(drawing)
    texts = [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]
    for injector in model.spec.injectors:
        assert injector.name in texts
    assert any(text.startswith("noise, 1 × 8 × 8") for text in texts) or name != "combined"
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"]
    assert not re.search(r"https?://(?!www\.w3\.org)|<script|url\(", drawing)


def test_a_spec_is_drawn_without_a_network() -> None:
    drawing = drawing_of(read_spec(SPECS / "sd_like.yaml"))
    assert [block.name for block in drawing.blocks] == ["unet"]
    assert "cross_attention tells it text" in drawing.summary
    assert "autoencoder kl" in " ".join(drawing.ends)


def test_mermaid() -> None:
    text = mermaid(opened(meta("combined")))
    assert text.startswith("flowchart LR\n")
    assert 'method1["' not in text
    assert "  told0 --> method0\n" in text
    assert '-->|"1 × attend"|' in text


def test_what_a_name_says_stays_text() -> None:
    spec = read_spec(SPECS / "digits.yaml", overrides=["name=a_b"])
    hostile = drawing_of(spec)
    object.__setattr__(hostile, "title", '</svg><script>"x"')
    assert "<script>" not in svg(hostile)
    assert '"</svg>' not in mermaid(hostile)


def test_words() -> None:
    assert block_of("down.0.res.1.norm1") == "down.0"
    assert block_of("skip.3") == "skip"
    assert block_of("embed") == "embed"
    assert counted(859_520_964) == "859.5 M parameters"
    assert counted(12) == "12 parameters"
    assert fitted("a" * 50, 100).endswith("…")
    assert fitted("short", 100) == "short"


def test_command(tmp_path: Path) -> None:
    spec = str(SPECS / "digits.yaml")
    told = CliRunner().invoke(program, ["build", spec, "--draw", str(tmp_path / "model.svg")], catch_exceptions=False)
    assert told.output.strip() == str(tmp_path / "model.svg")
    assert (tmp_path / "model.svg").read_text(encoding="utf-8").startswith("<svg")
    assert CliRunner().invoke(program, ["build", spec, "--draw", "mermaid"]).output.startswith("flowchart")
    assert CliRunner().invoke(program, ["build", spec, "--draw", "model.bmp"]).exit_code == 2


def test_notebooks_see_it() -> None:
    model = meta("digits")
    assert "<svg" in model._repr_html_()
    assert "down.1" in model._repr_html_()
    assert "the filled spec" in model.spec._repr_html_()
    assert "down.1" not in model.spec._repr_html_().partition("<details>")[0]
