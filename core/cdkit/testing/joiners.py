"""check_joiner: what joins streams has the widths that it declares, joins sample by sample, and hears each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from cdkit.parts import Joiner, Stream, Widths
from cdkit.testing.case import BATCH, TINY
from cdkit.testing.elsewhere import require_copies, require_layout
from cdkit.testing.encoders import told
from cdkit.testing.streams import of_rows, random_stream
from cdkit.testing.verdict import difference, require, require_close, run

WIDTHS = (Widths(tokens=8, pooled=6), Widths(tokens=8, pooled=4))


@dataclass(frozen=True, slots=True)
class JoinerCase:
    """A joiner's factory, called factory(widths) with its options bound, and the widths of what it joins."""

    factory: Callable[[tuple[Widths, ...]], Joiner]
    widths: tuple[Widths, ...] = WIDTHS

    def made(self) -> Joiner:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.factory(self.widths).eval()

    def streams(self, seed: int = 0) -> list[Stream]:
        return [
            random_stream(widths, TINY, batch=BATCH, seed=10 * seed + i, dtype=torch.float32)
            for i, widths in enumerate(self.widths)
        ]


def check_widths(case: JoinerCase) -> None:
    """The forms that it declares, and no others, with the batch and the width declared."""
    joiner = case.made()
    stream = joiner(*case.streams())
    for form, axis in (("tokens", 2), ("pooled", 1), ("spatial", 1)):
        value, width = getattr(stream, form), getattr(joiner.widths, form)
        measured = (BATCH, 0) if value is None else (len(value), value.shape[axis])
        require("widths", measured == (BATCH, width), form, measured=measured, allowed=(BATCH, width))


def check_batch(case: JoinerCase) -> None:
    """Samples are joined one by one: in another order, they come in that order."""
    joiner, order = case.made(), torch.tensor([2, 0, 1])
    whole = told(of_rows(joiner(*case.streams()), order))
    for form, value in told(joiner(*(of_rows(stream, order) for stream in case.streams()))).items():
        require_close("batch", value, whole[form], 1e-6, f"{form} of samples in another order")


def check_hears(case: JoinerCase) -> None:
    """Whichever of the streams says something else, so does what they are joined to."""
    joiner, streams, others = case.made(), case.streams(), case.streams(seed=1)
    said = told(joiner(*streams))
    for i in range(len(streams)):
        other = told(joiner(*streams[:i], others[i], *streams[i + 1 :]))
        apart = any(difference(value, other[form]) > 1e-6 for form, value in said.items())
        require("hears", apart, f"stream {i} says something else", measured="alike", allowed="different")


def check_meta(case: JoinerCase) -> None:
    """Made on the meta device it has the weights that it has on the CPU, and no numbers."""
    require_layout(case.made)


def check_copies(case: JoinerCase) -> None:
    """A deep copy and a pickled copy join the same, bit for bit."""
    require_copies(case.made(), lambda joiner: told(joiner(*case.streams())))


JOINER_CHECKS: Mapping[str, Callable[[JoinerCase], None]] = {
    "widths": check_widths,
    "batch": check_batch,
    "hears": check_hears,
    "meta": check_meta,
    "copies": check_copies,
}


def check_joiner(
    factory: Callable[[tuple[Widths, ...]], Joiner],
    *,
    widths: tuple[Widths, ...] = WIDTHS,
    exceptions: Mapping[str, str] | None = None,
) -> None:
    """Run every check on a joiner: `factory(widths)`, its options bound with functools.partial."""
    run(JOINER_CHECKS, JoinerCase(factory, widths), exceptions or {})
