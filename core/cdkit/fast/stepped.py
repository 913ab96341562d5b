"""Stepped: the network alone as one launch, for samplings that cannot be recorded as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from cdkit.fast.captured import Captured
from cdkit.fast.recent import Recent
from cdkit.fast.shapes import shapes
from cdkit.model.course import Kept, Leg
from cdkit.parts import Signals


class Stepped:
    """One network's calls, recorded once for each way of making them and each shape of what it is told; signals are copied once a
    sampling."""

    def __init__(self, most: int) -> None:
        self._held: Recent[Captured] = Recent(most)
        self._told: tuple[Signals, Sequence[Tensor], TreeSpec] | None = None

    def __call__(self, leg: Leg, x: Tensor, t: Tensor, signals: Signals, kept: Kept) -> tuple[Tensor, Kept]:
        if self._told is None or self._told[0] is not signals:
            self._told = (signals, *tree_flatten(signals))
        _, leaves, spec = self._told
        inputs = [x, t, *kept.values()]
        key = (leg.key, tuple(kept), shapes([*inputs, *leaves]), repr(spec))
        return self._held.get(key, lambda: Captured(recordable(leg, tuple(kept), spec), inputs, leaves))(inputs, leaves)


def recordable(leg: Leg, places: Sequence[int], spec: TreeSpec) -> Callable[..., tuple[Tensor, Kept]]:
    """The leg as a function of tensors in a row."""

    def call(x: Tensor, t: Tensor, *rest: Tensor) -> tuple[Tensor, Kept]:
        kept, leaves = rest[: len(places)], rest[len(places) :]
        return leg(x, t, tree_unflatten(leaves, spec), dict(zip(places, kept, strict=True)))

    return call
