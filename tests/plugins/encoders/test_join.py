"""join: along each axis, with masks, and what cannot be joined."""

import pytest
import torch
from cdkit.parts import Stream, Widths
from cdkit_encoders.join import Join


def stream(length: int, width: int, masked: int | None = None) -> Stream:
    """Random tokens and pooled vectors; the last `masked` of the second row do not count and are not finite."""
    tokens = torch.randn(2, length, width)
    if masked is None:
        return Stream(tokens=tokens, pooled=torch.randn(2, width))
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[1, length - masked :] = False
    tokens[~mask] = torch.nan
    return Stream(tokens=tokens, mask=mask, pooled=torch.randn(2, width))


def test_tokens_one_after_the_other() -> None:
    a, b = stream(3, 4), stream(5, 4, masked=2)
    join = Join((Widths(tokens=4), Widths(tokens=4, pooled=4)), axis="tokens")
    joined = join(a, b)
    assert join.widths == Widths(tokens=4)
    assert joined.tokens is not None
    assert joined.mask is not None
    assert torch.equal(joined.tokens[:, :3], a.tokens)  # pyright: ignore[reportArgumentType]
    assert joined.tokens.shape == (2, 8, 4)
    assert joined.mask.tolist() == [[True] * 8, [True] * 6 + [False] * 2]
    assert joined.pooled is None


def test_no_mask_stays_no_mask() -> None:
    widths = (Widths(tokens=4), Widths(tokens=4))
    assert Join(widths, axis="tokens")(stream(3, 4), stream(5, 4)).mask is None
    assert Join(widths, axis="features")(stream(3, 4), stream(3, 4)).mask is None


def test_features_side_by_side() -> None:
    a, b = stream(5, 3, masked=4), stream(2, 4)
    join = Join((Widths(tokens=3), Widths(tokens=4)), axis="features")
    joined = join(a, b)
    assert join.widths == Widths(tokens=7)
    assert joined.tokens is not None
    assert a.tokens is not None
    assert b.tokens is not None
    assert torch.equal(joined.tokens[0, :, :3], a.tokens[0])
    assert torch.equal(joined.tokens[:, :2, 3:], b.tokens)
    assert not joined.tokens[:, 2:, 3:].any()
    assert not joined.tokens[1, 1, :3].any()
    assert joined.mask is not None
    assert joined.mask.tolist() == [[True] * 5, [True, True, False, False, False]]


def test_features_of_equal_length_need_no_padding() -> None:
    a, b = stream(5, 3), stream(5, 4)
    assert a.tokens is not None
    assert b.tokens is not None
    joined = Join((Widths(tokens=3), Widths(tokens=4)), axis="features")(a, b)
    assert torch.equal(joined.tokens, torch.cat([a.tokens, b.tokens], dim=-1))  # pyright: ignore[reportArgumentType]


def test_pooled_as_sdxl_joins_text_and_sizes() -> None:
    join = Join((Widths(tokens=8, pooled=1280), Widths(pooled=1536)), axis="pooled")
    text, sizes = torch.randn(2, 1280), torch.randn(2, 1536)
    joined = join(Stream(tokens=torch.randn(2, 3, 8), pooled=text), Stream(pooled=sizes))
    assert join.widths == Widths(pooled=2816)
    assert torch.equal(joined.pooled, torch.cat([text, sizes], dim=-1))  # pyright: ignore[reportArgumentType]
    assert joined.tokens is None


@pytest.mark.parametrize(
    ("widths", "axis", "message"),
    [
        (
            (Widths(tokens=768), Widths(tokens=1280)),
            "tokens",
            "one width, got 768 and 1280; `axis: features` joins any",
        ),
        ((Widths(tokens=768), Widths(pooled=9)), "features", "needs tokens of every condition in `of`; number 2 has none"),
        ((Widths(tokens=768), Widths(pooled=9)), "pooled", "needs pooled of every condition in `of`; number 1 has none"),
        ((Widths(tokens=768),), "tokens", "join needs at least two conditions in `of`, got 1"),
    ],
)
def test_what_cannot_be_joined(widths: tuple[Widths, ...], axis: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Join(widths, axis=axis)  # pyright: ignore[reportArgumentType]


def test_what_counts_nowhere_is_left_as_it_came() -> None:
    """SDXL attends to padding: what both of its encoders made of it must be there."""
    mask = torch.tensor([[True, False], [True, True]])
    a, b = (Stream(tokens=torch.randn(2, 2, width), mask=mask) for width in (3, 4))
    joined = Join((Widths(tokens=3), Widths(tokens=4)), axis="features")(a, b)
    assert torch.equal(joined.tokens, torch.cat([a.tokens, b.tokens], dim=-1))  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert torch.equal(joined.mask, mask)  # pyright: ignore[reportArgumentType]
