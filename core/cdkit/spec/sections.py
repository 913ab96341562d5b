"""The sections that belong to no part: `sample` and `train`. Their type hints are their keys, as a part's are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from annotated_types import Ge, Gt, Interval, Lt

# As in cdkit.parts, which imports torch.
Positive: TypeAlias = Annotated[int, Gt(0)]
NonNegative: TypeAlias = Annotated[int, Ge(0)]
PositiveFloat: TypeAlias = Annotated[float, Gt(0)]
Unit: TypeAlias = Annotated[float, Interval(ge=0, le=1)]
Side: TypeAlias = Annotated[int, Interval(ge=1, le=65_536)]
Momentum: TypeAlias = Annotated[float, Interval(ge=0, lt=1)]
Task: TypeAlias = Literal["denoise", "autoencoder"]
Length: TypeAlias = Annotated[float, Gt(0), Lt(0.288)]
Ends: TypeAlias = Literal["clean", "first"]
Spacing: TypeAlias = Literal["trailing", "leading", "linspace", "karras"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSection:
    """What the backbone draws: one picture or latent.

    channels: of what is drawn; 1 is grey, 3 is red, green and blue, and latents have as many as their autoencoder says. height:
    its rows. width: its columns.
    """

    channels: Side
    height: Side
    width: Side


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSection:
    """How a model is trained, by AdamW.

    steps: updates. batch: pictures in one forward pass, of all processes together. accumulate: forward passes an update. lr:
    after the warmup. betas: of the moments of the gradient. weight_decay: of AdamW. warmup: updates over which lr rises from 0.
    decay: of lr after them, to 0 by `cosine`. clip: the largest norm of a gradient. ema: how much of the average of weights an
    update keeps; null: there is no average. ema_lengths: of averages whose length can be chosen after training, each relative
    to it. ema_snapshots: how often those are kept. seed: of data order, noise and dropout. precision: `auto` is bf16 where a
    GPU has it, else fp32. workers: processes that read pictures, for each that trains. worker_timeout: seconds that one may
    keep training waiting. checkpoint_every: updates. keep: checkpoints, the latest ones. sample_every: updates between grids of
    samples; 0: none is drawn. log_every: updates. prompts: what the grids show. compile: by torch.compile, the
    backbone as a `whole` (true says the same), or `regional`, block by block, which begins much sooner.
    strategy: of several processes, each holds the whole model, and sends gradients while they are made (`ddp`) or when all are
    (`late`); or it holds its part of the weights and of all that training keeps beside them (`fsdp2`). `auto` is `late` on GPUs
    and `ddp` on CPUs. recompute: what the
    blocks of the backbone make, on the way back, instead of keeping it (gradient checkpointing): less memory, up to a third more
    arithmetic; a list takes only the blocks at these levels, 0 the finest. cache: keep on disk, for every training here, what
    frozen encoders and the autoencoder make.
    """

    steps: Positive = 1000
    batch: Positive = 32
    lr: PositiveFloat = 3e-4
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    weight_decay: Annotated[float, Ge(0)] = 0.0
    warmup: NonNegative = 100
    decay: Literal["constant", "cosine"] = "constant"
    clip: PositiveFloat = 1.0
    accumulate: Positive = 1
    ema: Unit | None = 0.999
    ema_lengths: tuple[Length, ...] = ()
    ema_snapshots: Positive = 16
    seed: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    workers: NonNegative = 0
    worker_timeout: PositiveFloat = 30.0
    checkpoint_every: Positive = 500
    keep: Annotated[int, Ge(2)] = 2
    sample_every: NonNegative = 500
    log_every: Positive = 10
    prompts: tuple[str, ...] = ()
    compile: bool | Literal["regional", "whole"] = False
    strategy: Literal["auto", "ddp", "late", "fsdp2"] = "auto"
    recompute: bool | tuple[NonNegative, ...] = False
    cache: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSection:
    """A low-rank correction beside a network that stays as it is: the only weights that are trained then.

    rank: inner width of the correction, up(down(x)). alpha: what it adds is scaled by alpha / rank. targets: names of layers,
    ends of names, or patterns of either.
    """

    rank: Positive = 8
    alpha: PositiveFloat = 8.0
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderKeys:
    """Beside an encoder's own options.

    use: which encoder, by its name. column: of the data set, that it reads; empty, it is `text` for encoders of prompts, else the
    condition's own name. dropout: how often training says nothing instead, which guidance needs. trainable: train it, or freeze
    it; null is its own habit.
    """

    use: str
    column: str = ""
    dropout: Unit = 0.1
    trainable: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinerKeys:
    """Beside a joiner's own options. use: which joiner, by its name. of: the conditions whose streams it joins, in this order."""

    use: str
    of: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectorKeys:
    """Beside an injector's own options.

    use: which method, by its name. streams: the conditions that it reads. name: tells two of one method apart; empty, it is
    `use`. sites: patterns over the names of the backbone's sites, such as `mid.*`.
    """

    use: str
    streams: tuple[str, ...]
    name: str = ""
    sites: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerKeys:
    """Beside a sampler's own options.

    use: which sampler, by its name. steps: how many times the picture is refined. spacing: how the steps lie in time, from
    the noisiest step of training (`trailing`), a little below it (`leading`), evenly between its ends (`linspace`), or by
    noise levels (`karras`). ends: on the clean picture, or at the first level of training.
    """

    use: str
    steps: Positive = 50
    spacing: Spacing = "trailing"
    ends: Ends = "clean"


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderKeys:
    """Beside an autoencoder's own options.

    use: which autoencoder, by its name. run: of `task: autoencoder`, whose weights a denoiser draws with where the
    autoencoder has some of its own.
    """

    use: str
    run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartKeys:
    """Beside any other part's options. use: which part, by its name."""

    use: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadKeys:
    """At the top of a spec.

    cdkit: the schema that it was written for. name: what its run is called, `runs/NAME`. seed: of the weights at birth. task:
    what is trained, the denoiser or its autoencoder.
    """

    cdkit: Literal[1]
    name: str
    seed: NonNegative = 0
    task: Task = "denoise"
