"""drawing_mermaid: a drawing as Mermaid text, which GitHub and many editors draw."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from cdkit.spec.drawing import Block, Drawing, Method, Told


def mermaid(drawing: Drawing) -> str:
    """A flowchart from left to right."""
    return "\n".join(lines(drawing)) + "\n"


def lines(drawing: Drawing) -> Iterator[str]:
    yield "flowchart LR"
    chain = ["noise", *(f"block{place}" for place in range(len(drawing.blocks))), "picture"]
    methods = {method.name: f"method{place}" for place, method in enumerate(drawing.methods)}
    conditions = {told.name: f"told{place}" for place, told in enumerate(drawing.conditions)}
    yield from (f"  {conditions[told.name]}({label(*told_lines(told))})" for told in drawing.conditions)
    yield from (f"  {methods[method.name]}{{{{{label(*method_lines(method))}}}}}" for method in drawing.methods)
    yield f"  subgraph network [{label(drawing.title)}]"
    yield "    direction TB"
    yield f"    noise([{label(drawing.begins)}])"
    yield from (f"    block{place}[{label(block.name, block.note)}]" for place, block in enumerate(drawing.blocks))
    yield f"    picture([{label(*drawing.ends)}])"
    yield from (f"    {one} --> {two}" for one, two in pairwise(chain))
    yield "  end"
    yield from (f"  {conditions[name]} --> {methods[method.name]}" for method in drawing.methods for name in method.streams)
    for place, block in enumerate(drawing.blocks):
        yield from (f"  {methods[name]} -->{counts(block, name)} block{place}" for name in block.fills)


def told_lines(told: Told) -> tuple[str, ...]:
    return (told.name, f"{told.reader} reads {told.source}", told.forms, told.size)


def method_lines(method: Method) -> tuple[str, ...]:
    return (method.name if method.name == method.part else f"{method.name}: {method.part}", method.note)


def counts(block: Block, method: str) -> str:
    kinds = block.fills[method]
    if "somewhere" in kinds:
        return ""
    return f"|{label(', '.join(f'{count} × {kind}' for kind, count in kinds.items()))}|"


def label(*texts: str) -> str:
    """Quoted, with what Mermaid would read as its own written as entities."""
    return '"' + "<br>".join(text.translate(ENTITIES) for text in texts if text) + '"'


ENTITIES = {ord(sign): f"#{ord(sign)};" for sign in '"#&<>'}
