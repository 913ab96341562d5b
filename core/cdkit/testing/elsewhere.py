"""Checks of any module: laid out without memory, at home on any device, copied, sent to another process."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from cdkit.testing.verdict import require, require_equal

META = torch.device("meta")
NO_NUMBERS = ("cannot be called on meta tensors", "Cannot copy out of meta tensor", "torch.nonzero()")


def require_layout(made: Callable[[], nn.Module]) -> None:
    """Made under `torch.device("meta")` a module has the tensors that it has on the CPU, and none of them holds numbers."""
    with META:
        bare = made()
    layout = {name: tuple(value.shape) for name, value in bare.state_dict().items()}
    expected = {name: tuple(value.shape) for name, value in made().state_dict().items()}
    require("meta", layout == expected, "names and shapes on the meta device", measured=layout, allowed=expected)
    placed = sorted(name for name, value in tensors(bare) if value.device != META)
    require("meta", not placed, "tensors that hold numbers there", measured=placed, allowed="none: make them with no device")


def tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def require_at_home(answer: Callable[[torch.device], Any]) -> None:
    """Moved to another device it answers there: nothing that it makes or keeps stays behind.

    `answer(device)` is what a module that was moved there, and given what lies there, answers. The other device is the meta
    device, where a tensor of the CPU's is refused; and a GPU, where there is one. Who asks a tensor for its numbers, as a
    tokenizer kept in a buffer does, can be tried on a GPU alone: the meta device has none.
    """
    for device in (META, *([torch.device("cuda", 0)] if torch.cuda.is_available() else [])):
        try:
            with torch.no_grad():
                found = tree_leaves(answer(device))
        except (RuntimeError, NotImplementedError) as error:
            reason = str(error).splitlines()[0]
            if device == META and any(words in reason for words in NO_NUMBERS):
                continue
            raise AssertionError(f"devices: called on {device}: measured {reason!r}, allowed an answer there") from error
        strays = sorted({str(leaf.device) for leaf in found if isinstance(leaf, Tensor) and leaf.device != device})
        require("devices", not strays, f"devices of what it answers on {device}", measured=strays, allowed=device)


def require_copies(made: object, answer: Callable[[Any], Any]) -> None:
    """A deep copy, and one that went through pickle as data loader workers and spawned processes send it, answer alike."""
    expected = tree_leaves(answer(made))
    for what, again in (("a deep copy", copied), ("a pickled copy", pickled)):
        found = tree_leaves(answer(again(made)))
        require("copies", len(found) == len(expected), f"answers of {what}", measured=len(found), allowed=len(expected))
        for one, other in zip(found, expected, strict=True):
            if isinstance(other, Tensor):
                require_equal("copies", one, other, f"what {what} answers")
            else:
                require("copies", one == other, f"what {what} answers", measured=one, allowed=other)


def copied(made: object) -> Any:
    """A deep copy of the object; AssertionError that says what in it cannot be copied."""
    try:
        return copy.deepcopy(made)
    except (TypeError, RuntimeError) as error:
        raise AssertionError(f"copies: a deep copy: measured {error}, allowed an object that can be copied") from error


def pickled(made: object) -> Any:
    """The object after a way through pickle; AssertionError that says what in it cannot go."""
    try:
        return pickle.load(io.BytesIO(pickle.dumps(made)))  # nosec B301 # our own bytes, of this very process
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise AssertionError(f"copies: sent to another process: measured {error}, allowed an object that pickles") from error


def require_whole_graph(network: nn.Module, called: Callable[[nn.Module], Tensor]) -> None:
    """torch.compile(fullgraph=True) takes it as one graph, and the graph answers as the code does."""
    expected = called(network)
    torch.compiler.reset()
    try:
        found = called(torch.compile(network, backend="eager", fullgraph=True))  # pyright: ignore[reportArgumentType]
    except Exception as error:  # torch's compiler raises what it likes
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise AssertionError(f"compile: torch.compile(fullgraph=True): measured {reason!r}, allowed one graph") from error
    finally:
        torch.compiler.reset()
    close = torch.allclose(found, expected, rtol=1e-4, atol=1e-4)
    require("compile", close, "the compiled network's answer", measured=float((found - expected).abs().max()), allowed="equal")
