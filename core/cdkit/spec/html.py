"""html: a spec in a notebook: its drawing, and under it the filled spec, closed until somebody opens it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from cdkit.spec.drawing import Drawing, drawing_of
from cdkit.spec.drawing_svg import svg

if TYPE_CHECKING:
    from cdkit.spec.model import Spec


def shown(spec: Spec, drawing: Drawing | None = None) -> str:
    """HTML for a notebook. drawing: of a model that was assembled, where there is one."""
    picture = svg(drawing or drawing_of(spec))
    return f"<div style='max-width:100%;overflow-x:auto'>{picture}</div>{folded('the filled spec', spec.to_yaml())}"


def folded(summary: str, text: str) -> str:
    return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"
