"""What a type hint expects, in words: `an integer greater than 0`, `one of 'a', 'b'`, `a list of ... or null`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, GroupedMetadata, Gt, Le, Len, Lt, MinLen, MultipleOf

SIMPLE = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
    str: ("text", "texts"),
    NoneType: ("null", "null"),
}


def expected(hint: Any) -> str:
    """One value that suits the hint; "" where there is no good word for it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return expected(arguments[0]) + limits(arguments[1:])
    if origin is Literal:
        return ("one of " if len(arguments) > 1 else "") + ", ".join(
            repr(choice) if isinstance(choice, str) else str(choice) for choice in arguments
        )
    if is_union(hint):
        return " or ".join(dict.fromkeys(filter(None, map(expected, arguments))))
    if is_list(hint):
        return _listed(hint)
    if is_mapping(hint):
        return f"a mapping of names to {expected(arguments[1]) or 'values'}" if len(arguments) == 2 else "a mapping"
    return SIMPLE.get(hint, ("", ""))[0]


def _listed(hint: Any) -> str:
    """`a list of integers, each greater than 0`; `a list of 2: a number, a number`."""
    arguments = get_args(hint)
    if not arguments:
        return "a list"
    if get_origin(hint) is tuple and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)}: {', '.join(map(expected, arguments))}"
    inner, metadata = (
        (get_args(arguments[0])[0], get_args(arguments[0])[1:]) if get_origin(arguments[0]) is Annotated else (arguments[0], ())
    )
    each = f", each{limits(metadata)}" if limits(metadata) else ""
    return f"a list of {SIMPLE[inner][1]}{each}" if inner in SIMPLE else f"a list, each {expected(arguments[0])}"


def limits(metadata: Sequence[Any]) -> str:
    """` greater than 0`, ` from 0 to 1`, ` of at least 8`."""
    flat = [one for item in metadata for one in (item if isinstance(item, GroupedMetadata) else (item,))]
    low = next((item for item in flat if isinstance(item, Ge)), None)
    high = next((item for item in flat if isinstance(item, Le)), None)
    if low and high:
        return f" from {low.ge} to {high.le}"
    return "".join(map(_limit, flat))


def _limit(item: Any) -> str:
    match item:
        case Gt():
            return f" greater than {item.gt}"
        case Ge():
            return f" of at least {item.ge}"
        case Lt():
            return f" and less than {item.lt}"
        case Le():
            return f" of at most {item.le}"
        case MultipleOf():
            return f" that {item.multiple_of} divides"
        case MinLen() | Len():
            return " that is not empty" if item.min_length == 1 else f" of at least {item.min_length}"
        case _:
            return ""


def bare(hint: Any) -> Any:
    """The hint without limits, and without `| None`."""
    if get_origin(hint) is Annotated:
        return bare(get_args(hint)[0])
    if is_union(hint):
        rest = [member for member in get_args(hint) if member is not NoneType]
        return bare(rest[0]) if len(rest) == 1 else hint
    return hint


def takes_null(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return takes_null(get_args(hint)[0])
    return hint is NoneType or hint is Any or (is_union(hint) and any(map(takes_null, get_args(hint))))


def is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType)


def is_list(hint: Any) -> bool:
    origin = get_origin(hint) or hint
    return isinstance(origin, type) and issubclass(origin, Sequence) and origin is not str


def is_mapping(hint: Any) -> bool:
    origin = get_origin(hint) or hint
    return isinstance(origin, type) and issubclass(origin, Mapping)
