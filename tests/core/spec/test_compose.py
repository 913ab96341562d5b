"""The YAML reader: 1.2 scalars, places, limits, and everything that it refuses."""

# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

import math
import resource
from collections.abc import Callable
from time import process_time
from typing import Any

import pytest
from cdkit.spec import SpecErrors
from cdkit.spec import compose as composing
from cdkit.spec.compose import compose
from cdkit.spec.nodes import Table, below, plain, text_of
from hypothesis import given, settings
from hypothesis import strategies as st

Complaints = Callable[..., list[str]]


def value(text: str) -> Any:
    node, problems = compose(f"a: {text}\n", "s.yaml")
    assert not problems
    assert node is not None
    return plain(node)["a"]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("1e-4", 1e-4), ("1E5", 1e5), (".5", 0.5), ("5.", 5.0), ("-1.5e+3", -1500.0), ("+1", 1), ("-0", 0), ("0x1F", 31), ("0o17", 15),
        ("9223372036854775807", 2**63 - 1), ("-9223372036854775808", -(2**63)), ("0o0777777777777777777777", 2**63 - 1),
        ("0x" + "1f".zfill(22), 31), ("true", True), ("True", True), ("TRUE", True),
        ("false", False), ("False", False), ("FALSE", False), ("null", None), ("Null", None), ("NULL", None), ("~", None), ("", None), ("no", "no"), ("on", "on"), ("Yes", "Yes"), ("y", "y"), ("12:30", "12:30"), ("12:30:45", "12:30:45"),
        ("010", "010"), ("1_000", "1_000"), ("0b11", "0b11"), ("0o8", "0o8"), ("1.2.3", "1.2.3"), ("2024-01-02", "2024-01-02"),
        ("2024-13-45", "2024-13-45"), ("'1'", "1"), ('"null"', "null"), ("nan", "nan"), ("inf", "inf"), ("e5", "e5"), ("-", "-") ,
        ("${HOME}", "${HOME}"), ("$(id)", "$(id)"), ("'{{x}}'", "{{x}}"), ("猫", "猫"), ("=", "="), ("tRUE", "tRUE"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, read: Any) -> None:
    if text == "-":
        text, read = "'-'", "-"
    got = value(text)
    assert (type(got), got) == (type(read), read)


def test_infinity_and_nan_are_numbers_that_no_option_takes() -> None:
    assert value(".inf") == math.inf
    assert value("-.Inf") == -math.inf
    assert math.isnan(value(".NaN"))


def test_keys_are_text_whatever_they_look_like() -> None:
    node, _ = compose("on: 1\nno: 2\n1: 3\nnull: 4\n", "s.yaml")
    assert plain(node) == {"on": 1, "no": 2, "1": 3, "null": 4}


def test_below_a_list_are_its_indices_and_nothing_else() -> None:
    node, _ = compose("a: [x, y]\n", "s.yaml")
    listing = below(node, "a")
    assert [text_of(below(listing, key)) for key in ("0", "1", "2", "-1", "x", "")] == ["x", "y", None, None, None, None]
    assert below(below(listing, "0"), "0") is None
    assert below(None, "a") is None


def test_every_node_knows_its_place() -> None:
    node, _ = compose("# told\na:\n  - x\n  - {b: 猫, c: 5}\n", "s.yaml")
    assert isinstance(node, Table)
    entry = node.entries["a"]
    inner = entry.node.items[1]
    assert [str(p) for p in (entry.place, entry.node.place, inner.place, inner.entries["c"].place, inner.entries["c"].node.place)] == [
        "s.yaml:2:1", "s.yaml:3:3", "s.yaml:4:5", "s.yaml:4:12", "s.yaml:4:15"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "s.yaml:1:1: empty spec; expected a mapping"),
        ("# only a comment\n", "s.yaml:1:1: empty spec; expected a mapping"),
        ("---\n...\n", "s.yaml:1:1: empty spec; expected a mapping"),
        ("- a\n", "s.yaml:1:1: the top level is a list; expected a mapping"),
        ("hello\n", "s.yaml:1:1: the top level is text; expected a mapping"),
        ("5\n", "s.yaml:1:1: the top level is an integer; expected a mapping"),
        ("a: 1\n---\nb: 2\n", "s.yaml:2:1: a second document begins here; expected one spec a file"),
        ("%YAML 1.1\n---\na: 1\n", "s.yaml:1:1: a directive; expected plain YAML 1.2"),
        ("%TAG ! tag:x,2000:\n---\na: 1\n", "s.yaml:1:1: a directive; expected plain YAML 1.2"),
        ("a: &x 1\n", "s.yaml:1:4: an anchor (&x); a spec is plain data"),
        ("&x a: 1\n", "s.yaml:1:1: an anchor (&x); a spec is plain data"),
        ("a: {&x b: 1}\n", "s.yaml:1:5: an anchor (&x); a spec is plain data"),
        ("b: 1\n*x : 1\n", "s.yaml:2:1: an alias (*x); a spec is plain data"),
        ("b: 1\n!!str a: 1\n", "s.yaml:2:1: a tag ('tag:yaml.org,2002:str'); a spec is plain data"),
        ("a: 1\nb: *x\n", "s.yaml:2:4: an alias (*x); a spec is plain data"),
        ("&a [*a]\n", "s.yaml:1:1: an anchor (&a); a spec is plain data"),
        ("a: 1\n<<: {b: 1}\n", "s.yaml:2:1: `<<` merges mappings; a spec is plain data"),
        ("a: !!python/object/apply:os.system [id]\n", "s.yaml:1:4: a tag ('tag:yaml.org,2002:python/object/apply:os.system'); a spec is plain data"),
        ("a: !!int ''\n", "s.yaml:1:4: a tag ('tag:yaml.org,2002:int'); a spec is plain data"),
        ("a: !local x\n", "s.yaml:1:4: a tag ('!local'); a spec is plain data"),
        ("? [a]\n: b\n", "s.yaml:1:3: a mapping has a key that is no text"),
        ("a:\n\tb: 1\n", "s.yaml:2:1: a tab; YAML is indented with spaces: use spaces"),
        ("a:\n  b: 1\n\tc: 2\n", "s.yaml:3:1: a tab; YAML is indented with spaces: use spaces"),
        ("a: [1, 2\n", "s.yaml:2:1: no YAML: expected ',' or ']', but got '<stream end>' while parsing a flow sequence"),
        ("a: 'x\n", "s.yaml:2:1: no YAML: found unexpected end of stream while scanning a quoted scalar"),
        ("a: b: c\n", "s.yaml:1:5: no YAML: no key can stand here; indent the line as its neighbours are, or put text that holds `: ` in quotes"),
        ("a: @x\n", "s.yaml:1:4: no YAML: found character '@' that cannot start any token while scanning for the next token"),
        ("a: 1\nb: x\0y\n", "s.yaml:2:5: NUL at byte 9; expected text"),
        ("a: \x1b[31m\n", "s.yaml:1:4: the control character U+001B at byte 3; expected text"),
        (b"a: 1\nb: \xff\n", "s.yaml:2:4: byte 8 (0xff) is not UTF-8"),
        ("猫: 1\n".encode() + b"b: \xe9t\xe9\n", "s.yaml:2:4: byte 10 (0xe9) is not UTF-8"),
        ("a: 1\n".encode("utf-16"), "s.yaml:1:1: UTF-16; expected UTF-8"),
        ("a: 1\n".encode("utf-16-be"), "s.yaml:1:1: UTF-16; expected UTF-8"),
        ("a: " + "[" * 100_000 + "\n", "s.yaml:1:35: nested more than 32 deep"),
        ("- " * 5_000 + "\n", "s.yaml:1:65: nested more than 32 deep"),
        ("a: [" + "1, " * 10_000 + "1]\n", "s.yaml:1:29996: more than 10,000 values"),
        ("a: " + "x" * (1 << 20), "s.yaml:1:1: larger than 1 MiB; expected a spec"),
    ],
    ids=lambda value: str(value)[:24],
)  # fmt: skip
def test_what_is_no_spec_is_refused_where_it_stands(complaints: Complaints, text: str | bytes, line: str) -> None:
    assert complaints(text) == [line]


def test_yaml_1_2_may_say_that_it_is() -> None:
    node, problems = compose("%YAML 1.2\n---\na: 1\n", "s.yaml")
    assert node is not None
    assert (plain(node), problems) == ({"a": 1}, [])


def nested(text: str, depth: int, inner: str) -> str:
    """`{a: {a: inner}}`, or lists."""
    opens, closes = ("{a: ", "}") if text == "table" else ("[", "]")
    return opens * depth + inner + closes * depth


@pytest.mark.parametrize(
    ("text", "column"),
    [
        (nested("table", 31, "1"), None),
        (nested("table", 31, "{}"), None),
        (nested("table", 31, "[]"), None),
        (nested("list", 31, "1"), None),
        (nested("list", 31, "{}"), None),
        (nested("table", 31, "{b: 1}"), 4 * 31 + 2),  # the key is the first that is too deep
        (nested("table", 32, "1"), 4 * 31 + 2),
        (nested("list", 31, "[1]"), 31 + 2),
        (nested("list", 31, "{b: 1}"), 31 + 2),
        (nested("list", 32, "[]"), 32 + 1),
    ],
)
def test_thirty_two_are_not_too_deep(text: str, column: int | None) -> None:
    if column is None:
        assert compose(text, "s.yaml")[0] is not None
        return
    with pytest.raises(SpecErrors) as caught:
        compose(text, "s.yaml")
    assert [str(problem) for problem in caught.value.problems] == [f"s.yaml:1:{column}: nested more than 32 deep"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1, 2, 3, 4, 5, 6, 7]\n", None),
        ("a: [1, 2, 3, 4, 5, 6, 7, 8]\n", "1:26"),
        ("a: 1\nb: 2\nc: 3\nd: 4\n", None),
        ("a: 1\nb: 2\nc: 3\nd: 4\ne: 5\n", "5:4"),
        ("a: [[], {}, [[]], {b: 1}]\n", None),
        ("a: [[], {}, [[]], {b: {}}, []]\n", "1:28"),
    ],
)
def test_mappings_lists_keys_and_values_count_alike(text: str, place: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composing, "NODES", 10)
    if place is None:
        assert compose(text, "s.yaml")[0] is not None
        return
    with pytest.raises(SpecErrors, match=f"s.yaml:{place}: more than 10 values"):
        compose(text, "s.yaml")


def test_a_byte_order_mark_is_accepted(read: Callable[..., Any], good: str) -> None:
    assert read("\ufeff" + good).name == "good"


def test_windows_line_ends_are_accepted(read: Callable[..., Any], good: str) -> None:
    assert read(good.replace("\n", "\r\n")).filled() == read(good).filled()


BOMBS = {
    "laughs": "a: &a [x, x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{'*' + chr(97 + i)}, {'*' + chr(97 + i)}]\n" for i in range(20)),
    "nested": "a: " + "[" * 100_000,
    "braces": "a: " + "{b: " * 50_000,
    "dashes": "- " * 200_000,
    "questions": "? " * 200_000,
    "large": "a: " + "9" * (11 << 20),
    "digits": "a: " + "9" * 1_000_000,
    "hex": "a: 0x" + "f" * 1_000_000,
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(tmp_path: Any, name: str) -> None:
    from cdkit.spec import read_spec

    path = tmp_path / "bomb.yaml"
    path.write_text(BOMBS[name])
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, process_time()
    with pytest.raises(SpecErrors):
        read_spec(path)
    assert process_time() - started < 5.0, "seconds of a core, whoever shares it; it takes a fraction"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:-[]{},?&*!|>'\"%@`# \n\t.\\0é\u200b"), max_size=60))
def test_no_text_makes_it_stumble(text: str) -> None:
    """Whatever the text, it is read, or refused with a place inside it."""
    try:
        node, problems = compose(text, "s.yaml")
    except SpecErrors as error:
        problems = list(error.problems)
        assert problems
    else:
        assert node is None or plain(node) is not NotImplemented
    for problem in problems:
        assert problem.message
        assert 1 <= problem.place.line <= text.count("\n") + 2
        assert problem.place.column >= 1
