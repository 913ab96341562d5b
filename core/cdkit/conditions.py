"""Streams side by side: aligned, stacked along the batch, silenced sample by sample; and the ledger of silences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from cdkit.parts import Stream

FORMS = ("tokens", "mask", "pooled", "spatial")


def batch_of(stream: Stream) -> int:
    """B, read off whichever form the stream has."""
    for form in FORMS:
        value: Tensor | None = getattr(stream, form)
        if value is not None:
            return value.shape[0]
    raise ValueError("a stream must offer at least one of tokens, pooled and spatial")


def forms_of(stream: Stream) -> Iterator[tuple[str, Tensor]]:
    """The forms that a stream has, by name."""
    for form in FORMS:
        value: Tensor | None = getattr(stream, form)
        if value is not None:
            yield form, value


def mask_of(stream: Stream) -> Tensor:
    """The mask (B, L) of a stream's tokens, written out where it was left unsaid."""
    if stream.tokens is None:
        raise ValueError("a stream without tokens has no mask")
    if stream.mask is not None:
        return stream.mask
    return torch.ones(stream.tokens.shape[:2], dtype=torch.bool, device=stream.tokens.device)


def padded(stream: Stream, length: int) -> Stream:
    """The same stream with zeros, masked, up to L = length. One that is long enough is returned as it is."""
    if stream.tokens is None or stream.tokens.shape[1] == length:
        return stream
    missing = length - stream.tokens.shape[1]
    return replace(stream, tokens=F.pad(stream.tokens, (0, 0, 0, missing)), mask=F.pad(mask_of(stream), (0, missing)))


def aligned(streams: Sequence[Stream]) -> list[Stream]:
    """The same streams with one L and, if any of them has a mask, a mask each."""
    lengths = [stream.tokens.shape[1] for stream in streams if stream.tokens is not None]
    if not lengths:
        return list(streams)
    level = [padded(stream, max(lengths)) for stream in streams]
    if all(stream.mask is None for stream in level):
        return level
    return [replace(stream, mask=mask_of(stream)) for stream in level]


def stacked(streams: Sequence[Stream]) -> Stream:
    """Streams of one condition, one after the other along the batch."""
    level = aligned(streams)
    forms: dict[str, Tensor | None] = {}
    for form in FORMS:
        values: list[Tensor | None] = [getattr(stream, form) for stream in level]
        present = [value for value in values if value is not None]
        if present and len(present) != len(values):
            raise ValueError(f"streams of one condition must offer the same forms; '{form}' is missing in some")
        forms[form] = torch.cat(present) if present else None
    return Stream(**forms)


def chosen(keep: Tensor, said: Stream, silent: Stream) -> Stream:
    """`said` where keep (B,) is True and `silent` elsewhere, sample by sample."""
    forms: dict[str, Tensor | None] = {}
    said, silent = aligned([said, silent])
    for form in FORMS:
        yes, no = getattr(said, form), getattr(silent, form)
        if yes is None or no is None:
            forms[form] = None
            continue
        forms[form] = torch.where(keep.to(yes.device, non_blocking=True).view(-1, *[1] * (yes.dim() - 1)), yes, no.to(yes.dtype))
    return Stream(**forms)


@dataclass(slots=True)
class Count:
    """Training pictures for which a condition was told, and for which it was silent."""

    told: int = 0
    silent: int = 0


@dataclass(slots=True)
class Ledger:
    """How often each condition was told and silent while the model was trained; None: nobody knows (imported weights)."""

    counts: dict[str, Count | None] = field(default_factory=dict[str, "Count | None"])

    def record(self, condition: str, keep: Tensor) -> None:
        """Count one batch: keep (B,) bool, on the CPU, True where the condition was told."""
        count = self.counts.setdefault(condition, Count())
        if count is not None:
            told = int(keep.sum())
            count.told += told
            count.silent += keep.numel() - told

    def numbers(self) -> list[int]:
        """Told and silent of every condition that is counted, in the order of their names."""
        return [number for _, count in sorted(self.counts.items()) if count is not None for number in (count.told, count.silent)]

    def with_numbers(self, numbers: Sequence[int]) -> Ledger:
        """The same conditions with other numbers, in the order of `numbers`."""
        left = iter(numbers)
        counts = {name: None if count is None else Count(next(left), next(left)) for name, count in sorted(self.counts.items())}
        return Ledger(counts)

    def never_silent(self, condition: str) -> bool:
        """True if it is known that the model was never trained with this condition silent."""
        count = self.counts.get(condition, Count())
        return count is not None and count.silent == 0

    def to_json(self) -> dict[str, dict[str, int] | str]:
        return {
            name: "unknown" if count is None else {"told": count.told, "silent": count.silent}
            for name, count in self.counts.items()
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Mapping[str, int] | str]) -> Ledger:
        """ValueError for what `to_json` never wrote."""
        try:
            return cls({name: None if isinstance(count, str) else Count(**count) for name, count in written.items()})
        except (AttributeError, TypeError) as error:
            raise ValueError(f"is no ledger of conditions: {error}") from error
