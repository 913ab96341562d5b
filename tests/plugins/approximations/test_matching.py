"""Matching: the most alike are merged, into the one that they are most like, and answers go back to where they were asked for."""

from __future__ import annotations

import pytest
import torch
from cdkit.parts import SampleShape
from cdkit_approximations.matching import Squares, matched
from torch import Tensor
from torch.nn import functional as F


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plainly(tokens: Tensor, squares: Squares, away: int) -> Tensor:
    """One picture's tokens (n, C), each replaced by the mean of what it was merged with: in loops, as the paper says it."""
    staying = [
        row * squares.columns + column
        for row in range(0, squares.rows, squares.side)
        for column in range(0, squares.columns, squares.side)
    ]
    going = [token for token in range(len(tokens)) if token not in staying]
    likeness = {(a, b): float(F.cosine_similarity(tokens[a], tokens[b], dim=0)) for a in going for b in staying}
    nearest = {a: max(staying, key=lambda b, a=a: likeness[a, b]) for a in going}
    gone = sorted(going, key=lambda a: -likeness[a, nearest[a]])[:away]
    groups = {b: [b, *(a for a in gone if nearest[a] == b)] for b in staying}
    out = tokens.clone()
    for group in groups.values():
        out[group] = tokens[group].mean(dim=0)
    return out


@pytest.mark.parametrize(("rows", "columns", "side"), [(4, 4, 2), (4, 6, 2), (5, 7, 2), (7, 7, 3), (2, 9, 4)])
@pytest.mark.parametrize("share", [0.1, 0.4, 1.0])
def test_it_is_what_the_paper_says_in_loops(rows: int, columns: int, side: int, share: float) -> None:
    squares, tokens = Squares(rows, columns, side), rand(3, rows * columns, 5)
    away = max(1, int(share * squares.going))
    found = matched(tokens, squares, away)
    assert found.tokens.shape == (3, rows * columns - away, 5)
    wanted = torch.stack([plainly(each, squares, away) for each in tokens])
    torch.testing.assert_close(found.spread(found.tokens), wanted)


def test_equal_tokens_lose_nothing() -> None:
    squares, tokens = Squares(4, 4, 2), rand(1, 4, 6).repeat_interleave(4, dim=1)
    square = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]) * 4
    tokens = tokens[:, square]
    found = matched(tokens, squares, 12)
    assert found.tokens.shape == (1, 4, 6)
    torch.testing.assert_close(found.spread(found.tokens), tokens)


@pytest.mark.parametrize(
    ("sample", "stride", "staying"), [((8, 8), 1, 16), ((8, 8), 2, 4), ((28, 28), 4, 16), ((5, 3), 1, 6), ((1, 1), 1, 1)]
)
def test_squares_of_a_picture(sample: tuple[int, int], stride: int, staying: int) -> None:
    squares = Squares.of(SampleShape(1, *sample), stride, 2)
    assert squares.staying == staying
    assert squares.staying + squares.going == squares.rows * squares.columns
    order = squares.order(torch.device("cpu"))
    assert sorted(order.tolist()) == list(range(squares.rows * squares.columns))
    assert all(place % squares.columns % 2 == 0 and place // squares.columns % 2 == 0 for place in order[:staying].tolist())


def test_tokens_of_nothing_are_merged_without_a_nan() -> None:
    found = matched(torch.zeros(1, 16, 4), Squares(4, 4, 2), 8)
    assert found.tokens.isfinite().all()
