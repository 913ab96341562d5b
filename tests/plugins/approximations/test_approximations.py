"""What every approximation must be: exact where it is told to change nothing, cheaper as promised, nearer the less it saves, and
never deaf to what is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from cdkit.model import Model
from cdkit.parts import Detour
from cdkit.registry import Registry
from cdkit.testing import Check, check_approximation, every_check
from cdkit_approximations import cached_cross_attention, deep_cache, token_merging
from cdkit_approximations.cached_cross_attention import CachedCrossAttention
from cdkit_approximations.deep_cache import DeepCache
from cdkit_approximations.token_merging import TokenMerging
from torch import Tensor

Draw = Callable[..., Tensor]
Calls = Callable[..., int]
STEPS = 6
PARTS = {"deep_cache": DeepCache, "cached_cross_attention": CachedCrossAttention, "token_merging": TokenMerging}
NEUTRAL = ("{use: deep_cache, every: 1}", "{use: cached_cross_attention, until: 1}", "{use: token_merging, ratio: 0}")
BOLDER = {  # from the exact to the boldest
    "deep_cache": [f"{{use: deep_cache, every: {n}}}" for n in (1, 2, 3, 6)],
    "deep_cache's depth": [f"{{use: deep_cache, every: 3, depth: {depth}}}" for depth in (3, 1, 0)],
    "cached_cross_attention": [f"{{use: cached_cross_attention, until: {share}}}" for share in (1, 0.7, 0.4, 0.1)],
    "token_merging": [f"{{use: token_merging, ratio: {ratio}}}" for ratio in (0, 0.1, 0.5)],
}
BOLD = [ways[-2] for ways in BOLDER.values()]


@pytest.mark.parametrize("name", PARTS)
def test_it_is_registered_and_passes_the_checks_of_its_kind(name: str) -> None:
    assert Registry.installed().get("approximation", name) is PARTS[name]
    check_approximation(PARTS[name])


@every_check("approximation", DeepCache, options={"every": 5, "depth": 2})
def test_with_options(check: Check) -> None:
    check()


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "heun", "euler_ancestral", "unipc"])
@pytest.mark.parametrize("neutral", [*([way] for way in NEUTRAL), NEUTRAL], ids=str)
def test_told_to_change_nothing_it_changes_no_bit(neutral: Sequence[str], sampler: str, draw: Draw) -> None:
    assert torch.equal(draw(neutral, sampler=sampler), draw(sampler=sampler))


@pytest.mark.parametrize("ways", BOLDER.values(), ids=list(BOLDER))
def test_the_bolder_the_further_off_and_never_far(ways: list[str], draw: Draw, off: Callable[..., float]) -> None:
    exact, other = draw(), draw(prompts=["three", "seven"])
    distances = [off(draw([way]), exact) for way in ways]
    assert distances == sorted(distances)
    assert len(set(distances)) == len(distances)
    assert distances[-1] < 1.5 * off(other, exact), "about as far as another prompt at the most"


@pytest.mark.parametrize("every", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_deep_cache_asks_what_lies_below_at_every_nth_step_alone(
    every: int, depth: int, model: Model, draw: Draw, calls: Calls
) -> None:
    unet: Any = model.backbone
    downs = [unet.down[0].res[0], unet.down[0].downsample[0].conv, unet.down[1].res[0], unet.mid.res[0]]
    ups = [unet.up[1].res[1], unet.up[1].res[0], unet.up[0].res[1], unet.up[0].res[0]]  # the one that takes the last skip first
    way, whole = [f"{{use: deep_cache, every: {every}, depth: {depth}}}"], -(-STEPS // every)
    assert [calls(block, lambda: draw(way)) for block in downs] == [STEPS] * depth + [whole] * (4 - depth)
    assert [calls(block, lambda: draw(way)) for block in ups] == [STEPS] * (depth + 1) + [whole] * (3 - depth)


@pytest.mark.parametrize(("until", "heard"), [(0.0, 1), (0.1, 1), (0.5, 3), (0.7, 5), (1.0, 6)])
def test_words_are_attended_to_in_the_first_steps_alone(until: float, heard: int, model: Model, draw: Draw, calls: Calls) -> None:
    taps = [taps["cross_attention"] for taps in model.taps.values()]
    assert len(taps) > 3
    assert {calls(tap, lambda: draw([f"{{use: cached_cross_attention, until: {until}}}"])) for tap in taps} == {heard}


@pytest.mark.parametrize(("ratio", "left"), [(0.0, 64), (0.25, 48), (0.5, 32), (0.75, 16), (0.9, 16)])
def test_self_attention_reads_the_tokens_that_are_left(ratio: float, left: int, model: Model, draw: Draw) -> None:
    """At the finest level, 8 x 8 tokens, of which every square of four keeps one; at the other as ever."""
    rows: dict[str, int] = {}
    unet: Any = model.backbone
    fine, coarse = unet.down[0].attn[0].blocks[0].attn1.to_k, unet.mid.attn[0].blocks[0].attn1.to_k
    handles = [
        layer.register_forward_pre_hook(lambda _, given, name=name: rows.update({name: given[0].shape[1]}))
        for name, layer in (("fine", fine), ("coarse", coarse))
    ]
    draw([f"{{use: token_merging, ratio: {ratio}}}"])
    for handle in handles:
        handle.remove()
    assert rows == {"fine": left, "coarse": 16}


def test_stride_says_how_coarse_a_self_attention_is_merged_too(draw: Draw) -> None:
    """Of 2 rows a token, both levels are."""
    both, fine = draw(["{use: token_merging, stride: 2}"]), draw(["{use: token_merging, stride: 1}"])
    assert torch.equal(fine, draw(["token_merging"]))
    assert not torch.equal(both, fine)


@pytest.mark.parametrize("way", BOLD)
def test_a_picture_is_the_same_alone_and_beside_others(way: str, draw: Draw) -> None:
    both = draw([way])
    alone = torch.cat([draw([way], ["seven"], seed=3), draw([way], ["three"], seed=4)])
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("way", BOLD)
def test_a_sampling_remembers_nothing_of_the_one_before(way: str, draw: Draw) -> None:
    first = draw([way])
    draw([way], ["nine", "zero"], seed=9)
    assert torch.equal(draw([way]), first)
    assert torch.equal(draw(), draw())


@pytest.mark.parametrize("way", BOLD)
def test_the_model_is_left_as_it_was(way: str, model: Model, draw: Draw) -> None:
    before = {id(module): vars(module).get("forward") for module in model.modules()}
    with pytest.raises(RuntimeError, match="looked on"):
        model.sample(["seven"], approximate=[way], guidance=3.0, watch=raising)
    draw([way])
    assert {id(module): vars(module).get("forward") for module in model.modules()} == before


def raising(_moment: Any) -> None:
    raise RuntimeError("looked on")


# --------------------------------------------------------------------------- what is said is heard


def heard(draw: Draw, ways: Sequence[str]) -> float:
    """How far another prompt moves the picture, in parts of how far it moves the exact one; of the picture it moves the least."""
    moved, wanted = draw(ways, ["nine", "zero"]) - draw(ways), draw((), ["nine", "zero"]) - draw()
    return float((moved.flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)).min())


@pytest.mark.parametrize("way", [*BOLD, *(ways[-1] for ways in BOLDER.values())])
def test_what_is_said_is_heard(way: str, draw: Draw) -> None:
    assert heard(draw, [way]) > 0.3


def deaf(_own: Any, given: tuple[Any, ...], _phase: Any, _kept: Any) -> tuple[Any, None]:
    """Adds nothing of what is said."""
    return given[0], None


def of_nobody(own: Any, given: tuple[Any, ...], phase: Any, kept: Any) -> tuple[Any, Any]:
    """Answers for the first picture of the batch, whoever is asked for."""
    if kept is not None and not phase:
        return kept[:1].expand(len(kept), *kept.shape[1:]), None
    answer = own(*given)
    return answer, answer


MUTANTS: dict[str, tuple[type[Any], str, Any, Callable[..., None]]] = {
    "words are never added": (CachedCrossAttention, "cached_cross_attention", deaf, test_what_is_said_is_heard),
    "what lies deep is of another picture": (
        DeepCache,
        "{use: deep_cache, every: 6}",
        of_nobody,
        test_a_picture_is_the_same_alone_and_beside_others,
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_that_does_not_hear_is_caught(mutant: str, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    part, way, around, check = MUTANTS[mutant]
    right = part.detours

    def wrong(self: Any, network: Any, sample: Any) -> Any:
        return [Detour(detour.module, around) for detour in right(self, network, sample)]

    monkeypatch.setattr(part, "detours", wrong)
    with pytest.raises(AssertionError):
        check(way, draw)


def test_tokens_merged_across_pictures_are_caught(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    right = token_merging.matched

    def across(tokens: Tensor, squares: Any, away: int) -> Any:
        return right(tokens + tokens.mean(dim=0, keepdim=True), squares, away)

    monkeypatch.setattr(token_merging, "matched", across)
    with pytest.raises(AssertionError):
        test_a_picture_is_the_same_alone_and_beside_others("token_merging", draw)


# --------------------------------------------------------------------------- where it has no place


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["approximate=[{use: deep_cash}]"],
            "approximate.0.use: there is no approximation 'deep_cash'; did you mean 'deep_cache'",
        ),
        (["approximate=[{use: deep_cache, evry: 2}]"], "approximate.0.evry: unknown key 'evry'; did you mean 'every'?"),
        (["approximate=[{use: deep_cache, every: 0}]"], "0 is out of range; expected an integer greater than 0"),
        (["approximate=[{use: token_merging, ratio: 1}]"], "1 is out of range; expected a number of at least 0 and less than 1"),
        (["approximate=[{use: token_merging, square: 1}]"], "1 is out of range; expected an integer from 2 to 64"),
        (["approximate=[{use: cached_cross_attention, until: 2}]"], "2 is out of range; expected a number from 0 to 1"),
        (["approximate=[{use: deep_cache, depth: 4}]"], "approximate: deep_cache: depth is 4, and at 4 there is nothing below"),
        (
            ["approximate=[{use: deep_cache}]", "backbone={use: dit, width: 16, depth: 1, heads: 2}"],
            "approximate: deep_cache: DiT is not nested, as a U-Net is",
        ),
        (
            ["approximate=[{use: cached_cross_attention}]", "injectors=[{use: film, streams: [text]}]"],
            "no method fills an `attend` site of this network; kinds of site that are filled: norm",
        ),
        (
            ["approximate=[{use: token_merging}]", "backbone={use: unet_classic, width: 16}"],
            "no self-attention of UNetClassic is of at most 0 rows a token; it has none that can be told",
        ),
        (
            ["approximate=[{use: token_merging, stride: 1}]", "backbone={use: dit, width: 16, depth: 1, heads: 2}"],
            "no self-attention of DiT is of at most 1 rows a token; there it is of 2 rows a token",
        ),
    ],
)
def test_what_would_be_ignored_or_misspelt_is_refused_when_the_model_is_built(
    overrides: list[str], message: str, make: Callable[..., Model]
) -> None:
    with pytest.raises(ValueError, match="approximate") as refused:
        make(*overrides)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "backbone", ["{use: dit, width: 16, depth: 2, heads: 2}", "{use: controlnet, width: 16, mult: [1, 2], attention: [0]}"]
)
def test_it_takes_hold_of_other_networks_too(backbone: str, make: Callable[..., Model], off: Callable[..., float]) -> None:
    model = make(f"backbone={backbone}", "sampler.steps=3")
    ways = ["token_merging", "cached_cross_attention", *(["deep_cache"] if "controlnet" in backbone else [])]
    exact = model.sample(["seven"], seed=1).images
    for way in ways:
        assert 0 < off(model.sample(["seven"], seed=1, approximate=[way]).images, exact) < 1


def test_hooks_give_the_parts() -> None:
    assert deep_cache.cdkit_approximation() is DeepCache
    assert cached_cross_attention.cdkit_approximation() is CachedCrossAttention
    assert token_merging.cdkit_approximation() is TokenMerging
