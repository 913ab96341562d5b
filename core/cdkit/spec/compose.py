"""compose: YAML text -> nodes with places, on PyYAML's pure-Python events (its C loader can be made to crash).

Refused where they stand: anchors, aliases, tags, merge keys, a second document, depth beyond 32, more than 10,000 nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from yaml import events as ev

from cdkit.registry.names import quoted, visible
from cdkit.spec.nodes import Entry, Listing, Node, Scalar, Table
from cdkit.spec.place import Place
from cdkit.spec.problem import Problem, refusal
from cdkit.spec.scalars import resolve
from cdkit.spec.source import check_characters

DEPTH = 32
ODD = re.compile("[\0\ud800-\udfff]")
NODES = 10_000
PLAIN_DATA = "a spec is plain data"

Marked = Callable[[Any], Place]


def compose(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """The document's root, None if it is empty, and what can be reported along with other mistakes.

    Raises SpecErrors for what cannot be read at all.
    """
    check_characters(text, file)
    return Composer(text, lambda mark: Place(file, mark.line + 1, mark.column + 1)).document()


def compose_value(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """The same for a value that stands in no file."""
    check_characters(text, file)
    return Composer(text, lambda _: Place(file)).document()


class Composer:
    """Events -> nodes, by recursion that the depth limit bounds."""

    def __init__(self, text: str, placed: Marked) -> None:
        self.placed = placed
        self.problems: list[Problem] = []
        self.count = 0
        self._events = self._read(text)

    def document(self) -> tuple[Node | None, list[Problem]]:
        """The single document of the stream."""
        root = None
        for event in self._events:
            if isinstance(event, ev.DocumentStartEvent):
                if root is not None:
                    raise self._fatal(event, "a second document begins here; expected one spec a file", code="documents")
                self._check_directives(event)
                root = self._node(next(self._events), "", 1)
        empty = isinstance(root, Scalar) and root.text == "" and root.value is None
        return (None if empty else root), self.problems

    def _read(self, text: str) -> Iterator[Any]:
        """PyYAML's events; its errors become ours."""
        try:
            yield from yaml.parse(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark: Any = error.problem_mark or error.context_mark
            raise refusal([Problem(self.placed(mark), "", _sentence(error), code="syntax")]) from error

    def _node(self, event: Any, path: str, depth: int) -> Node:
        self._check(event, depth)
        if isinstance(event, ev.ScalarEvent):
            return self._scalar(event, path)
        if isinstance(event, ev.SequenceStartEvent):
            return self._listing(event, path, depth)
        return self._table(event, path, depth)

    def _scalar(self, event: Any, path: str) -> Scalar:
        place = self.placed(event.start_mark)
        text = self._sound(event.value, place, path)
        if event.style is not None:
            return Scalar(text, text, place)
        try:
            return Scalar(text, resolve(text), place)
        except OverflowError as error:
            self.problems.append(Problem(place, path, f"{quoted(text, 24)}: {error}", code="range"))
            return Scalar(text, 0, place)

    def _sound(self, text: str, place: Place, path: str) -> str:
        """The text, less what an escape such as "\\ud800" can put into it and nothing that reads it further on can hold."""
        if not ODD.search(text):
            return text
        self.problems.append(Problem(place, path, "half a surrogate pair or NUL, which no text holds", code="characters"))
        return ODD.sub("\ufffd", text)

    def _listing(self, event: Any, path: str, depth: int) -> Listing:
        items: list[Node] = []
        while not isinstance(step := next(self._events), ev.SequenceEndEvent):
            items.append(self._node(step, _joined(path, str(len(items))), depth + 1))
        return Listing(tuple(items), self.placed(event.start_mark))

    def _table(self, event: Any, path: str, depth: int) -> Table:
        entries: dict[str, Entry] = {}
        while not isinstance(step := next(self._events), ev.MappingEndEvent):
            key, place = self._key(step, path, depth), self.placed(step.start_mark)
            node = self._node(next(self._events), _joined(path, key), depth + 1)
            if key in entries:
                message = f"the key {quoted(key)} is written twice, first at {entries[key].place}"
                self.problems.append(Problem(place, _joined(path, key), message, "keep one of them", code="duplicate-key"))
            else:
                entries[key] = Entry(place, node)
        return Table(entries, self.placed(event.start_mark))

    def _key(self, event: Any, path: str, depth: int) -> str:
        """A key is text whatever it looks like: `on: 1` has the key "on"."""
        self._check(event, depth + 1)
        if not isinstance(event, ev.ScalarEvent):
            raise self._fatal(event, f"{path or 'a mapping'} has a key that is no text", code="syntax")
        if event.value == "<<" and event.style is None:
            raise self._fatal(event, f"`<<` merges mappings; {PLAIN_DATA}", "use `extends:` for a whole file", code="merge")
        return self._sound(event.value, self.placed(event.start_mark), path)

    def _check(self, event: Any, depth: int) -> None:
        """Anchors, aliases and tags are refused, and so is what is too deep or too much."""
        self.count += 1
        if isinstance(event, ev.AliasEvent):
            raise self._fatal(event, f"an alias (*{event.anchor}); {PLAIN_DATA}", "write the value out", code="alias")
        if event.anchor is not None:
            raise self._fatal(event, f"an anchor (&{event.anchor}); {PLAIN_DATA}", "write the value out", code="anchor")
        if event.tag is not None:
            raise self._fatal(event, f"a tag ({quoted(event.tag)}); {PLAIN_DATA}", "write the value without it", code="tag")
        if depth > DEPTH:
            raise self._fatal(event, f"nested more than {DEPTH} deep", code="limit")
        if self.count > NODES:
            raise self._fatal(event, f"more than {NODES:,} values", code="limit")

    def _check_directives(self, event: Any) -> None:
        if event.version not in (None, (1, 2)) or event.tags:
            raise self._fatal(event, "a directive; expected plain YAML 1.2", "remove the line that begins with %", code="syntax")

    def _fatal(self, event: Any, message: str, hint: str = "", *, code: str) -> Exception:
        return refusal([Problem(self.placed(event.start_mark), "", message, hint, code)])


def _joined(path: str, key: str) -> str:
    return f"{path}.{visible(key)}" if path else visible(key)


def _sentence(error: Any) -> str:
    """PyYAML's complaint in one line."""
    problem = str(error.problem or "this is no YAML")
    if problem == "mapping values are not allowed here":
        return "no YAML: no key can stand here; indent the line as its neighbours are, or put text that holds `: ` in quotes"
    if "'\\t'" in problem:
        return "a tab; YAML is indented with spaces: use spaces"
    context = f" {error.context}" if error.context else ""
    return f"no YAML: {problem}{context}"
