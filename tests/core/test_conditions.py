"""Streams side by side: nothing that is said is lost, moved to another row, or let in from padding."""

from __future__ import annotations

import pytest
import torch
from cdkit.conditions import Count, Ledger, aligned, chosen, mask_of, padded, stacked
from cdkit.parts import Stream


def stream(batch: int, words: int, *, masked: bool = True, seed: int = 0) -> Stream:
    draws = torch.Generator().manual_seed(seed)
    mask = torch.arange(words) < torch.randint(1, words + 1, (batch, 1), generator=draws)
    tokens = torch.randn(batch, words, 4, generator=draws)
    return Stream(tokens, mask if masked else None, torch.randn(batch, 3, generator=draws))


def test_padding_is_masked_and_adds_nothing() -> None:
    short = stream(2, 3, masked=False)
    long = padded(short, 7)
    assert long.tokens is not None
    assert short.tokens is not None
    assert torch.equal(long.tokens[:, :3], short.tokens)
    assert mask_of(long).tolist() == [[True] * 3 + [False] * 4] * 2


def test_streams_of_one_length_without_masks_stay_without() -> None:
    assert all(s.mask is None for s in aligned([stream(2, 3, masked=False), stream(2, 3, masked=False)]))


def test_stacking_keeps_every_row() -> None:
    a, b = stream(2, 3, seed=1), stream(3, 5, seed=2)
    both = stacked([a, b])
    assert both.tokens is not None
    assert both.pooled is not None
    assert a.tokens is not None
    assert b.tokens is not None
    assert both.tokens.shape == (5, 5, 4)
    assert torch.equal(both.tokens[:2, :3][mask_of(a)], a.tokens[mask_of(a)])
    assert torch.equal(both.tokens[2:], b.tokens)
    assert torch.equal(mask_of(both)[:2, 3:], torch.zeros(2, 2, dtype=torch.bool))


def test_stacking_refuses_streams_of_different_forms() -> None:
    with pytest.raises(ValueError, match="'pooled' is missing in some"):
        stacked([stream(1, 2), Stream(tokens=torch.zeros(1, 2, 4))])


def test_chosen_takes_each_row_from_its_own_side() -> None:
    said, silent = stream(3, 5, seed=1), stream(3, 2, seed=2)
    keep = torch.tensor([True, False, True])
    mixed = chosen(keep, said, silent)
    assert mixed.tokens is not None
    assert said.tokens is not None
    assert silent.tokens is not None
    assert torch.equal(mixed.tokens[keep], said.tokens[keep])
    assert torch.equal(mixed.tokens[1, :2], silent.tokens[1])
    assert not mask_of(mixed)[1, 2:].any()
    assert mixed.pooled is not None
    assert silent.pooled is not None
    assert torch.equal(mixed.pooled[1], silent.pooled[1])


def test_the_ledger_counts_and_reads_back() -> None:
    ledger = Ledger()
    ledger.record("text", torch.tensor([True, False, True]))
    ledger.record("text", torch.tensor([True]))
    assert ledger.counts["text"] == Count(told=3, silent=1)
    assert not ledger.never_silent("text")
    assert ledger.never_silent("size"), "a condition that was never counted was never silent"
    assert Ledger.from_json(ledger.to_json()) == ledger


def test_an_imported_ledger_is_unknown_and_forbids_nothing() -> None:
    ledger = Ledger.from_json({"text": "unknown"})
    assert not ledger.never_silent("text")
    assert ledger.to_json() == {"text": "unknown"}
