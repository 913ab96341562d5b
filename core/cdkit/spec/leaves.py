"""leaves: every value of a filled spec with its path, and where each was said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdkit.registry import Registry
from cdkit.spec.layers import layered
from cdkit.spec.nodes import Node, below, is_null
from cdkit.spec.place import Place
from cdkit.spec.read import read_tree

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value. `place`: where it was said, None for a default; `use`: the part that it is an option of, "" for a section's."""

    path: str
    value: Any
    place: Place | None
    use: str = ""

    @property
    def origin(self) -> str:
        """`specs/film.yaml:6:12`, `--set train.lr`, or `default of unet`."""
        return str(self.place) if self.place else f"{DEFAULT} of {self.use}" if self.use else DEFAULT


def leaves(source: Path | str, overrides: Sequence[str] = (), *, registry: Registry | None = None) -> list[Leaf]:
    """The values of a spec in the order in which it is filled. SpecErrors as `read_spec` raises them."""
    root, problems = layered(source, overrides)
    spec = read_tree(root, problems, registry or Registry.installed())
    return list(flat(spec.filled(), root))


def flat(value: Any, node: Node | None, path: str = "", use: str = "") -> Iterator[Leaf]:
    """The leaves of plain values beside the nodes that say them; a list of scalars is one leaf, and so is what is empty."""
    if isinstance(value, Mapping) and value:
        use = value.get("use", use)
        for key, inner in value.items():
            yield from flat(inner, below(node, key), f"{path}.{key}" if path else key, use)
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for index, inner in enumerate(value):
            yield from flat(inner, below(node, str(index)), f"{path}.{index}", use)
    else:
        said = node is not None and (not is_null(node) or value is None)
        yield Leaf(path, value, node.place if node and said else None, use)
