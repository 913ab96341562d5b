"""Spans: the characters that a token was read from spell the prompt, and there are as many as tokens."""

from __future__ import annotations

import pytest
from cdkit.parts import TextEncoder
from cdkit_encoders.bytes import Bytes
from cdkit_encoders.sentencepiece import SentencePiece

CAPTIONS = ["a small red circle", "a blue square", "红色的圆", "a large green triangle"]


def learned(**options: int) -> SentencePiece:
    encoder = SentencePiece(vocab=60, dim=16, depth=1, heads=1, **options)
    encoder.fit(CAPTIONS)
    return encoder


@pytest.mark.parametrize("prompt", ["a small red circle", "红色的圆 a", "", "naïve 🙂"])
@pytest.mark.parametrize("encoder", [Bytes(dim=16, depth=1, heads=1), learned()], ids=["bytes", "sentencepiece"])
def test_spans_spell_the_prompt(encoder: TextEncoder, prompt: str) -> None:
    spans, stream = encoder.spans(prompt), encoder([prompt])
    assert spans is not None
    assert stream.tokens is not None
    assert len(spans) == stream.tokens.shape[1]
    covered = sorted({place for start, end in spans for place in range(start, end)})
    assert "".join(prompt[place] for place in covered).replace(" ", "") == prompt.replace(" ", "")
    assert spans[0] == (0, 0)


@pytest.mark.parametrize(
    "encoder", [Bytes(dim=16, depth=1, heads=1, length=8), learned(length=8)], ids=["bytes", "sentencepiece"]
)
def test_what_is_cut_has_no_token(encoder: TextEncoder) -> None:
    prompt = "qqqqqqqqqqqqqqqq zz"
    spans, stream = encoder.spans(prompt), encoder([prompt])
    assert spans is not None
    assert stream.tokens is not None
    assert len(spans) == stream.tokens.shape[1] == 8
    assert max(end for _, end in spans) < len(prompt)
