"""check_encoder: everything that an encoder owes to whoever trains with it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cdkit.parts import Encoder, Stream, TextEncoder
from cdkit.testing.elsewhere import require_at_home, require_copies, require_layout
from cdkit.testing.streams import FORMS
from cdkit.testing.verdict import difference, require, require_close, require_equal, run

ROUNDING = 1e-5  # float32: a batch of another length sums in another order
LONG = "a long sentence about a small red circle that stands left of a very large blue square"


@dataclass(frozen=True, slots=True)
class EncoderCase:
    """An encoder's factory, its options bound, and raw values to read beside its own two examples."""

    factory: Callable[[], Encoder]
    values: Sequence[Any] = ()

    def made(self) -> Encoder:
        """A new encoder in eval mode, drawn from a seed, fitted on what it will be told."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            encoder = self.factory().eval()
        encoder.fit(self.raw(encoder) * 8)
        return encoder

    def raw(self, encoder: Encoder) -> list[Any]:
        """Raw values: the encoder's examples, then the case's own; for prompts, an empty one and a long one too."""
        more = ["", LONG] if isinstance(encoder, TextEncoder) else []
        return [*encoder.examples(), *more, *self.values]


def check_widths(case: EncoderCase) -> None:
    """Every form has the batch and the width declared, and is finite; the mask is bool; prompts get tokens, mask and pooled."""
    encoder = case.made()
    raw = case.raw(encoder)
    with torch.no_grad():
        for what, stream, n in (("values", encoder(raw), len(raw)), ("nulls", encoder.null(3), 3)):
            _require_forms(encoder, stream, n, what)


def _require_forms(encoder: Encoder, stream: Stream, n: int, what: str) -> None:
    for form, axis in (("tokens", 2), ("pooled", 1), ("spatial", 1)):
        value, width = getattr(stream, form), getattr(encoder.widths, form)
        measured = (n, 0) if value is None else (len(value), value.shape[axis])
        require(
            "widths", measured == (n, width), f"{form} of {n} {what}", measured=measured, allowed=f"(batch, width) {n, width}"
        )
        finite = value is None or bool(value.isfinite().all())
        require("widths", finite, f"{form} of {n} {what}", measured="not finite", allowed="finite")
    fits = stream.mask is None or (stream.mask.dtype == torch.bool and stream.tokens is not None)
    fits = fits and (stream.mask is None or stream.tokens is None or stream.mask.shape == stream.tokens.shape[:2])
    require(
        "widths", fits, f"the mask of {n} {what}", measured=stream.mask, allowed="None, or bool of the tokens' (batch, words)"
    )


def check_examples(case: EncoderCase) -> None:
    """The encoder's two examples do not read alike, in any form that it offers."""
    encoder = case.made()
    with torch.no_grad():
        first, second = (encoder([value]) for value in encoder.examples())
    for form, value in told(first).items():
        other = told(second)[form]
        apart = value.shape != other.shape or difference(value, other) > 1e-6
        require("examples", apart, f"{form} of {encoder.examples()!r}", measured="alike", allowed="different")


def check_batch(case: EncoderCase) -> None:
    """A value reads the same alone and beside others, longer ones included, unless the encoder says masks_padding = False."""
    encoder = case.made()
    raw = case.raw(encoder)
    with torch.no_grad():
        together = encoder(raw)
        for i, value in enumerate(raw if encoder.masks_padding else []):
            alone, among = told(encoder([value])), told(of(together, i))
            for form in alone:
                require_close("batch", among[form], alone[form], ROUNDING, f"{form} of {value!r}, beside {len(raw) - 1} others")


def check_repeatable(case: EncoderCase) -> None:
    """In eval mode one value reads the same twice, bit for bit, and no random number is drawn."""
    encoder = case.made()
    before = torch.random.get_rng_state()
    with torch.no_grad():
        first, second = told(encoder(case.raw(encoder))), told(encoder(case.raw(encoder)))
    for form, value in first.items():
        require_equal("repeatable", second[form], value, f"{form}, read again")
    kept = torch.equal(before, torch.random.get_rng_state())
    require("repeatable", kept, "torch's random state after reading", measured="moved", allowed="kept")


def check_null(case: EncoderCase) -> None:
    """The null is the same for every sample and every n, and at least one form tells it from both examples."""
    encoder = case.made()
    with torch.no_grad():
        one, three = encoder.null(1), encoder.null(3)
        for form, value in told(one).items():
            for i in range(3):
                require_close("null", told(of(three, i))[form], value, ROUNDING, f"{form} of null {i} of 3, against null 1 of 1")
        for value in encoder.examples():
            require("null", not _alike(encoder([value]), one), f"the null and {value!r}", measured="alike", allowed="different")


def check_dtypes(case: EncoderCase) -> None:
    """Reading follows the weights' dtype: floats of float64 weights are float64, those of bfloat16 bfloat16."""
    for dtype in (torch.float64, torch.bfloat16):
        encoder = case.made().to(dtype)
        if not list(encoder.parameters()):
            continue  # nothing to follow
        with torch.no_grad():
            for form, value in told(encoder(case.raw(encoder))).items():
                require("dtypes", value.dtype == dtype, f"{form} with weights of {dtype}", measured=value.dtype, allowed=dtype)


def check_state_dict(case: EncoderCase) -> None:
    """Weights loaded into another encoder, fitted alike, read the same bit for bit."""
    first = case.made()
    with torch.no_grad():
        for parameter in first.parameters():
            parameter += 0.01
        second = case.made()
        second.load_state_dict(first.state_dict())
        for form, value in told(first(case.raw(first))).items():
            require_equal("state dict", told(second(case.raw(first)))[form], value, f"{form}, after its weights were loaded")


def check_meta(case: EncoderCase) -> None:
    """Made on the meta device it has the weights that it has on the CPU, and no numbers: so `cdkit build` lays out."""
    require_layout(lambda: case.factory().eval())


def check_devices(case: EncoderCase) -> None:
    """Its weights moved to another device, it reads there: raw values come from anywhere, streams lie where the weights do."""
    encoder = case.made()
    if list(encoder.parameters()):  # else there is nothing to follow
        require_at_home(lambda device: forms(copy.deepcopy(encoder).to(device)(encoder.examples())))


def check_copies(case: EncoderCase) -> None:
    """A deep copy (an average of weights) and a pickled copy (a worker process) read the same, bit for bit."""

    def read(encoder: Encoder) -> Mapping[str, torch.Tensor]:
        with torch.no_grad():
            return told(encoder(case.raw(encoder)))

    require_copies(case.made(), read)


def told(stream: Stream) -> dict[str, torch.Tensor]:
    """What a stream says, by form: tokens that count (any batch, one after the other), pooled, map."""
    said = {form: getattr(stream, form) for form in FORMS if form != "mask" and getattr(stream, form) is not None}
    if stream.tokens is not None and stream.mask is not None:
        said["tokens"] = stream.tokens[stream.mask]
    elif stream.tokens is not None:
        said["tokens"] = stream.tokens.flatten(0, 1)
    return said


def forms(stream: Stream) -> list[torch.Tensor | None]:
    return [getattr(stream, form) for form in FORMS]


def of(stream: Stream, index: int) -> Stream:
    """One sample of a stream, as a batch of one."""
    values = {form: getattr(stream, form) for form in FORMS}
    return Stream(**{form: None if value is None else value[index : index + 1] for form, value in values.items()})


def _alike(stream: Stream, other: Stream) -> bool:
    first, second = told(stream), told(other)
    return all(first[form].shape == second[form].shape and difference(first[form], second[form]) <= 1e-6 for form in first)


ENCODER_CHECKS: Mapping[str, Callable[[EncoderCase], None]] = {
    "widths": check_widths,
    "examples": check_examples,
    "batch": check_batch,
    "repeatable": check_repeatable,
    "null": check_null,
    "dtypes": check_dtypes,
    "state dict": check_state_dict,
    "meta": check_meta,
    "copies": check_copies,
    "devices": check_devices,
}


def check_encoder(
    factory: Callable[[], Encoder], *, values: Sequence[Any] = (), exceptions: Mapping[str, str] | None = None
) -> None:
    """Run every check on an encoder: `factory()`, its options bound with functools.partial.

    values: raw values to read beside its two examples. exceptions: check -> the reason why this encoder need not pass it.
    """
    run(ENCODER_CHECKS, EncoderCase(factory, values), exceptions or {})
