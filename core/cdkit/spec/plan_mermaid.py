"""plan_mermaid: a plan as Mermaid text, which GitHub and many editors draw."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from cdkit.spec.plan import Block, Method, Plan, Told


def mermaid(plan: Plan) -> str:
    """A flowchart from left to right."""
    return "\n".join(lines(plan)) + "\n"


def lines(plan: Plan) -> Iterator[str]:
    yield "flowchart LR"
    chain = ["noise", *(f"block{place}" for place in range(len(plan.blocks))), "picture"]
    methods = {method.name: f"method{place}" for place, method in enumerate(plan.methods)}
    conditions = {told.name: f"told{place}" for place, told in enumerate(plan.conditions)}
    yield from (f"  {conditions[told.name]}({label(*told_lines(told))})" for told in plan.conditions)
    yield from (f"  {methods[method.name]}{{{{{label(*method_lines(method))}}}}}" for method in plan.methods)
    yield f"  subgraph network [{label(plan.title)}]"
    yield "    direction TB"
    yield f"    noise([{label(plan.begins)}])"
    yield from (f"    block{place}[{label(block.name, block.note)}]" for place, block in enumerate(plan.blocks))
    yield f"    picture([{label(*plan.ends)}])"
    yield from (f"    {one} --> {two}" for one, two in pairwise(chain))
    yield "  end"
    yield from (f"  {conditions[name]} --> {methods[method.name]}" for method in plan.methods for name in method.streams)
    for place, block in enumerate(plan.blocks):
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
