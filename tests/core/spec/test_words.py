"""What an option expects, in words, from its type hint alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Optional, Union

import pytest
from annotated_types import Ge, Gt, Interval, Le, Len, Lt, MaxLen, MinLen, MultipleOf
from cdkit.spec.words import bare, expected, is_list, is_mapping, is_union, takes_null

Count = Annotated[int, Gt(0)]


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "an integer"),
        (float, "a number"),
        (bool, "true or false"),
        (str, "text"),
        (None.__class__, "null"),
        (object, ""),
        (Any, ""),
        (Count, "an integer greater than 0"),
        (Annotated[float, Ge(0.5)], "a number of at least 0.5"),
        (Annotated[float, Le(2)], "a number of at most 2"),
        (Annotated[float, Lt(2)], "a number and less than 2"),
        (Annotated[float, Gt(0), Lt(2)], "a number greater than 0 and less than 2"),
        (Annotated[float, Ge(0), Lt(1)], "a number of at least 0 and less than 1"),
        (Annotated[int, Ge(1), Le(8)], "an integer from 1 to 8"),
        (Annotated[int, Interval(ge=1, le=8)], "an integer from 1 to 8"),
        (Annotated[int, Interval(gt=0, lt=8)], "an integer greater than 0 and less than 8"),
        (Annotated[int, Gt(0), MultipleOf(8)], "an integer greater than 0 that 8 divides"),
        (Annotated[str, MinLen(1)], "text that is not empty"),
        (Annotated[str, MinLen(2)], "text of at least 2"),
        (Annotated[str, Len(1, 9)], "text that is not empty"),
        (Annotated[str, "a remark"], "text"),
        (Literal[1], "1"),
        (Literal["a"], "'a'"),
        (Literal["a", 2], "one of 'a', 2"),
        (int | None, "an integer or null"),
        (Optional[int], "an integer or null"),  # noqa: UP045  as older plugins write it
        (Union[int, str], "an integer or text"),  # noqa: UP007
        (int | object, "an integer"),
        (int | bool | Literal["auto"], "an integer or true or false or 'auto'"),
        (Annotated[int, Gt(0)] | None, "an integer greater than 0 or null"),
        (list, "a list"),
        (tuple, "a list"),
        (list[int], "a list of integers"),
        (tuple[str, ...], "a list of texts"),
        (Sequence[float], "a list of numbers"),
        (tuple[Count, ...], "a list of integers, each greater than 0"),
        (tuple[int, str], "a list of 2: an integer, text"),
        (tuple[Count], "a list of 1: an integer greater than 0"),
        (list[int | None], "a list, each an integer or null"),
        (list[list[int]], "a list, each a list of integers"),
        (list[Annotated[str, "a remark"]], "a list of texts"),
        (dict, "a mapping"),
        (dict[str, int], "a mapping of names to an integer"),
        (Mapping[str, Count], "a mapping of names to an integer greater than 0"),
        (dict[str, object], "a mapping of names to values"),
        (tuple[int, ...] | None, "a list of integers or null"),
    ],
)  # fmt: skip
def test_what_is_expected(hint: Any, words: str) -> None:
    assert expected(hint) == words


@pytest.mark.parametrize(
    ("hint", "inner", "null"),
    [
        (int, int, False),
        (Count, int, False),
        (Any, Any, True),
        (None.__class__, None.__class__, True),
        (int | None, int, True),
        (Count | None, int, True),
        (Annotated[int | None, "a remark"], int, True),
        (int | str, int | str, False),
        (int | str | None, int | str | None, True),
        (int | Annotated[str | None, "a remark"], int | Annotated[str | None, "a remark"], True),
        (list[int] | None, list[int], True),
    ],
)
def test_what_is_left_without_limits_and_null(hint: Any, inner: Any, null: bool) -> None:
    assert bare(hint) == inner
    assert takes_null(hint) is null


@pytest.mark.parametrize(
    ("hint", "kinds"),
    [
        (int, ""),
        (str, ""),
        (Any, ""),
        (list, "list"),
        (list[int], "list"),
        (tuple[int, ...], "list"),
        (Sequence[str], "list"),
        (dict, "mapping"),
        (Mapping[str, int], "mapping"),
        (int | None, "union"),
        (Union[int, str], "union"),  # noqa: UP007
        (Literal["a"], ""),
        (Annotated[str, MaxLen(3)], ""),
    ],
)
def test_what_kind_of_hint_it_is(hint: Any, kinds: str) -> None:
    found = {"union": is_union(hint), "list": is_list(hint), "mapping": is_mapping(hint)}
    assert " ".join(kind for kind, yes in found.items() if yes) == kinds
