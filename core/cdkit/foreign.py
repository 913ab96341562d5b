"""What others call a model's parts: the kind `format`, and a model of theirs in our words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from torch import Tensor, nn

Files: TypeAlias = Mapping[str, bytes | Mapping[str, Tensor]]  # by file name: as they are, or the tensors of a safetensors


@dataclass(frozen=True, slots=True)
class Foreign:
    """A model that others keep in their own layout, in our words: what a Format reads, and what it writes."""

    spec: Mapping[str, Any]  # as YAML gives it; `here:NAME` is the folder NAME of `beside`, any other folder a path
    weights: Mapping[str, Tensor]  # of the backbone with its taps, by our names, in the dtype of the file
    averaged: bool | None  # True: the moving average (EMA); False: what the optimizer moved; None: nobody says
    beside: Mapping[str, Callable[[], Files]]  # folders that go with the weights, read when they are asked for
    notes: tuple[str, ...] = ()  # what was found out, taken for granted or left out: a line each, for a person


LoraPart: TypeAlias = Literal["down", "up", "alpha"]


class LoraKey(NamedTuple):
    """What one tensor of a LoRA file is."""

    layer: str  # our name of the layer that it adapts
    part: LoraPart


@dataclass(frozen=True, slots=True)
class LoraNames:
    """What a LoRA file's keys mean; a key that is not in it is unknown."""

    keys: Mapping[str, LoraKey]
    alphas: Mapping[str, float]  # by our name of a layer, where the file says alpha elsewhere than in a tensor


class Format(ABC):
    """How others keep models on disk. Made as cls(); what it cannot express it refuses with UsageError."""

    @abstractmethod
    def recognises(self, source: Path) -> bool:
        """Is this file or folder one of its kind? Looked at briefly: no tensor is read."""

    @abstractmethod
    def read(
        self, source: Path, *, averaged: bool | None = None, prediction: str | None = None, tokenizer: Path | None = None
    ) -> Foreign:
        """averaged: which weights, where there are two sets; None takes the average and notes it. prediction: what the network
        predicts, and tokenizer: its folder, where the source does not say. CheckpointError for tensors that it has no place for.
        """

    @abstractmethod
    def write(self, model: Foreign, target: Path) -> Sequence[str]:
        """Leave the model at a path that is not there yet; returns notes. UsageError for what the format cannot express."""

    def network(self, model: Foreign) -> nn.Module | None:
        """The network of the library whose format this is, over the model's tensors: called with x (B, C, H, W), t (B,) and the
        streams by name, it answers what the backbone does. Measured against, and held to. None where there is none.

        UsageError for what it cannot express; EnvironmentFault where the library is not installed.
        """
        del model
        return None

    def lora(
        self, keys: Collection[str], metadata: Mapping[str, str], layers: Collection[str], spec: Mapping[str, Any]
    ) -> LoraNames | None:
        """What the keys of a LoRA file mean in a model of this spec, whose adaptable layers have these names.

        metadata: the header of the safetensors file. None for a file whose names are not its kind's.
        """
        del keys, metadata, layers, spec
        return None

    def part(self, keys: Collection[str], own: Sequence[str]) -> Mapping[str, str] | None:
        """The keys of a file that holds a part of a model (an IP-Adapter) -> our names, as far as they are known.

        own: the names of all tensors of the model, in its own order. None for a file whose names are not its kind's.
        """
        del keys, own
        return None
