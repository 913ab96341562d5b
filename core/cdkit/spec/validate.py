"""validate: a mapping of the spec against a set of options, by a pydantic model made from them; every mistake in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, Literal, get_args, get_origin

from cdkit.registry.names import did_you_mean, letters, nearest, quoted, visible
from cdkit.spec.keys import Keys, field_name
from cdkit.spec.nodes import Listing, Node, Scalar, Table, named, plain, text_of
from cdkit.spec.options import REQUIRED, Option
from cdkit.spec.problem import Problem
from cdkit.spec.words import bare, expected, is_list, is_mapping, is_union, takes_null

Loc = tuple[int | str, ...]


def validated(table: Table, keys: Keys, path: str, owner: str) -> tuple[dict[str, Any], list[Problem]]:
    """The value of every option, defaults included, and what is wrong with those that are written.

    owner: who takes these keys, for the reader: "unet (cdkit==0.1.0)".
    """
    options = keys.options
    data, kept = {}, {}
    for key, entry in table.entries.items():
        if entry.deletes and not (key in options and takes_null(options[key].hint)):
            continue
        kept[key] = entry
        data[key] = plain(entry.node)
    problems = [unknown_key(key, kept[key].place, path, options, owner) for key in data if key not in options]
    known = {key: value for key, value in data.items() if key in options}
    problems += [
        missing_key(option, table, path) for name, option in options.items() if option.default is REQUIRED and name not in known
    ]
    values, more = checked(keys, known, {n: kept[n].node for n in known}, path, owner)
    defaults = {name: option.default for name, option in options.items() if option.default is not REQUIRED}
    return {**defaults, **values}, problems + more


def checked(
    keys: Keys, data: Mapping[str, Any], nodes: Mapping[str, Node], path: str, owner: str
) -> tuple[dict[str, Any], list[Problem]]:
    """Written values, converted as their hints say, and those that do not suit them."""
    from pydantic import ValidationError

    try:
        made = keys.model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        complaints: dict[str, list[Loc]] = {}
        for complaint in error.errors(include_url=False, include_context=False, include_input=False):
            complaints.setdefault(str(complaint["loc"][0]), []).append(complaint["loc"][1:])
        return {}, [
            p
            for name, locs in complaints.items()
            for p in misfits(keys.options[name].hint, nodes[name], locs, joined(path, name), owner)
        ]
    return {name: getattr(made, field_name(name)) for name in data}, []


def unknown_key(key: str, place: Any, path: str, known: Mapping[str, Any], owner: str) -> Problem:
    """The nearest key, and all that there are."""
    odd = letters(key)
    message = f"unknown key {quoted(key)}" + (f" (it holds {odd})" if odd else "") + did_you_mean(key, known)
    return Problem(place, joined(path, key), message, f"{owner} takes {', '.join(known)}", "unknown-key")


def missing_key(option: Option, table: Table, path: str) -> Problem:
    message = f"missing key {option.name!r}; expected {expected(option.hint) or 'a value'}"
    return Problem(table.place, path, message, code="missing-key")


def misfits(hint: Any, node: Node, locs: Sequence[Loc], path: str, owner: str) -> list[Problem]:
    """pydantic's complaints about one option, in our words. Of a union's members the one counts that fits the deepest."""
    found = [_deepest(hint, node, loc, path, owner) for loc in locs]
    depth = max(depth for depth, _ in found) if is_union(hint) else 0
    return list(dict.fromkeys(problem for reached, problem in found if reached >= depth))


def _deepest(hint: Any, node: Node, loc: Loc, path: str, owner: str) -> tuple[int, Problem]:
    """A complaint at the deepest node that it is about; steps that are the names of a union's members lead nowhere."""
    depth = 0
    for step in loc:
        if inner := _step(hint, node, step):
            hint, node = inner
            path, depth = joined(path, str(step)), depth + 1
    return depth, Problem(node.place, path, sentence(hint, node), advice(hint, node, owner), "value")


def _step(hint: Any, node: Node, step: int | str) -> tuple[Any, Node] | None:
    """One step down, if the node has it; a step that is a member of a union is none."""
    hint = bare(hint)
    if isinstance(node, Listing) and isinstance(step, int) and step < len(node.items):
        return _item_hint(hint, step), node.items[step]
    if isinstance(node, Table) and str(step) in node.entries:
        return (get_args(_member(hint, is_mapping)) or (Any,))[-1], node.entries[str(step)].node
    return None


def _member(hint: Any, fits: Callable[[Any], bool]) -> Any:
    """The hint, or the member of a union that fits."""
    return next((bare(member) for member in get_args(hint) if fits(bare(member))), Any) if is_union(hint) else hint


def _item_hint(hint: Any, index: int) -> Any:
    arguments = [argument for argument in get_args(_member(hint, is_list)) if argument is not Ellipsis]
    return arguments[min(index, len(arguments) - 1)] if arguments else Any


def sentence(hint: Any, node: Node) -> str:
    """`'fifty' is text; expected an integer greater than 0`."""
    wanted = expected(hint) or "another value"
    if not isinstance(node, Scalar):
        size = f" of {len(node.items)}" if isinstance(node, Listing) else ""
        return f"{named(node)}{size}; expected {wanted}"
    choices = choices_of(hint)
    if isinstance(node.value, str) and choices:
        return f"there is no {quoted(node.value)}; expected {wanted}{did_you_mean(node.value, choices)}"
    if isinstance(node.value, float) and not isfinite(node.value):
        return f"{node.text} is no finite number; expected {wanted}"
    shown = quoted(node.text) if isinstance(node.value, str) else node.text or "nothing"
    return f"{shown}{_kind(hint, node)}; expected {wanted}"


def _kind(hint: Any, node: Scalar) -> str:
    """What the value is, where it is of another kind than was expected."""
    inner = bare(hint)
    suits = {int: (int,), float: (int, float), str: (str,), bool: (bool,)}.get(inner, ())
    if type(node.value) in suits or node.value is None or get_origin(inner) is Literal:
        return " is out of range" if type(node.value) in suits else ""
    return f" is {named(node)}"


def choices_of(hint: Any) -> list[str]:
    """The texts that a Literal takes."""
    inner = bare(hint)
    members = get_args(inner) if is_union(inner) else (inner,)
    found = [get_args(bare(member)) for member in members if get_origin(bare(member)) is Literal]
    return [choice for choices in found for choice in choices if isinstance(choice, str)]


def advice(hint: Any, node: Node, owner: str) -> str:
    """How to write what was probably meant, and who takes it."""
    inner = bare(hint)
    if isinstance(node, Scalar) and inner is str and not isinstance(node.value, str) and node.value is not None:
        return f'put it in quotes to make it text: "{node.text}"'
    if inner in (int, float) and (text := text_of(node)) is not None and _is_number(text):
        return "take the quotes away, or write the number plainly: 10, 0.1, 1e-4"
    if isinstance(node, Scalar) and is_list(inner):
        return f"write it as a list: [{node.text}]"
    if (text := text_of(node)) is not None and nearest(text, choices_of(hint)):
        return f"{owner} takes {', '.join(choices_of(hint))}"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def joined(path: str, key: str) -> str:
    return f"{path}.{visible(key)}" if path else visible(key)


def missing_section(root: Table, key: str) -> Problem:
    return Problem(root.place, "", f"missing key {key!r}; expected a mapping", code="missing-key")
