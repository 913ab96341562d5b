"""Our injectors pass the kit that third parties are given; what is excepted says why."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from cdkit.parts import Widths
from cdkit.testing import INJECTOR_CHECKS, InjectorCase, check_injector
from cdkit.testing.case import EVERY_FORM
from cdkit_injectors.adagn import AdaGN
from cdkit_injectors.adaln_single import AdaLNSingle
from cdkit_injectors.adaln_zero import AdaLNZero
from cdkit_injectors.add import Add
from cdkit_injectors.added_kv import AddedKV
from cdkit_injectors.concat import Concat
from cdkit_injectors.concat_multi import ConcatMulti
from cdkit_injectors.cross_attention import CrossAttention
from cdkit_injectors.decoupled import Decoupled
from cdkit_injectors.film import Film
from cdkit_injectors.film_gain import FilmGain
from cdkit_injectors.gated import Gated
from cdkit_injectors.hint import Hint
from cdkit_injectors.in_context import InContext
from cdkit_injectors.perceiver import Perceiver
from cdkit_injectors.spade import Spade
from cdkit_injectors.text_query import TextQuery
from cdkit_injectors.weights import Weights

ATTENDS = "Stable Diffusion was trained to attend to padding"
KIT: list[tuple[Any, dict[str, str]]] = [
    (partial(CrossAttention, heads=2), {}),
    (partial(CrossAttention, head_dim=4, width=8), {}),
    (partial(CrossAttention, padding="attend"), dict.fromkeys(("padding", "poison", "silence", "masking"), ATTENDS)),
    (Film, {}),
    (AdaLNZero, {}),
    (partial(AdaLNZero, published=True), {"identity": "the paper's gates start at zero"}),
    (AdaGN, {}),
    (FilmGain, {}),
    (AdaLNSingle, {}),
    (partial(AdaLNSingle, width=5), {}),
    (Weights, {}),
    (partial(Weights, rank=1, at="branch"), {}),
    (Add, {}),
    (partial(Add, hidden=12), {}),
    (Concat, {}),
    (ConcatMulti, {}),
    (partial(Hint, channels=(8,)), {}),
    (partial(Spade, hidden=8), {}),
    (partial(Spade, hidden=8, resize="area"), {}),
    (AddedKV, {"identity": "a softmax shares its weight among all keys"}),
    (InContext, {"identity": "a softmax shares its weight among all keys"}),
    (partial(TextQuery, heads=2), {}),
    (partial(Gated, heads=2), {}),
    (partial(Gated, head_dim=4), {}),
    (partial(Perceiver, heads=2, latents=3), {}),
    (partial(Perceiver, width=12, depth=1), {}),
    (partial(CrossAttention, heads=2, inner=5), {}),
    (partial(CrossAttention, head_dim=4, inner=10.5), {}),
    (partial(CrossAttention, inner=7.3), {}),
    (partial(Film, inner=3.5), {}),
    (partial(FilmGain, inner=3.5), {}),
    (partial(AdaLNZero, inner=3.5), {}),
    (partial(AdaGN, inner=3.5), {}),
    (partial(AdaLNSingle, inner=5), {}),
    (partial(Weights, inner=2.5), {}),
    (partial(Add, inner=12), {}),
    (partial(AddedKV, inner=3.5), {"identity": "a softmax shares its weight among all keys"}),
    (partial(InContext, inner=3.5), {"identity": "a softmax shares its weight among all keys"}),
    (partial(TextQuery, heads=2, inner=5), {}),
    (partial(Gated, heads=2, inner=5), {}),
    (partial(Perceiver, heads=2, latents=3, inner=5), {}),
]


def again(place: int) -> bool:
    """Is it one of above with other options?"""
    kinds = [getattr(factory, "func", factory) for factory, _ in KIT[: place + 1]]
    return kinds[-1] in kinds[:-1]


@pytest.mark.parametrize(
    ("factory", "exceptions"),
    [pytest.param(*row, id=repr(row[0]), marks=[pytest.mark.slow] * again(place)) for place, row in enumerate(KIT)],
)
def test_conformance(factory: Any, exceptions: dict[str, str]) -> None:
    check_injector(factory, exceptions=exceptions)


def test_decoupled_hears_both_streams() -> None:
    """Words and image of unlike widths; each must matter by itself, and each has a mask of its own."""
    both = (EVERY_FORM, Widths(tokens=5, pooled=4))
    check_injector(partial(Decoupled, heads=2, scale=0.7), widths=both)


@pytest.mark.slow
def test_decoupled_hears_both_streams_with_other_options() -> None:
    both = (EVERY_FORM, Widths(tokens=5, pooled=4))
    check_injector(partial(Decoupled, heads=2, inner=5), widths=both)
    check_injector(
        partial(Decoupled, heads=2, padding="attend"),
        widths=both,
        exceptions=dict.fromkeys(("padding", "poison", "silence", "masking"), ATTENDS),
    )


def test_concat_without_a_map_projects_the_pooled_vector() -> None:
    check_injector(Concat, widths=(Widths(tokens=4, pooled=6),))


def test_an_exception_that_is_not_needed_is_an_error() -> None:
    with pytest.raises(AssertionError, match=r"^padding: declared an exception \(why not\), but it holds; drop the exception"):
        check_injector(Film, exceptions={"padding": "why not"})


def test_an_exception_to_no_check_is_an_error() -> None:
    with pytest.raises(ValueError, match="no check is called 'paddin'; the checks are refusal, place"):
        check_injector(Film, exceptions={"paddin": "a slip"})


def test_a_failure_says_what_was_measured_and_what_is_allowed() -> None:
    with pytest.raises(
        AssertionError, match=r"^padding: padded to 77 words: measured a relative difference of .*, allowed at most"
    ):
        INJECTOR_CHECKS["padding"](InjectorCase({"sd": partial(CrossAttention, padding="attend")}))
