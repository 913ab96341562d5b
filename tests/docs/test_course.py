"""The course says the same in both languages: one code, one set of commands, chapters that lead to each other."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

COURSE = Path(__file__).parents[2] / "docs" / "course"
CHAPTERS = sorted(path.name for path in COURSE.glob("[1-6]-*.md"))
BLOCK = re.compile(r"^```\w+\n.*?^```$", re.DOTALL | re.MULTILINE)


def test_there_are_six() -> None:
    assert [name[0] for name in CHAPTERS] == list("123456")
    assert sorted(path.name for path in (COURSE / "zh").glob("[1-6]-*.md")) == CHAPTERS


@pytest.mark.parametrize("name", CHAPTERS)
def test_both_languages_run_the_same(name: str) -> None:
    english, chinese = ((folder / name).read_text(encoding="utf-8") for folder in (COURSE, COURSE / "zh"))
    assert BLOCK.findall(english) == BLOCK.findall(chinese)
    assert len(BLOCK.findall(english)) >= 3
    assert re.search(r"[\u4e00-\u9fff]{10}", chinese)


@pytest.mark.parametrize("folder", [COURSE, COURSE / "zh"], ids=["en", "zh"])
def test_each_chapter_leads_to_the_next(folder: Path) -> None:
    for name, following in pairwise(CHAPTERS):
        assert f"]({following})" in (folder / name).read_text(encoding="utf-8")
    assert all(f"]({name})" in (folder / "index.md").read_text(encoding="utf-8") for name in CHAPTERS)
