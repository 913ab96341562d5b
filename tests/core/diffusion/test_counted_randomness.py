"""Counter-based randomness: the published answers, the distributions, and independence from everything but the key."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from cdkit.diffusion.random import derive, generator, keys, normal, philox, uniform
from scipy import stats
from torch import Tensor

LIKELY = 1e-6  # a correct generator fails a test once in a million seeds, and ours are fixed


def words(*values: int) -> tuple[Tensor, ...]:
    return tuple(torch.tensor([value], dtype=torch.int64) for value in values)


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_philox_gives_the_answers_that_random123_publishes(
    counter: tuple[int, ...], key: tuple[int, ...], answer: tuple[int, ...]
) -> None:
    assert tuple(int(word) for word in philox(words(*counter), words(*key))) == answer  # type: ignore[arg-type]


def test_what_is_drawn_stays_what_it_is() -> None:
    """A run of last year is gone on with, and its pictures are drawn again: no number may ever change."""
    assert derive(0, "noise") == 870832620287813921
    assert derive(7, "a", 3, "time") == 5541653905728615495
    assert keys(7, ["a"], 3, "time").tolist() == [5541653905728615495]


def test_numbers_are_written_out_of_the_words() -> None:
    """Of a key's first words: uniforms are their upper 24 bits, normals are Box's and Muller's two, pair by pair."""
    key = derive(7, "a", 3, "time")
    drawn = [int(word) for index in (0, 1) for word in philox(words(index, 0, 0, 0), words(key & 0xFFFFFFFF, key >> 32))]  # type: ignore[arg-type]
    made = torch.tensor([key])
    assert uniform(made, (8,)).tolist() == [[(word >> 8) / 2**24 for word in drawn]]
    pairs = zip(drawn[::2], drawn[1::2], strict=True)
    expected = [
        math.sqrt(-2 * math.log((first + 1) / 2**32)) * turn(2 * math.pi * second / 2**32)
        for first, second in pairs
        for turn in (math.cos, math.sin)
    ]
    assert normal(made, (8,)).tolist() == [pytest.approx(expected, rel=1e-6, abs=1e-7)]


def test_a_sample_draws_the_same_alone_among_others_and_in_any_order() -> None:
    ids = [f"picture-{i}" for i in range(32)]
    for draw in (normal, uniform):
        whole = draw(keys(7, ids, 3, "noise"), (3, 5, 5))
        assert torch.equal(draw(keys(7, ids[::-1], 3, "noise"), (3, 5, 5)), whole.flip(0))
        for size in (1, 2, 5):
            parts = [draw(keys(7, ids[at : at + size], 3, "noise"), (3, 5, 5)) for at in range(0, 32, size)]
            assert torch.equal(torch.cat(parts), whole)


def test_workers_draw_what_one_process_draws() -> None:
    ids = [f"picture-{i}" for i in range(16)]
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda i: normal(keys(7, [i], 3, "noise"), (2, 3)), ids))
    assert torch.equal(torch.cat(drawn), normal(keys(7, ids, 3, "noise"), (2, 3)))


def test_the_global_random_state_is_neither_read_nor_moved() -> None:
    before = torch.random.get_rng_state()
    first = normal(keys(0, ["a"], 0, "noise"), (4,))
    generator(0, "a").manual_seed(1)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(123)
    assert torch.equal(first, normal(keys(0, ["a"], 0, "noise"), (4,)))


@pytest.mark.parametrize("other", [(8, ["a"], 3, "noise"), (7, ["b"], 3, "noise"), (7, ["a"], 4, "noise"), (7, ["a"], 3, "time")])
def test_every_part_of_a_key_matters(other: tuple[int, list[str], int, str]) -> None:
    drawn = normal(keys(7, ["a"], 3, "noise"), (64,))
    assert not (drawn == normal(keys(*other), (64,))).any()


def test_both_halves_of_a_key_matter() -> None:
    made = torch.tensor([5, 5 + (1 << 32), 6], dtype=torch.int64)
    drawn = normal(made, (64,))
    assert not (drawn[0] == drawn[1]).any()
    assert not (drawn[0] == drawn[2]).any()


def test_parts_are_not_run_together() -> None:
    seeds = [derive(0, "ab"), derive(0, "a", "b"), derive(0, "a,b"), derive(0, 1), derive(0, "1"), derive(1), derive(0, "a", "")]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_two_hundred_thousand_keys_are_distinct() -> None:
    """As many as 2,000 steps of 100 pictures; that two of so many 63-bit hashes meet by chance is a matter of 2e-9."""
    ids = [f"{i}" for i in range(100)]
    drawn = torch.cat([keys(0, ids, step, "noise") for step in range(2000)])
    assert len(drawn.unique()) == 200_000


@pytest.mark.slow
def test_a_million_keys_are_distinct() -> None:
    ids = [f"{i}" for i in range(1000)]
    drawn = torch.cat([keys(0, ids, step, purpose) for step in range(500) for purpose in ("noise", "time")])
    assert len(drawn.unique()) == 1_000_000


def test_no_two_noises_are_alike() -> None:
    noise = normal(keys(0, [str(i) for i in range(500)], 0, "noise"), (16, 16)).flatten(1)
    correlation = torch.corrcoef(noise).fill_diagonal_(0).abs().max()
    assert correlation < 6 / math.sqrt(256)  # 125,000 pairs: 5.2 standard deviations are expected once in ten


def test_uniforms_are_uniform_within_and_across_keys() -> None:
    drawn = uniform(keys(1, [str(i) for i in range(1000)], 0, "time"), (200,))
    assert drawn.dtype == torch.float32
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) < 1
    counts = torch.histc(drawn, bins=256, min=0, max=1)
    assert stats.chisquare(counts.numpy()).pvalue > LIKELY
    assert stats.kstest(drawn[:, 0].numpy(), "uniform").pvalue > LIKELY


def test_normals_are_normal_within_and_across_keys() -> None:
    drawn = normal(keys(2, [str(i) for i in range(500)], 0, "noise"), (1, 20, 20))
    flat = drawn.flatten().double().numpy()
    assert stats.kstest(flat, "norm").pvalue > LIKELY
    assert stats.kstest(drawn[:, 0, 0, 0].numpy(), "norm").pvalue > LIKELY
    assert stats.normaltest(flat).pvalue > LIKELY
    neighbours = torch.corrcoef(torch.stack([drawn.flatten()[:-1], drawn.flatten()[1:]]))[0, 1]
    assert abs(float(neighbours)) < 5 / math.sqrt(drawn.numel())  # Box and Muller's two numbers do not know each other


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3, 5)])
def test_shapes_and_that_a_longer_draw_begins_with_a_shorter_one(shape: tuple[int, ...]) -> None:
    made = keys(0, ["a", "b"], 0, "noise")
    count = math.prod(shape)
    for draw in (normal, uniform):
        drawn = draw(made, shape)
        assert drawn.shape == (2, *shape)
        assert torch.equal(drawn.reshape(2, count), draw(made, (count + 9,))[:, :count])


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_what_is_below_p_happens_with_probability_p_for_each_condition_by_itself(p: float) -> None:
    """Training silences a condition where its draw is below the dropout: 0 never, 1 always, and no two conditions together."""
    ids, n = [str(i) for i in range(20_000)], 20_000
    text, label = (uniform(keys(0, ids, 5, f"silence:{column}")) < p for column in ("text", "label"))
    for drops in (text, label):
        assert stats.binomtest(int(drops.sum()), n, p).pvalue > LIKELY
    assert stats.binomtest(int((text & label).sum()), n, p * p).pvalue > LIKELY
    assert int(text.sum()) in {0.0: {0}, 1.0: {n}}.get(p, range(n))
