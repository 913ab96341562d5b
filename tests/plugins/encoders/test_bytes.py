"""bytes: what it reads, and that neither its batch nor its padding matters."""

import logging

import pytest
import torch
from cdkit.parts import Stream, Widths
from cdkit_encoders.bytes import Bytes
from cdkit_encoders.transformer import END, PIECES, START, packed
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close


def small(**options: int) -> Bytes:
    torch.manual_seed(0)
    return Bytes(**{"dim": 16, "depth": 2, "heads": 4, **options}).double()


def row(stream: Stream, index: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens of one prompt that count, and its pooled vector."""
    assert stream.tokens is not None
    assert stream.mask is not None
    assert stream.pooled is not None
    return stream.tokens[index][stream.mask[index]], stream.pooled[index]


def test_packing_by_hand() -> None:
    ids, mask = packed(["猫".encode(), b"", b"\x00"], 64)
    cat = [byte + PIECES for byte in "猫".encode()]
    assert ids.tolist() == [[START, *cat, END, 0, 0, 0], [START, END, 0, 0, 0, 0, 0, 0], [START, PIECES, END, 0, 0, 0, 0, 0]]
    assert torch.equal(mask, ids != 0)


def test_shapes() -> None:
    encoder = small()
    stream = encoder(["a cat", "猫", ""])
    assert encoder.widths == Widths(tokens=16, pooled=16)
    assert stream.tokens is not None
    assert stream.tokens.shape == (3, 8, 16)
    assert stream.mask is not None
    assert stream.mask.sum(dim=1).tolist() == [7, 5, 2]
    assert not stream.tokens[~stream.mask].any()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "M"], exclude_characters="\0"), max_size=40), min_size=1, max_size=5)
)
def test_neither_batch_nor_padding_matters(prompts: list[str]) -> None:
    encoder = small()
    together = encoder(prompts)
    for index, prompt in enumerate(prompts):
        for a, b in zip(row(together, index), row(encoder([prompt]), 0), strict=True):
            assert_close(a, b, atol=1e-12, rtol=0)


def test_padding_is_harmless_in_single_precision() -> None:
    encoder = small().float()
    tokens, pooled = row(encoder(["a cat"]), 0)
    others = row(encoder(["a" * 120, "a cat"]), 1)
    assert_close((tokens, pooled), others, atol=1e-6, rtol=0)


def test_one_byte_or_the_order_changes_what_is_read() -> None:
    stream = small()(["cat", "cut", "act", "猫", "狗"])
    assert stream.pooled is not None
    assert torch.cdist(stream.pooled, stream.pooled).fill_diagonal_(1).min() > 1e-3


def test_null_is_the_empty_prompt() -> None:
    encoder = small()
    null = encoder.null(3)
    assert null.tokens is not None
    assert null.tokens.shape[0] == 3
    for said in ("", "  \n"):
        for a, b in zip(row(null, 2), row(encoder([said]), 0), strict=True):
            assert torch.equal(a, b)


def test_a_long_prompt_is_cut_at_a_character_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    encoder = small(length=12)
    with caplog.at_level(logging.WARNING, logger="cdkit"):
        cut = encoder(["猫猫猫猫"])
    assert caplog.messages == ["prompt '\\u732b\\u732b\\u732b\\u732b' is too long: kept 9 of 12 bytes"]
    for a, b in zip(row(cut, 0), row(encoder(["猫猫猫"]), 0), strict=True):
        assert torch.equal(a, b)


def test_every_weight_learns() -> None:
    encoder = small()
    stream = encoder(["a cat", "two dogs"])
    assert stream.tokens is not None
    assert stream.pooled is not None
    (stream.tokens.square() @ torch.randn(16).double()).sum().backward(retain_graph=True)
    stream.pooled.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in encoder.parameters())


def test_equal_captions_share_a_gradient() -> None:
    encoder = small()
    grads = []
    for prompts in (["a cat"] * 4, ["a cat"]):
        encoder.zero_grad()
        stream = encoder(prompts)
        assert stream.pooled is not None
        stream.pooled.square().mean().backward()
        grads.append([p.grad.clone() for p in encoder.parameters() if p.grad is not None])
    assert_close(grads[0], grads[1])


def test_counted_without_memory() -> None:
    with torch.device("meta"):
        encoder = Bytes(dim=64, depth=3, heads=4)
    block = 2 * 128 + 3 * 64**2 + 64**2 + 64 + 4 * 64**2 + 256 + 4 * 64**2 + 64
    assert sum(p.numel() for p in encoder.parameters()) == (256 + PIECES) * 64 + 3 * block + 128 + 64**2 + 64
    assert encoder(["a"]).pooled.is_meta  # pyright: ignore[reportOptionalMemberAccess]


def test_heads_must_share_the_width() -> None:
    with pytest.raises(ValueError, match=r"^dim is 30; expected an even multiple of heads, 4, such as 24$"):
        Bytes(dim=30, heads=4)


def test_narrow_keeps_the_widths() -> None:
    options = {"dim": 32, "depth": 6}
    assert Bytes(**Bytes.narrow(options)).widths == Bytes(**options).widths
