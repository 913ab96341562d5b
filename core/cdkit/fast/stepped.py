"""Stepped: the network alone as one launch, for samplings that cannot be recorded as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from cdkit.fast.captured import Captured
from cdkit.fast.recent import Recent
from cdkit.fast.shapes import shapes
from cdkit.parts import Signals

Predict = Callable[[Tensor, Tensor, Signals], Tensor]


class Stepped:
    """predict(x, t, signals), recorded once for each shape of what it is told; signals are copied once a sampling."""

    def __init__(self, predict: Predict, most: int) -> None:
        self._predict = predict
        self._held: Recent[Captured] = Recent(most)
        self._told: tuple[Signals, Sequence[Tensor], TreeSpec] | None = None

    def __call__(self, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        if self._told is None or self._told[0] is not signals:
            self._told = (signals, *tree_flatten(signals))
        _, leaves, spec = self._told
        key = (shapes([x, t, *leaves]), repr(spec))
        return self._held.get(key, lambda: Captured(self._of(spec), [x, t], leaves))([x, t], leaves)

    def _of(self, spec: TreeSpec) -> Callable[..., Tensor]:
        def call(x: Tensor, t: Tensor, *leaves: Tensor) -> Tensor:
            return self._predict(x, t, tree_unflatten(leaves, spec))

        return call
