"""Shapes: what two calls must share to be one recording; and streams as a flat row of tensors, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cdkit.conditions import forms_of
from cdkit.parts import Stream

Shape = tuple[tuple[int, ...], torch.dtype]


def shapes(tensors: Iterable[Tensor]) -> tuple[Shape, ...]:
    return tuple((tuple(tensor.shape), tensor.dtype) for tensor in tensors)


class Row(NamedTuple):
    """Streams by name, flat: where each tensor stands, and the tensors."""

    places: tuple[tuple[str, str], ...]  # the stream's name and the form
    tensors: list[Tensor]

    def streams(self, tensors: Sequence[Tensor]) -> dict[str, Stream]:
        """Other tensors in the same places."""
        forms: dict[str, dict[str, Tensor]] = {}
        for (name, form), tensor in zip(self.places, tensors, strict=True):
            forms.setdefault(name, {})[form] = tensor
        return {name: Stream(**given) for name, given in forms.items()}


def row_of(streams: Mapping[str, Stream]) -> Row:
    flat = [((name, form), value) for name, stream in streams.items() for form, value in forms_of(stream)]
    return Row(tuple(place for place, _ in flat), [tensor for _, tensor in flat])
