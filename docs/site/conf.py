"""The documentation as a site: Sphinx reads the same Markdown that people read in the repository."""

from __future__ import annotations

import re

from cdkit.version import VERSION

project, release, author = "cdkit", VERSION, "the authors of cdkit"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "README"
exclude_patterns: list[str] = []
html_theme, html_title = "furo", "cdkit"
html_show_sourcelink = False
html_static_path: list[str] = []
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
autodoc_member_order, autodoc_typehints = "bysource", "signature"
autodoc_preserve_defaults = True
# `console` blocks hold remarks, pages link to each other, and tables of parts have small heads
suppress_warnings = ["misc.highlighting_failure", "myst.header", "toc.not_included"]


def plainly(app: object, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Our docstrings are sentences and not reStructuredText: what would be markup stays a sign, backquotes are code."""
    del app, what, name, thing, options
    found: list[str] = []
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("  ") and not before.startswith("  "):
            found += ["", "::", ""]  # what is indented is shown as it stands
        elif before.startswith("  ") and line:
            found.append("")
        found.append(line if line.startswith("  ") else escaped(line))
    lines[:] = found


def escaped(line: str) -> str:
    return re.sub(r"`([^`]+)`", r"``\1``", re.sub(r"([*|_\\])", r"\\\1", line))


def setup(app: object) -> None:
    app.connect("autodoc-process-docstring", plainly)  # type: ignore[attr-defined]
