"""The interfaces: everything that an encoder, a method, a network or a sampler has to be.

The U-Net has places; a method fills places; prepare once, apply every step.

Letters in shapes, here and throughout the project: B batch, C channels or width, H W rows and columns of a
feature map, N image tokens, L words (tokens of a condition), D width of a token, P width of a pooled vector,
K channels of a map, E width of the time embedding, S steps of a sampling.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol, TypeAlias

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn

from cdkit.activated import Modulating, Modulation, activated, by_kernel
from cdkit.added import Passing, added
from cdkit.cache import cache_folder
from cdkit.errors import CdkitError, CheckpointError, DataError, EnvironmentFault, PromptError, UsageError
from cdkit.kernels import gelu_gate, layer_normed

__all__ = [
    "Adaptable",
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
    "Encoder",
    "EnvironmentFault",
    "Examinee",
    "Example",
    "Files",
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
    "NonNegative",
    "Passing",
    "Positive",
    "PositiveFloat",
    "PromptError",
    "SampleShape",
    "Sampler",
    "SequenceTap",
    "Settling",
    "Signal",
    "Signals",
    "Site",
    "SiteKind",
    "Stream",
    "Tap",
    "TextEncoder",
    "Unit",
    "UsageError",
    "Widths",
    "activated",
    "added",
    "by_kernel",
    "cache_folder",
    "gelu_gate",
    "layer_normed",
    "layers_of",
]

Positive = Annotated[int, Gt(0)]
NonNegative = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
Unit = Annotated[float, Interval(ge=0, le=1)]


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


@dataclass(frozen=True, slots=True)
class Adaptable:
    """A layer that low-rank corrections may be added to (LoRA), or those rows of a fused one that a name stands for.

    The layer is called, never read: a correction is added to what it answers. A Conv2d has one group and pads with zeros.
    """

    layer: nn.Linear | nn.Conv2d
    rows: slice | None = None  # of the output features, both ends said; None: all of them


class SampleShape(NamedTuple):
    """What the backbone draws: C, H and W of one picture or latent."""

    channels: int
    height: int
    width: int


class Encoder(nn.Module, ABC):
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

    def adaptable(self) -> Mapping[str, Adaptable]:
        """The layers that a LoRA may adapt, by names within it; none unless it says."""
        return {}

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


class Joiner(nn.Module, ABC):
    """An encoder of other conditions' streams (SDXL's two text encoders): made as cls(widths, **options).

    In a spec its `of:` names the conditions, in order; `widths` are theirs.
    """

    widths: Widths

    @abstractmethod
    def forward(self, *streams: Stream) -> Stream:
        """Streams of one batch -> one stream. Nulls are joined from the parts' nulls."""


# --------------------------------------------------------------------------- where it gets in

SiteKind: TypeAlias = Literal["input", "embed", "norm", "attend", "sequence", "branch", "skip"]
Layout: TypeAlias = Literal["map", "vector", "tokens"]


@dataclass(frozen=True, slots=True)
class Site:
    """A named place where a backbone lets conditions in.

    `input`: right after the stem. `embed`: the time embedding. `norm`: after a normalisation, before the activation.
    `attend`: after self-attention, before the feed-forward. `sequence`: the input of self-attention. `branch`: the end
    of a residual branch, before it is added. `skip`: a skip connection, before it is joined.
    """

    name: str  # unique in its backbone and stable: "down.1.res.0.norm1"
    kind: SiteKind
    layout: Layout  # h is (B, C, H, W), (B, C) or (B, N, C); at `attend` and `sequence` always tokens
    width: int  # C
    stride: int  # input rows per row of h; 1 at the input; 1 for a vector
    embedding: int  # E of the time embedding that a tap is handed here
    keys: int = 0  # A of self-attention's keys and values, at a `sequence` site that takes more of them; 0: it takes none
    padded: int = 1  # h stands for the picture with zeros on all sides, the odd one below and right, up to multiples of this


Signal: TypeAlias = Any  # a pytree of tensors, batch first: keys and values, scales and shifts, maps
Signals: TypeAlias = Mapping[str, Mapping[str, Signal]]  # by site, then by the injector's name in the spec


class Tap(nn.Module, ABC):
    """One method at one site. New, it returns h unchanged (its last projection starts at zero) or its docstring says why not."""

    @abstractmethod
    def prepare(self, *streams: Stream) -> Signal:
        """What no time step changes, from the injector's streams in their order: computed once a batch."""

    @abstractmethod
    def forward(self, h: Tensor, signal: Signal, emb: Tensor) -> Tensor:
        """h in the site's layout, the prepared signal and emb (B, E) -> h, of the same shape and dtype. Every step."""

    def modulation(self, signal: Signal, emb: Tensor) -> Modulation | None:
        """Scale and shift (B, C) if all that forward does is h (1 + scale) + shift, so that a kernel may do it; else None."""
        del signal, emb
        return None

    def adaptable(self) -> Mapping[str, Adaptable]:
        """The layers that a LoRA may adapt, by names within the tap ("attn2.to_q"); none unless it says."""
        return {}


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


class SequenceTap(nn.Module, ABC):
    """A method at a `sequence` site: it adds tokens, or keys and values, to those that self-attention reads."""

    @abstractmethod
    def prepare(self, *streams: Stream) -> Signal: ...

    @abstractmethod
    def forward(self, h: Tensor, signal: Signal, emb: Tensor) -> Joined:
        """h (B, N, C) -> only the M tokens, or the R keys and values, to append, with their mask (B, M + R)."""

    def adaptable(self) -> Mapping[str, Adaptable]:
        """As a Tap's."""
        return {}


def layers_of(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    """Every Linear and Conv2d within a module by its path, but for those within taps, which speak for themselves."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear | nn.Conv2d):
            yield prefix + name, child
        elif not isinstance(child, Tap | SequenceTap):
            yield from layers_of(child, f"{prefix}{name}.")


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


class Backbone(nn.Module, ABC):
    """The denoising network, made as cls(mount, sample, **options): it names its sites, never the methods that fill them."""

    multiple: int = 1  # H and W must be multiples of this

    @abstractmethod
    def forward(self, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        """x (B, C, H, W), t (B,) float in [0, 1000] -> (B, C, H, W), what the spec's `prediction` says."""

    def adaptable(self) -> Mapping[str, Adaptable]:
        """The layers that a LoRA may adapt, by peft-style names within the backbone ("down.0.attn.0.blocks.0.attn1.to_q").

        Its own alone, not those of taps; none unless it says. `layers_of` finds them where names are paths.
        """
        return {}

    @classmethod
    def narrow(cls, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The same options, as narrow as the architecture allows, with the same sites; None: it cannot be narrowed."""
        return options


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


# --------------------------------------------------------------------------- what it learns from, how it is judged


@dataclass(frozen=True, slots=True)
class Example:
    """One picture and everything that is true of it."""

    id: str  # stable whatever the split, the order or the machine: randomness is keyed by it
    image: Tensor  # (C, H, W) float32 in [-1, 1]
    values: Mapping[str, tuple[Any, ...]]  # by column, raw values that are equally true: {"text": ("a cat", "猫"), ...}


class Dataset(ABC):
    """Pictures with what is said of them. Made as cls(**options); it reads only files that `fetch` or its package left.

    Columns that every set names alike: `text` (captions in every language), `text.en`, `text.zh`, `label` (a class name).
    """

    columns: tuple[str, ...]
    shape: SampleShape
    licence: ClassVar[str] = ""  # of the pictures, SPDX or words; "" where nobody has stated it
    classes: tuple[str, ...] = ()  # names that `label` takes, in a fixed order; () where there are no classes

    @abstractmethod
    def split(self, name: Literal["train", "validation", "test"]) -> Sequence[Example]:
        """Pictures of one split; no two splits share a picture. DataError if the files are not there, saying how to get them."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Hex digest that changes when any picture, caption or split does."""

    def augment(self, example: Example, generator: torch.Generator) -> Example:
        """A variation for training, drawn from the generator; captions must stay true. By default the example itself."""
        del generator
        return example

    def prompts(self, language: str) -> Mapping[str, tuple[str, ...]]:
        """What to say, class by class, in a language: {"cat": ("a cat", ...)}; empty where it has no words for it."""
        del language
        return {}

    @classmethod
    def fetch(cls, cache: Path) -> None:
        """Obtain what is not bundled into the cache folder, check its sha256. EnvironmentFault with the way by hand."""
        del cache


class Examinee(Protocol):
    """A model under examination, as a metric sees it."""

    dataset: Dataset
    cache: Path  # a folder where a metric may keep what it trained
    device: torch.device

    def draw(self, values: Mapping[str, Sequence[Any]], seeds: Sequence[int], guidance: float | None = None) -> Tensor:
        """Raw values by column, a seed a picture -> (N, C, H, W) in [-1, 1], by the spec's own sampler and guidance."""
        ...

    def loss(self, images: Tensor, values: Mapping[str, Sequence[Any]], level: float, seeds: Sequence[int]) -> Tensor:
        """Denoising error (N,) of images (N, C, H, W) at noise level in (0, 1), told these values; noise from the seeds."""
        ...

    def reconstruct(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [-1, 1] through the autoencoder's latents and back. UsageError where there is none."""
        ...

    def say(self, message: str) -> None:
        """One line of progress."""
        ...


class Metric(ABC):
    """A score. A part of this kind is a frozen dataclass whose fields are its options.

    figure: of what it answers, the one that a comparison compares, a number or a share; "" where none can be. lower: less of it
    is better. by: a mapping in its answer that holds the same figure prompt by prompt, or picture by picture; "" where there is
    none. groups: a mapping that holds it for pictures of one sort, such as those of a pair that was never trained on, or figures
    that are read beside it.
    """

    figure: ClassVar[str] = ""
    lower: ClassVar[bool] = False
    by: ClassVar[str] = ""
    groups: ClassVar[str] = ""

    @abstractmethod
    def __call__(self, examinee: Examinee) -> Mapping[str, Any]:
        """Figures by name, JSON-ready, each with what is needed to read it (its floor, its interval, its n)."""


class Callback:
    """Hears how a training goes. A part of this kind is a frozen dataclass whose fields are its options.

    It is handed numbers and folders, never the model in hand, so it cannot change what is trained; who wants to draw or score
    loads the checkpoint that was just saved. Of these it defines those that it needs. One that raises is set aside, and named:
    the training goes on without it.
    """

    def began(self, run: Path, step: int, steps: int) -> None:
        """A training of `steps` steps begins in the run's folder, or goes on after `step` of them."""

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        """What the journal writes of a step: `loss`, `lr`, `grad_norm`, `seconds`."""

    def saved(self, step: int, checkpoint: Path) -> None:
        """A checkpoint was committed: this folder, whole."""

    def drawn(self, step: int, picture: Path) -> None:
        """A grid of samples was drawn (PNG)."""

    def ended(self, step: int) -> None:
        """The training ended, was stopped or failed after so many steps; a checkpoint was saved unless it failed."""


# --------------------------------------------------------------------------- what others call it

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
