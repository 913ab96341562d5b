"""Draft: a spec while it is being read. It goes on after a mistake, so that all of them are reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cdkit.errors import PluginError
from cdkit.registry import Registry, UnknownPart
from cdkit.registry.catalogue import catalogue
from cdkit.registry.names import NO_IMPORTS, a, is_name, letters, quoted
from cdkit.spec.keys import Keys, section_keys
from cdkit.spec.model import PartSpec
from cdkit.spec.nodes import Entry, Listing, Node, Scalar, Table, is_null, named, text_of
from cdkit.spec.options import REQUIRED
from cdkit.spec.problem import Problem
from cdkit.spec.roles import keys_of
from cdkit.spec.validate import joined, validated
from cdkit.version import VERSION


@dataclass(frozen=True, slots=True)
class Part:
    """A part that was read: its spec, the values of the keys that core reads, and its factory."""

    spec: PartSpec
    core: Mapping[str, Any]
    factory: Any


class Draft:
    """Reads the pieces of a spec against a registry and gathers what is wrong with them."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.problems: list[Problem] = []

    def blame(self, node: Node | Entry, path: str, message: str, hint: str = "", *, code: str, plugin: bool = False) -> None:
        self.problems.append(Problem(node.place, path, message, hint, code, plugin))

    def section(self, node: Node | None, keys: Any, path: str) -> dict[str, Any] | None:
        """The values of a section whose keys are the arguments of a class; the defaults if it is not written. None if wrong."""
        if node is None or is_null(node):
            options = section_keys(keys).options
            return (
                {name: o.default for name, o in options.items()}
                if all(o.default is not REQUIRED for o in options.values())
                else None
            )
        if not isinstance(node, Table):
            self.blame(node, path, f"{named(node)}; expected a mapping", code="type")
            return None
        values, problems = validated(node, section_keys(keys), path, f"{path} (cdkit=={VERSION})")
        self.problems += problems
        return None if problems else values

    def part(self, kind: str, node: Node | None, path: str) -> Part | None:
        """A part that is registered under the kind; None if none is written, or it is wrong."""
        if node is None or is_null(node):
            return None
        use = self._use(kind, node, path)
        if use is None or not isinstance(node, Table):
            return None
        found = self._found(kind, use, joined(path, "use"))
        if found is None:
            return None
        factory, keys, provider = found
        values, problems = validated(node, keys, path, f"{use.text} ({provider})")
        self.problems += problems
        return None if problems else self._made(kind, use.text, node, provider, factory, keys, values)

    def parts(self, kind: str, node: Node | None, path: str) -> list[tuple[Node, Part | None]]:
        """The parts of a list, each with its node."""
        if node is None or is_null(node):
            return []
        if not isinstance(node, Listing):
            self.blame(node, path, f"{named(node)}; expected a list", "write `- {use: ...}`, one a line", code="type")
            return []
        for index, item in enumerate(node.items):
            if is_null(item):
                self.blame(item, f"{path}.{index}", "nothing; expected {use: ...}", code="type")
        return [(item, self.part(kind, item, f"{path}.{index}")) for index, item in enumerate(node.items)]

    def _use(self, kind: str, node: Node, path: str) -> Scalar | None:
        """The scalar that names the part."""
        if not isinstance(node, Table):
            text = text_of(node)
            hint = f"write {{use: {text}}}" if text and is_name(text) else ""
            self.blame(node, path, f"{named(node)}; expected a mapping with `use`", hint, code="type")
            return None
        use = node.get("use")
        if use is None:
            names = ", ".join(self.registry.names(kind)) or "none is installed"
            self.blame(node, path, f"missing key 'use'; expected the name of {a(kind)}: {names}", code="missing-key")
            return None
        text = text_of(use)
        if text is None or not isinstance(use, Scalar):
            self.blame(use, joined(path, "use"), f"{named(use)}; expected the name of {a(kind)}", code="type")
            return None
        if not is_name(text):
            odd = letters(text)
            message = f"{quoted(text)} is no name of {a(kind)}" + (f": it holds {odd}" if odd else "") + f"; {NO_IMPORTS}"
            names = ", ".join(self.registry.names(kind))
            self.blame(use, joined(path, "use"), message, f"expected one of {names}" if names else "", code="name")
            return None
        return use

    def _found(self, kind: str, use: Scalar, path: str) -> tuple[Any, Keys, str] | None:
        """The named part's factory, keys and provider; its plugin is imported here."""
        try:
            factory = self.registry.get(kind, use.text)
            return factory, keys_of(kind, factory), self.registry.provider(kind, use.text)
        except UnknownPart as error:
            wanted = catalogue().get(f"{kind}.{use.text}")
            self.blame(use, path, str(error), f"pip install {wanted}" if wanted else error.hint, code="unknown-part")
        except PluginError as error:
            self.blame(use, path, str(error), error.hint, code="plugin", plugin=True)
        except TypeError as error:
            provider = self.registry.provider(kind, use.text)
            self.blame(use, path, f"{kind} {use.text!r} of {provider} cannot be used: {error}", code="plugin", plugin=True)
        return None

    def _made(self, kind: str, use: str, node: Table, provider: str, factory: Any, keys: Keys, values: dict[str, Any]) -> Part:
        own = {name: values[name] for name, key in keys.options.items() if not key.core}
        places = {name: entry.place for name, entry in node.entries.items() if name in keys.options and name != "use"}
        spec = PartSpec(kind, use, own, node.place, places, provider, self.registry)
        return Part(spec, {name: values[name] for name, key in keys.options.items() if key.core}, factory)
