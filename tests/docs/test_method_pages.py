"""Every method has a page with what a page must say, and the spec that it shows is built and proven to be heard."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from cdkit.build import assemble
from cdkit.build.liveness import prove
from cdkit.errors import SpecError
from cdkit.registry import Registry
from cdkit.spec import read_spec

METHODS = Path(__file__).parents[2] / "docs" / "methods"
PAGES = sorted(page for page in METHODS.glob("*.md") if page.stem != "index")
YAML = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXAMPLES = [pytest.param(text, id=page.stem) for page in PAGES for text in YAML.findall(page.read_text(encoding="utf-8"))]
PROMPTS = {"use": "bytes", "dim": 64, "depth": 1, "heads": 4}
TOLD: dict[str, dict[str, Any]] = {
    "text": PROMPTS,
    "boxes": {**PROMPTS, "column": "boxes"},
    "image": {"use": "image"},
    "layout": {"use": "map", "channels": 3},
    "hint": {"use": "map", "channels": 3, "scale": 8},
    "sizes": {"use": "size", "count": 6},
}
BACKBONE = {"use": "unet", "width": 64, "mult": [1, 2], "blocks": 1, "attention": [1], "heads": 4}
BEFORE_PAPERS = {"text_query": "No paper that we know"}


def whole(fragment: dict[str, Any]) -> dict[str, Any]:
    """A page's lines as a spec: what they leave open is said for them."""
    read = [name for injector in fragment["injectors"] for name in injector["streams"]]
    spec = {"cdkit": 1, "name": "page", "sample": {"channels": 3, "height": 16, "width": 16}, "backbone": BACKBONE}
    given = fragment.get("conditions", {})
    return spec | {"conditions": {name: TOLD[name] for name in read if name not in given}} | fragment


@pytest.mark.parametrize("name", sorted(Registry.installed().names("injector")))
def test_every_method_has_a_page(name: str) -> None:
    page = (METHODS / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# `{name}`")
    assert "```text\n" in page, "a picture of the wiring"
    assert "At birth" in page
    assert "arxiv.org" in page
    assert BEFORE_PAPERS.get(name, "") in page
    assert any(injector["use"] == name for text in YAML.findall(page) for injector in yaml.safe_load(text)["injectors"])
    assert f"({name}.md)" in (METHODS / "index.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md", "docs/parts.md", "docs/methods/index.md"])
def test_every_list_of_methods_is_whole(page: str) -> None:
    rows = [line for line in (METHODS.parents[1] / page).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    listed = {name for line in rows for name in re.findall(r"`(\w+)`", line)}
    assert set(Registry.installed().names("injector")) <= listed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_stands_in_the_index(page: Path) -> None:
    assert f"]({page.name})" in (METHODS / "index.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", EXAMPLES)
def test_what_a_page_shows_is_heard(text: str, tmp_path: Path) -> None:
    spec = whole(yaml.safe_load(text))
    (tmp_path / "page.yaml").write_text(yaml.safe_dump(spec, sort_keys=False, allow_unicode=True), encoding="utf-8")
    read = read_spec(tmp_path / "page.yaml")
    proof = prove(assemble(read, device="meta"))
    assert {name for names in proof.through.values() for name in names} == {injector.name for injector in read.injectors}


def test_a_page_that_shows_a_deaf_network_is_caught(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="spade"):
        test_what_a_page_shows_is_heard("injectors: [{use: spade, streams: [layout]}]\nbackbone: {use: dit, patch: 2}", tmp_path)
