"""asked: parts that the command line names, written as a spec writes them, or by their name alone."""

from __future__ import annotations

from collections.abc import Sequence

from cdkit.registry import Registry
from cdkit.spec.compose import compose_value
from cdkit.spec.draft import Draft
from cdkit.spec.model import PartSpec
from cdkit.spec.nodes import Entry, Node, Table, text_of
from cdkit.spec.problem import refusal


def asked_parts(kind: str, texts: Sequence[str], option: str, registry: Registry) -> list[PartSpec]:
    """Each text a part: `name`, or `{use: name, key: value}`. SpecErrors with all that is wrong in them."""
    draft = Draft(registry)
    made: list[PartSpec] = []
    for text in texts:
        node, problems = compose_value(text, option)
        draft.problems += problems
        part = draft.part(kind, node if node is None else named_alone(node), option.removeprefix("--"))
        made += [] if part is None else [part.spec]
    if draft.problems:
        raise refusal(draft.problems)
    return made


def named_alone(node: Node) -> Node:
    """A name alone is a part with its defaults."""
    return Table({"use": Entry(node.place, node)}, node.place) if text_of(node) is not None else node
