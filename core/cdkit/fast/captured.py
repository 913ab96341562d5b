"""Captured: a function of tensors, recorded on a GPU once and replayed as one launch (CUDA graphs)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from cdkit.kernels import gathered


class Captured:
    """function(*inputs, *constants) -> a tree of tensors; every later call has tensors of the same shapes, dtypes and device.

    constants are copied only when they come in another list than last time. Raises RuntimeError where the function does what
    cannot be recorded: waiting for the GPU, or copying from the CPU. Before it is recorded it runs twice, the first time with
    kernels of ours that write nothing (`gathered`).
    """

    def __init__(self, function: Callable[..., Any], inputs: Sequence[Tensor], constants: Sequence[Tensor] = ()) -> None:
        self._function = function  # what it holds must live as long as the recording
        self._inputs = [tensor.clone() for tensor in inputs]
        self._constants = [tensor.clone() for tensor in constants]
        self._given: Sequence[Tensor] | None = None

        def call() -> Any:
            return function(*self._inputs, *self._constants)

        _aside(call)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._out = call()

    def __call__(self, inputs: Sequence[Tensor], constants: Sequence[Tensor] = ()) -> Any:
        """New tensors; nothing waits."""
        _copy(self._inputs, inputs)
        if constants is not self._given:
            _copy(self._constants, constants)
            self._given = constants
        self._graph.replay()
        return tree_map_only(Tensor, Tensor.clone, self._out)


def _aside(call: Callable[[], Any]) -> None:
    """Two calls on a stream of their own, as recording asks for: in the first, kernels are chosen and compiled."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        with gathered():
            call()
        call()
    torch.cuda.current_stream().wait_stream(stream)


def _copy(held: Sequence[Tensor], given: Sequence[Tensor]) -> None:
    for mine, new in zip(held, given, strict=True):
        mine.copy_(new, non_blocking=True)
