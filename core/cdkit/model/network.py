"""Network: raw conditions in, the backbone's prediction out. Training is one call; sampling prepares its signals once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch
from torch import Tensor, nn

from cdkit.conditions import FORMS, Ledger, batch_of, chosen, stacked
from cdkit.diffusion.process import Diffusion
from cdkit.model.lora import TRAINED, LoraSet
from cdkit.parts import Adaptable, Autoencoder, Backbone, Conditioning, Encoder, Joiner, SampleShape, Signals, Site, Stream

if TYPE_CHECKING:
    from cdkit.build.mount import Slot
    from cdkit.model.walk import Walk
    from cdkit.spec import Spec

Raw = Mapping[str, Sequence[Any]]  # raw values by column, B of each
Values = Raw | Sequence[str] | str  # what `sample` takes: by column, or prompts alone


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads a condition's raw values: its encoder and the column it reads, or a joiner and the conditions it joins."""

    encoder: Encoder | Joiner
    column: str = ""
    of: tuple[str, ...] = ()


class Pace(Protocol):
    """How a network draws and learns: plainly, or hastened (`cdkit.fast`)."""

    def walk(self, network: Network, walk: Walk) -> Tensor:
        """Clean pictures or latents (B, C, H, W)."""
        ...

    def predict(self, network: Network, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        """What the backbone predicts, in training."""
        ...

    def encode(self, network: Network, raw: Raw) -> dict[str, Stream]:
        """The streams of the conditions whose column is given."""
        ...

    def silent(self, network: Network, name: str) -> Stream:
        """The null of one condition, of batch 1."""
        ...

    def pixels(self, network: Network, clean: Tensor) -> Tensor:
        """What the backbone drew -> pixels."""
        ...


class Network(nn.Module):
    """What one spec assembled, without the doors that a Model has: conditions go in, and a prediction comes out."""

    pace: Pace  # of whoever is made of this

    def __init__(
        self,
        spec: Spec,
        *,
        readers: Mapping[str, Reader],
        backbone: Backbone,
        slots: Sequence[Slot],
        streams: Mapping[str, tuple[str, ...]],
        diffusion: Diffusion,
        autoencoder: Autoencoder | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.readers = dict(readers)
        self.encoders = nn.ModuleDict({name: reader.encoder for name, reader in readers.items()})
        self.backbone = backbone
        self.autoencoder = autoencoder
        self.diffusion = diffusion
        self.loras = nn.ModuleDict()
        self.ledger = Ledger()
        self._slots = tuple(slot for slot in slots if len(slot.taps))
        self._streams = dict(streams)

    @property
    def device(self) -> torch.device:
        return next(self.backbone.parameters()).device

    @property
    def shape(self) -> SampleShape:
        """C, H and W of what the backbone draws."""
        return SampleShape(self.spec.sample.channels, self.spec.sample.height, self.spec.sample.width)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of raw values that the encoders read, each once."""
        return tuple(dict.fromkeys(reader.column for reader in self.readers.values() if not reader.of))

    @property
    def told(self) -> tuple[str, ...]:
        """The conditions that have an encoder of their own, in an order in which joiners come after their parts."""
        return tuple(name for name, reader in self.readers.items() if not reader.of)

    @property
    def sites(self) -> tuple[Site, ...]:
        """The places that a method fills, in the order in which the backbone opened them."""
        return tuple(slot.site for slot in self._slots)

    @property
    def taps(self) -> dict[Site, dict[str, nn.Module]]:
        """What fills each of those places: taps by their injector's name."""
        return {slot.site: dict(slot.taps.items()) for slot in self._slots}

    def forward(self, x: Tensor, t: Tensor, raw: Raw, keep: Mapping[str, Tensor] | None = None) -> Tensor:
        """One training step: x (B, C, H, W), t (B,), B raw values a column -> the prediction (B, C, H, W).

        keep: for each condition (B,) bool, False where it keeps silent; a condition that is not in it is told.
        """
        signals = self.prepare(self.joined(self.silenced(self.encode(raw), keep or {})))
        return self.pace.predict(self, x, t, signals)

    def encode(self, raw: Raw) -> dict[str, Stream]:
        """The streams of the conditions whose column is given; joiners come later, in `joined`."""
        return {
            name: self._encode(name, raw[self.readers[name].column]) for name in self.told if self.readers[name].column in raw
        }

    def _encode(self, name: str, values: Sequence[Any]) -> Stream:
        encoder = self.encoders[name]
        with torch.set_grad_enabled(torch.is_grad_enabled() and any(p.requires_grad for p in encoder.parameters())):
            stream = read_before(values, self.device) if isinstance(values[0], Stream) else encoder(values)
            return _checked(name, stream, self.readers[name].encoder, len(values))

    def null(self, name: str, n: int) -> Stream:
        """What condition `name` looks like when nothing is said, n times."""
        encoder = self.readers[name].encoder
        assert isinstance(encoder, Encoder)
        return encoder.null(n)

    def silenced(self, said: Mapping[str, Stream], keep: Mapping[str, Tensor]) -> dict[str, Stream]:
        """The same streams with the null where keep (B,) is False."""
        return {
            name: stream
            if name not in keep or bool(keep[name].all())
            else chosen(keep[name], stream, self.null(name, batch_of(stream)))
            for name, stream in said.items()
        }

    def joined(self, streams: Mapping[str, Stream]) -> Conditioning:
        """All streams, those of joiners made out of their parts'."""
        everything = dict(streams)
        for name, reader in self.readers.items():
            if reader.of:
                everything[name] = self.encoders[name](*[everything[part] for part in reader.of])
        return everything

    def prepare(self, conditioning: Conditioning) -> Signals:
        """What every tap makes of its streams, once a batch: keys and values, scales and shifts, maps."""
        return {
            slot.site.name: {name: tap.prepare(*self._read(name, conditioning)) for name, tap in self._taps(slot)}
            for slot in self._slots
        }

    def _taps(self, slot: Slot) -> Iterator[tuple[str, Any]]:
        yield from slot.taps.items()

    def _read(self, injector: str, conditioning: Conditioning) -> list[Stream]:
        return [conditioning[name] for name in self._streams[injector]]

    def branches(self, raw: Raw, n: int, negative: Raw | None = None) -> Callable[[tuple[frozenset[str], ...]], Signals]:
        """A function from guidance branches to their signals, branch after branch along the batch.

        Every condition is encoded once. In a branch that silences it, it says what `negative` holds for its column or,
        failing that, its null. A condition whose column is not in `raw` is silent in every branch.
        """
        instead = self.encode(negative or {})
        return self.signals(self.encode(raw), {name: instead.get(name) or self.null(name, n) for name in self.told})

    def signals(
        self, said: Mapping[str, Stream], silent: Mapping[str, Stream]
    ) -> Callable[[tuple[frozenset[str], ...]], Signals]:
        """The same, of streams: what each condition says, and what it says in a branch that silences it."""

        def signals(branches: tuple[frozenset[str], ...]) -> Signals:
            rows = {
                name: stacked([silent[name] if name in branch else said.get(name, silent[name]) for branch in branches])
                for name in self.told
            }
            return self.prepare(self.joined(rows))

        return signals

    def layers(self) -> dict[str, Adaptable]:
        """The denoiser's layers that a LoRA may adapt, by name: the backbone's own, and those of taps by their path in it."""
        paths = {id(module): path for path, module in self.backbone.named_modules()}
        found = dict(self.backbone.adaptable())
        for slot in self._slots:
            for name, tap in self._taps(slot):
                found |= {f"{paths[id(slot)]}.taps.{name}.{inner}": layer for inner, layer in tap.adaptable().items()}
        return found

    def readable_layers(self) -> dict[str, Adaptable]:
        """The encoders' layers that a LoRA may adapt, as `encoders.CONDITION.LAYER`; pretrained ones get their weights now."""
        return {
            f"encoders.{name}.{inner}": layer
            for name, reader in self.readers.items()
            if isinstance(reader.encoder, Encoder)
            for inner, layer in reader.encoder.adaptable().items()
        }

    @property
    def borrowed(self) -> dict[str, float]:
        """The strength of every LoRA that was added from a file, by a name that is unique."""
        return {name: lora.strength for name, lora in self.loras.items() if name != TRAINED and isinstance(lora, LoraSet)}

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for encoders that are frozen: they read as they did when they were trained."""
        super().train(mode)
        for part in (*self.encoders.values(), *([self.autoencoder] if self.autoencoder is not None else [])):
            if not any(parameter.requires_grad for parameter in part.parameters()):
                part.eval()
        return self


def read_before(values: Sequence[Stream], device: torch.device) -> Stream:
    """Raw values that were encoded before, each on its own, as one stream."""
    together = stacked(values)
    forms = {form: getattr(together, form) for form in FORMS}
    return Stream(**{form: None if value is None else value.to(device, non_blocking=True) for form, value in forms.items()})


def _checked(name: str, stream: Stream, encoder: Encoder | Joiner, n: int) -> Stream:
    """The stream, if it is what its encoder declared."""
    found = tuple(0 if value is None else value.shape[dim] for value, dim in _forms(stream))
    if found != tuple(encoder.widths) or batch_of(stream) != n:
        raise ValueError(
            f"condition {name!r}: {type(encoder).__name__} declares widths {tuple(encoder.widths)} (tokens, pooled, spatial) "
            f"for {n} values; it delivered {found} for {batch_of(stream)}"
        )
    return stream


def _forms(stream: Stream) -> tuple[tuple[Tensor | None, int], ...]:
    return (stream.tokens, 2), (stream.pooled, 1), (stream.spatial, 1)
