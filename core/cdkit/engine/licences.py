"""licences: on what terms the data sets and pretrained encoders of a spec are given, as their parts state it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cdkit.parts import Encoder
from cdkit.spec import PartSpec, Spec


def licences(specs: Iterable[Spec]) -> dict[str, str]:
    """By `dataset NAME` and `encoder NAME`; "" where it states none. Encoders that start from nothing are left out."""
    return {f"{part.kind} {part.use}": part.factory().licence for spec in specs for part in given(spec)}


def given(spec: Spec) -> Iterator[PartSpec]:
    """What a spec takes from others: its data, and encoders that come trained."""
    if spec.data is not None:
        yield spec.data
    for condition in spec.conditions.values():
        made = condition.part.factory()
        if isinstance(made, type) and issubclass(made, Encoder) and (made.licence or not made.trainable):
            yield condition.part
