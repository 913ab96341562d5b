"""The interfaces: everything that an encoder, a method, a network or a sampler has to be.

The U-Net has places; a method fills places; prepare once, apply every step. What stands around a model (data sets, metrics,
callbacks, formats, approximations) lies in files of its own, and is imported from here like the rest.

Letters in shapes, here and throughout the project: B batch, C channels or width, H W rows and columns of a
feature map, N image tokens, L words (tokens of a condition), D width of a token, P width of a pooled vector,
K channels of a map, E width of the time embedding, S steps of a sampling.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from cdkit.activated import Modulating, Modulation, activated, by_kernel, joined
from cdkit.adaptable import Adaptable, AdaptableModule, layers_of
from cdkit.added import Passing, added, passes
from cdkit.approximating import Approximation, Around, Detour, Filled, Nested, SelfAttending
from cdkit.biasless import biasless
from cdkit.cache import cache_folder
from cdkit.errors import CdkitError, CheckpointError, DataError, EnvironmentFault, PromptError, UsageError
from cdkit.figures import NonNegative, Positive, PositiveFloat, SampleShape, Unit
from cdkit.foreign import Files, Foreign, Format, LoraKey, LoraNames, LoraPart
from cdkit.geglu import geglu
from cdkit.heard import heard
from cdkit.judging import Acting, Examinee, Metric
from cdkit.kernels import (
    adds,
    attention,
    layer_normed,
    plus,
    stem,
    suits,
    summed_product,
    sums,
    woven,
)
from cdkit.learning import Callback, Dataset, Example
from cdkit.pretrained import cached_dataset, cached_model, is_hub_name, missing_model, model_folder, read_json
from cdkit.residual import residual
from cdkit.site import Layout, Site, SiteKind

__all__ = [
    "Acting",
    "Adaptable",
    "Approximation",
    "Around",
    "Autoencoder",
    "Backbone",
    "Callback",
    "CdkitError",
    "CheckpointError",
    "Conditioning",
    "ConditioningInjector",
    "DataError",
    "Dataset",
    "Denoise",
    "Detour",
    "Encoder",
    "EnvironmentFault",
    "Examinee",
    "Example",
    "Files",
    "Filled",
    "Foreign",
    "Format",
    "Grid",
    "Guider",
    "Joined",
    "Joiner",
    "Layout",
    "LoraKey",
    "LoraNames",
    "LoraPart",
    "Metric",
    "Modulating",
    "Modulation",
    "Mount",
    "Nested",
    "NonNegative",
    "Passing",
    "Positive",
    "PositiveFloat",
    "PromptError",
    "SampleShape",
    "Sampler",
    "SelfAttending",
    "SequenceTap",
    "Settling",
    "Signal",
    "Signals",
    "Site",
    "SiteKind",
    "Stream",
    "Tap",
    "TextEncoder",
    "Timed",
    "Unit",
    "UsageError",
    "Widths",
    "activated",
    "added",
    "adds",
    "attention",
    "biasless",
    "by_kernel",
    "cache_folder",
    "cached_dataset",
    "cached_model",
    "geglu",
    "heard",
    "is_hub_name",
    "joined",
    "layer_normed",
    "layers_of",
    "missing_model",
    "model_folder",
    "passes",
    "plus",
    "read_json",
    "residual",
    "stem",
    "suits",
    "summed_product",
    "sums",
    "woven",
]

# --------------------------------------------------------------------------- what is said


@dataclass(frozen=True, slots=True)
class Stream:
    """One condition, encoded, in the forms that its encoder offers; a form it lacks is None."""

    tokens: Tensor | None = None  # (B, L, D)
    mask: Tensor | None = None  # (B, L) bool, True where a token counts; None: all of them do
    pooled: Tensor | None = None  # (B, P)
    spatial: Tensor | None = None  # (B, K, H, W)


class Widths(NamedTuple):
    """D, P and K of a stream, known before any data; 0 for a form that it lacks."""

    tokens: int = 0
    pooled: int = 0
    spatial: int = 0


Conditioning: TypeAlias = Mapping[str, Stream]  # streams by the condition's name


class Encoder(AdaptableModule, ABC):
    """Raw values of one condition -> a Stream. Its constructor's keyword arguments are its keys in a spec.

    A constructor that has a parameter `sample` is given the SampleShape of the spec; it is no key.
    """

    widths: Widths
    trainable: ClassVar[bool] = True  # what a spec that does not say `trainable:` gets
    licence: ClassVar[str] = ""  # of the weights that it comes with, SPDX or words; "" where nobody has stated it
    masks_padding: ClassVar[bool] = True  # False: padding can change what comes out, and the docstring says why

    @abstractmethod
    def forward(self, raw: Sequence[Any]) -> Stream:
        """B raw values -> a stream of batch B on the device of the encoder's weights. PromptError if one cannot be read."""

    @abstractmethod
    def null(self, n: int) -> Stream:
        """What "nothing was said" looks like, n times: an empty prompt, a null index, zeros, or something learned."""

    @abstractmethod
    def examples(self) -> tuple[Any, Any]:
        """Two raw values that must not read alike: what proves that a condition is alive is told these."""

    def fit(self, values: Iterable[Any]) -> None:
        """Learn what precedes training (a vocabulary) from the training split's raw values; most learn nothing here."""
        del values

    def recordable(self) -> Sequence[nn.Module]:
        """Networks within it that it calls with tensors alone and that wait for nothing: a GPU may replay their calls."""
        return ()

    @classmethod
    def narrow(cls, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The same options for a small twin with random weights; None: too heavy, let the proof start at its stream."""
        return options


class TextEncoder(Encoder):
    """The encoder whose raw values are prompts (str); offers tokens, mask and pooled. Null: the empty prompt, unless it says."""

    def examples(self) -> tuple[str, str]:
        """Equally long, so that an encoder which tells nothing but the length is caught."""
        return "a red cat", "a big dog"

    def null(self, n: int) -> Stream:
        """The empty prompt, n times."""
        return self([""] * n)

    def spans(self, prompt: str) -> Sequence[tuple[int, int]] | None:
        """The characters [start, end) of a prompt that each of its L tokens was read from; (0, 0): none. None: it cannot say.

        The prompt is in Unicode's form C, with one blank between two words.
        """
        del prompt


class Joiner(nn.Module, ABC):
    """An encoder of other conditions' streams (SDXL's two text encoders): made as cls(widths, **options).

    In a spec its `of:` names the conditions, in order; `widths` are theirs.
    """

    widths: Widths

    @abstractmethod
    def forward(self, *streams: Stream) -> Stream:
        """Streams of one batch -> one stream. Nulls are joined from the parts' nulls."""


# --------------------------------------------------------------------------- where it gets in

Signal: TypeAlias = Any  # a pytree of tensors, batch first: keys and values, scales and shifts, maps
Signals: TypeAlias = Mapping[str, Mapping[str, Signal]]  # by site, then by the injector's name in the spec


class Tap(AdaptableModule, ABC):
    """One method at one site. New, it returns h unchanged (its last projection starts at zero) or its docstring says why not."""

    @abstractmethod
    def prepare(self, *streams: Stream) -> Signal:
        """What no time step changes, from the injector's streams in their order: computed once a batch."""

    @abstractmethod
    def forward(self, h: Tensor, signal: Signal, emb: Tensor) -> Tensor:
        """h in the site's layout, the prepared signal and emb (B, E) -> h, of the same shape and dtype. Every step."""

    def attention(self, h: Tensor, signal: Signal) -> Tensor | None:
        """How much of its attention each place of h gives to each token of the first stream: (B, heads, N, L), 0 where masked.

        Asked for beside `forward`, of the same h and signal, when somebody wants to see it; None: the method has no such thing.
        """
        del h, signal

    def modulation(self, signal: Signal, emb: Tensor) -> Modulation | None:
        """Scale and shift (B, C) if all that forward does is h (1 + scale) + shift, so that a kernel may do it; else None."""
        del signal, emb
        return None


@dataclass(frozen=True, slots=True)
class Joined:
    """What self-attention reads at a `sequence` site: rows to query, keep and attend to, and the keys that count.

    `keys` and `values`, both or neither, are more of them, made by a method's own projections of R rows that ask nothing and
    that the backbone's projections never see; only a site that declares `keys` is given any.
    """

    tokens: Tensor  # (B, N + M, C); the first N rows are the picture's own, and the backbone keeps those
    mask: Tensor | None = None  # (B, N + M + R) bool over keys, those of the tokens first; None: all count
    keys: Tensor | None = None  # (B, R, A), before they are split into heads
    values: Tensor | None = None  # (B, R, A)

    def with_own(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values that a backbone projected of the tokens, and those that came projected behind them: (B, …, A)."""
        if self.keys is None or self.values is None:
            return k, v
        return torch.cat([k, self.keys.to(k.dtype)], dim=1), torch.cat([v, self.values.to(v.dtype)], dim=1)


class SequenceTap(AdaptableModule, ABC):
    """A method at a `sequence` site: it adds tokens, or keys and values, to those that self-attention reads."""

    @abstractmethod
    def prepare(self, *streams: Stream) -> Signal: ...

    @abstractmethod
    def forward(self, h: Tensor, signal: Signal, emb: Tensor) -> Joined:
        """h (B, N, C) -> only the M tokens, or the R keys and values, to append, with their mask (B, M + R)."""


class ConditioningInjector(Protocol):
    """A conditioning method, made as cls(streams, widths, **options) from the names and widths of the streams it reads.

    The constructor raises ValueError for streams that it cannot use, saying which form it needs.
    """

    def tap(self, site: Site) -> Tap | SequenceTap | None:
        """A new tap for this site, drawn from the current random state; None: no place for this method there."""
        ...


class Mount(Protocol):
    """How a backbone, while it is being made, opens a place. It gets a slot: every tap there, in the spec's order.

    For every kind but `sequence` the slot is called slot(h, signals, emb) -> h. At a `sequence` site it returns Joined.
    With no tap it returns h as it came (Joined(h) at a `sequence` site).
    """

    def __call__(self, site: Site) -> nn.Module: ...


class Backbone(AdaptableModule, ABC):
    """The denoising network, made as cls(mount, sample, **options): it names its sites, never the methods that fill them."""

    multiple: int = 1  # H and W must be multiples of this

    @abstractmethod
    def forward(self, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        """x (B, C, H, W), t (B,) float in [0, 1000] -> (B, C, H, W), what the spec's `prediction` says."""

    @classmethod
    def narrow(cls, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The same options, as narrow as the architecture allows, with the same sites; None: it cannot be narrowed."""
        return options


class Timed(ABC):
    """A backbone that can work out beforehand, for all steps of a sampling at once, what a step's time alone decides."""

    @abstractmethod
    def moments(self, t: Tensor, branches: int) -> Sequence[Any] | None:
        """t (S,) -> what `forward` takes instead of a time that all pictures share, one each; None if conditions have a say.

        branches: x will hold every picture so many times, one behind the other, and signals differ.
        """


class Settling(ABC):
    """A module that can be laid out for drawing alone, when its weights change no more: the same function, to rounding."""

    @abstractmethod
    def settle(self) -> None:
        """Put side by side what is read together, fold constants into each other. LoRAs are merged before."""


# --------------------------------------------------------------------------- how a picture forms


@dataclass(frozen=True, slots=True)
class Grid:
    """The S steps of a sampling, from noise (index 0) to clean (index S): x = alpha * clean + sigma * noise.

    float64 on the CPU, finite for zero-terminal-SNR (alpha[0] == 0) and flow too; alpha[S] == 1 and sigma[S] == 0.
    """

    t: Tensor  # (S + 1,) what the network is told, in [0, 1000]
    alpha: Tensor  # (S + 1,)
    sigma: Tensor  # (S + 1,)

    def __len__(self) -> int:
        return len(self.t) - 1


Denoise: TypeAlias = Callable[[Tensor, int], Tensor]  # x (B, C, H, W) and an index into the grid -> clean x


class Sampler(Protocol):
    """Pure: no prompt and no guidance in sight. A part of this kind is a frozen dataclass whose fields are its options."""

    def __call__(self, denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
        """x, a picture at the noise level of index 0, -> the clean picture. Fresh noise comes from generators, one an image."""
        ...


class Guider(ABC):
    """Combines what the model draws when it is told everything with what it draws when it is told less."""

    @abstractmethod
    def branches(self, conditions: Sequence[str], grid: Grid, index: int) -> Sequence[frozenset[str]]:
        """The conditionings this step asks for, each the set of conditions that keep silent; frozenset() tells all.

        One branch is one row a picture in the batch; all of them run in one call.
        """

    @abstractmethod
    def combine(self, clean: Sequence[Tensor], grid: Grid, index: int) -> Tensor:
        """Clean pictures (B, C, H, W), one a branch in the order of `branches` -> the guided clean picture."""


class Autoencoder(nn.Module, ABC):
    """Pixels <-> latents. `factor` pixels a latent row; latents are scaled to about unit variance."""

    factor: int
    channels: int
    trainable: ClassVar[bool] = False  # True: `task: autoencoder` trains it, and its state dict holds its weights

    @abstractmethod
    def encode(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, C, H / factor, W / factor); the mean where no generator is given."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, H / factor, W / factor) -> (B, 3, H, W) in [-1, 1]."""

    def loss(self, pixels: Tensor, noise: Tensor) -> Tensor:
        """What training lowers, a scalar, for pixels (B, 3, H, W) and standard normal noise (B, C, H / factor, W / factor).

        By default the mean absolute error of what comes back, without the noise.
        """
        del noise
        return (self.decode(self.encode(pixels)) - pixels).abs().mean()
