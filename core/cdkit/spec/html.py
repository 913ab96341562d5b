"""html: a spec in a notebook: its plan, and under it the filled spec, closed until somebody opens it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from cdkit.spec.plan import Plan, plan_of
from cdkit.spec.plan_svg import svg

if TYPE_CHECKING:
    from cdkit.spec.model import Spec


def shown(spec: Spec, plan: Plan | None = None) -> str:
    """HTML for a notebook. plan: of a model that was assembled, where there is one."""
    drawing = svg(plan or plan_of(spec))
    return f"<div style='max-width:100%;overflow-x:auto'>{drawing}</div>{folded('the filled spec', spec.to_yaml())}"


def folded(summary: str, text: str) -> str:
    return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"
