"""Bad input 49: HTML in a prompt is text in the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}"
BASE = """
cdkit: 1
name: base
sample: {channels: 1, height: 8, width: 8}
conditions:
  text: {use: bytes, dim: 8, depth: 1, heads: 1, dropout: 0.2}
injectors:
  - {use: add, streams: [text]}
backbone: {use: unet, width: 8, mult: [1], blocks: 1, attention: [0], heads: 1}
diffusion: {schedule: cosine, prediction: v}
guidance: {use: cfg, scale: 1.5}
sampler: {use: euler, steps: 2}
data: {use: digits}
train: {steps: 2, batch: 4, log_every: 1, sample_every: 0, checkpoint_every: 2}
"""
COMPARISON = f"""
compare: 1
name: small
base: base.yaml
seeds: [0]
guidance: [1.0]
arms:
  asked:
  silent: {{conditions: null, injectors: [], guidance: null}}
score: {{use: identification, pairs: 4, candidates: 2, levels: [0.5]}}
prompts: [{json.dumps(HOSTILE)}, two]
"""


class Elements(HTMLParser):
    """What a browser would make of a page: its elements, and the handlers in them."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0
        self.handlers: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.outside += [value for name, value in attrs if name == "src" and value and not value.startswith("data:")]


@pytest.mark.long
def test_a_prompt_cannot_write_the_report(ask: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "small.yaml").write_text(COMPARISON)
    assert ask("compare", "small.yaml", "--out", "out", "--device", "cpu").code == 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    found = Elements()
    found.feed(page)
    assert (found.scripts, found.handlers, found.outside) == (1, [], []), "its own script and no other"
    assert "alert(1)" in page, "the prompt is shown"
    assert "<img src=x" not in page
    assert "{{7*7}}" in page
