"""Checks of an injector: prepared once and purely, drawn from torch's random state alone, exact, saved, and plain in refusing."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from cdkit.parts import Stream, Widths
from cdkit.testing.adaptable import require_heard
from cdkit.testing.case import BATCH, InjectorCase
from cdkit.testing.injector_masks import ROUNDING
from cdkit.testing.streams import FORMS, each
from cdkit.testing.verdict import require, require_close, require_equal


def check_prepare(case: InjectorCase) -> None:
    """Signals depend on the streams alone, leave them as they were, and can be cut along the batch, sample from sample."""
    with torch.no_grad():
        mounted, streams = case.mounted(), case.streams()
        before = [each(stream, Tensor.clone) for stream in streams]
        signals, again = mounted.prepare(streams), mounted.prepare(streams)
        for found, expected in zip(tree_leaves(again), tree_leaves(signals), strict=True):
            require_equal("prepare", found, expected, "a signal prepared a second time")
            require("prepare", len(found) == BATCH, "rows of a signal", measured=len(found), allowed=f"the batch, {BATCH}")
        for stream, kept in zip(streams, before, strict=True):
            _unchanged(stream, kept)
        index = torch.tensor([1, 2])
        cut: Any = tree_map_only(Tensor, lambda leaf: leaf[index], signals)
        require_close("prepare", mounted.draw(cut, index), mounted(streams)[index], ROUNDING, "signals cut along the batch")


def _unchanged(stream: Stream, before: Stream) -> None:
    for form in FORMS:
        found, expected = getattr(stream, form), getattr(before, form)
        if expected is not None:
            require_equal("prepare", found, expected, f"the stream's {form} after prepare")


def check_random_state(case: InjectorCase) -> None:
    """Weights come from torch's random state alone: one seed, one set. Reading, it draws no random number."""
    plain, python = torch.random.get_rng_state(), random.getstate()
    first, second = case.mounted(opened=False, seed=5), case.mounted(opened=False, seed=5)
    for name, value in first.taps.items():
        require_equal("random state", second.taps[name], value, f"{name}, drawn again from the same seed")
    with torch.no_grad():
        require_equal("random state", first(case.streams()), second(case.streams()), "the output, made again from the same seed")
    same = torch.equal(plain, torch.random.get_rng_state()) and python == random.getstate()
    require("random state", same, "torch's and Python's random state after making and reading", measured="moved", allowed="kept")


def check_dtypes(case: InjectorCase) -> None:
    """Weights and streams of float32 and bfloat16 give outputs of their dtype, near float64's."""
    with torch.no_grad():
        expected = case.mounted()(case.streams())
        for dtype, bound in ((torch.float32, 1e-4), (torch.bfloat16, 0.5)):
            mounted = case.mounted(dtype=dtype)
            found = mounted(case.streams())
            require("dtypes", found.dtype == dtype, "the output's dtype", measured=found.dtype, allowed=dtype)
            require_close("dtypes", found.double(), expected, bound, f"in {dtype}, against float64")


def check_large(case: InjectorCase) -> None:
    """Streams 1e4 as large as usual give finite outputs in float32 and bfloat16."""
    with torch.no_grad():
        for dtype in (torch.float32, torch.bfloat16):
            streams = [each(stream, lambda value: value * 1e4, mask=False) for stream in case.streams()]
            finite = bool(case.mounted(dtype=dtype)(streams).isfinite().all())
            require("large", finite, f"streams 1e4 as large in {dtype}", measured="not finite", allowed="finite")


def check_state_dict(case: InjectorCase) -> None:
    """Weights loaded into another one give the same output, bit for bit."""
    with torch.no_grad():
        trained, other = case.mounted(dtype=torch.float32), case.mounted(dtype=torch.float32, opened=False, seed=9)
        other.network.load_state_dict(trained.network.state_dict())
        found, expected = other(case.streams()), trained(case.streams())
        require_equal("state dict", found, expected, "the output after its weights were loaded into another one")


def check_gradients(case: InjectorCase) -> None:
    """Gradients of the output by every form of every stream agree with finite differences (float64)."""
    mounted = case.mounted()
    streams = case.streams()
    floats = [(i, form) for i in range(len(streams)) for form in FORMS if form != "mask"]
    forms = [(i, form) for i, form in floats if getattr(streams[i], form) is not None]
    values = [getattr(streams[i], form).requires_grad_() for i, form in forms]

    def drawn(*given: Tensor) -> Tensor:
        said: list[dict[str, Any]] = [{form: getattr(stream, form) for form in FORMS} for stream in streams]
        for (i, form), value in zip(forms, given, strict=True):
            said[i][form] = value
        return mounted([Stream(**forms) for forms in said])

    try:
        torch.autograd.gradcheck(drawn, values, fast_mode=True, check_undefined_grad=False)
    except RuntimeError as error:
        require(
            "gradients",
            False,
            "against finite differences",
            measured=str(error).splitlines()[0],
            allowed="torch's gradcheck defaults",
        )


def check_adaptable(case: InjectorCase) -> None:
    """Every layer that its taps declare adaptable is called, so that a LoRA's correction is heard; they may declare none."""
    mounted, streams = case.mounted(), case.streams()
    layers = {
        f"{site}.{name}.{inner}": layer
        for site, slot in mounted.slots.items()
        for name, tap in slot.taps.items()
        for inner, layer in tap.adaptable().items()  # pyright: ignore[reportCallIssue]  # every module there is a tap
    }
    require_heard("adaptable", layers, lambda: mounted(streams))


def check_refusal(case: InjectorCase) -> None:
    """No stream, or a stream without any form, is refused with a ValueError; the latter's text names the stream."""
    for name, factory in case.factories.items():
        for streams, widths in (((), ()), (case.names, tuple(Widths() for _ in case.names))):
            text = _refusal(name, factory, streams, widths)
            said = all(stream in text for stream in streams)
            require("refusal", said, f"{name}'s error must name {', '.join(streams)}", measured=repr(text), allowed="its name")


def _refusal(name: str, factory: Any, streams: tuple[str, ...], widths: tuple[Widths, ...]) -> str:
    try:
        factory(streams, widths)
    except ValueError as error:
        return str(error)
    raise AssertionError(f"refusal: {name} takes {len(streams)} streams without a form: measured no error, allowed ValueError")
