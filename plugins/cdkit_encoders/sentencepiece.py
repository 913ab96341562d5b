"""sentencepiece: subwords learned from the training captions, then a small transformer, trained with the model.

Byte-pair merges (Sennrich et al. 2016), with bytes for every character that the captions lack. Not sentencepiece's unigram
model: that one seeds only pieces shared by several distinct words, so of a few hundred words it learns mere letters.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import torch
from annotated_types import Ge
from cdkit.hooks import Trial, hookimpl
from cdkit.parts import CdkitError, DataError, Positive, Stream, TextEncoder, Widths
from torch import Tensor

from cdkit_encoders.prompts import Truncation, distinct, read
from cdkit_encoders.transformer import Transformer, filled, repeated

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

BYTES = 257  # pieces for single bytes, and the one for what is unknown, which bytes leave without use
LONGEST = 16  # characters of a piece, sentencepiece's own default
BLANK = "▁"  # as pieces write it
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
HEADER = 8  # bytes that hold the length of the vocabulary


class SentencePiece(TextEncoder):
    """Prompts (str) -> tokens (B, L, dim), one a subword between a start and an end token; mask; pooled (B, dim).

    vocab: subwords to learn, at most; at least as many as the captions have different characters. dim: width, an even
    multiple of heads. depth: layers. heads: of attention. length: the longest L. `fit` learns the vocabulary; it lies in the
    state dict beside the weights, as bytes, in room that `vocab` fixes. Null: the empty prompt as the encoder reads it.
    """

    vocabulary: Tensor

    def __init__(
        self,
        *,
        vocab: Annotated[int, Ge(8)] = 1000,
        dim: Positive = 128,
        depth: Positive = 2,
        heads: Positive = 4,
        length: Annotated[int, Ge(8)] = 64,
    ) -> None:
        super().__init__()
        self.widths = Widths(tokens=dim, pooled=dim)
        self.vocab = vocab
        self.length = length
        self.transformer = Transformer(vocab + BYTES, dim=dim, depth=depth, heads=heads)
        self.register_buffer("vocabulary", torch.zeros(HEADER + room(vocab), dtype=torch.uint8))
        self._processor: tuple[Tensor, SentencePieceProcessor] | None = None
        self._truncation = Truncation("subwords")
        self.register_load_state_dict_post_hook(forget)

    def fit(self, values: Iterable[Any]) -> None:
        """Learn the vocabulary from captions; the same captions, in whatever order, give the same vocabulary."""
        captions = sorted(filter(None, map(spaced, read(list(values)))))
        check(captions, self.vocab)
        proto = trained(captions, self.vocab + BYTES)
        if len(proto) > len(self.vocabulary) - HEADER:
            raise DataError(f"the vocabulary takes {len(proto):,} bytes; there is room for {len(self.vocabulary) - HEADER:,}")
        written = len(proto).to_bytes(HEADER, "little") + proto
        self.vocabulary.zero_()
        self.vocabulary[: len(written)] = torch.frombuffer(bytearray(written), dtype=torch.uint8)
        self._processor = None

    def forward(self, raw: Sequence[Any]) -> Stream:
        """B prompts -> a stream; equal prompts are read once. CdkitError before `fit`, PromptError for what is no text."""
        prompts, index = distinct([spaced(prompt) for prompt in read(raw)])
        pieces: list[list[int]] = self._reader().encode(prompts)
        rows = [self._cut(row, prompt) for row, prompt in zip(pieces, prompts, strict=True)]
        return self.transformer.read(rows, index, self.length)

    def null(self, n: int) -> Stream:
        """The empty prompt, n times."""
        return repeated(self([""]), n)

    def spans(self, prompt: str) -> list[tuple[int, int]] | None:
        """None for a prompt that holds the sign by which pieces write a blank."""
        pieces: list[str] = self._reader().encode(prompt, out_type=str)
        return None if BLANK in prompt else filled([(0, 0), *read_from(pieces, prompt)[: self.length - 2], (0, 0)], self.length)

    @classmethod
    def narrow(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**options, "depth": 1}

    def _reader(self) -> SentencePieceProcessor:
        """The processor of the vocabulary as it now is."""
        if self._processor is None or self._processor[0] is not self.vocabulary:
            written = self.vocabulary.cpu().numpy().tobytes()
            size = int.from_bytes(written[:HEADER], "little")
            if not size:
                raise CdkitError(
                    "sentencepiece has no vocabulary yet", hint="training learns it from the captions; or call fit(captions)"
                )
            self._processor = (self.vocabulary, opened(written[HEADER : HEADER + size]))
        return self._processor[1]

    def _cut(self, pieces: list[int], prompt: str) -> list[int]:
        kept = pieces[: self.length - 2]
        self._truncation.say(len(kept), len(pieces), prompt)
        return kept


def read_from(pieces: Sequence[str], prompt: str) -> list[tuple[int, int]]:
    """The characters that each piece was read from: one byte of a character, or its own text behind the blank that begins all."""
    letters = [place for place, letter in enumerate(f" {prompt}") for _ in letter.encode()]  # which one each byte is of
    spans: list[tuple[int, int]] = []
    at = 0
    for piece in pieces:
        size = 1 if BYTE.fullmatch(piece) else len(piece.replace(BLANK, " ").encode())
        spans.append((max(letters[at] - 1, 0), letters[at + size - 1]))
        at += size
    return spans


def forget(encoder: SentencePiece, _: Any) -> None:
    """After a state dict was loaded, the vocabulary may be another."""
    encoder._processor = None  # pyright: ignore[reportPrivateUsage]  # a hook of the module itself


def room(vocab: int) -> int:
    """Bytes that a vocabulary can take: a piece of 16 characters of 4 bytes and its score, and what describes the whole."""
    return (vocab + BYTES) * (LONGEST * 4 + 16) + 4096


def spaced(prompt: str) -> str:
    """The same words, one blank between two."""
    return " ".join(prompt.split())


def check(captions: Sequence[str], vocab: int) -> None:
    """DataError if no vocabulary of this size can be learned from the captions."""
    if not captions:
        raise DataError("sentencepiece has nothing to learn from: every caption is empty")
    characters = len(set("".join(captions).replace(" ", ""))) + 1
    if characters > vocab:
        raise DataError(
            f"vocab is {vocab}, but the captions hold {characters:,} different characters; take at least {characters:,}"
        )


def trained(captions: Sequence[str], size: int) -> bytes:
    """A vocabulary of at most `size` pieces, serialised. Text is normalised already, so no rule of its own."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(  # pyright: ignore[reportAttributeAccessIssue]  # made at import, from its C++ half
        sentence_iterator=iter(captions),
        model_writer=model,
        model_type="bpe",
        vocab_size=size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        byte_fallback=True,
        normalization_rule_name="identity",
        max_sentencepiece_length=LONGEST,
        max_sentence_length=1_000_000,
        num_threads=1,
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        minloglevel=2,
    )
    return model.getvalue()


def opened(proto: bytes) -> SentencePieceProcessor:
    from sentencepiece import SentencePieceProcessor

    try:
        return SentencePieceProcessor(model_proto=proto)
    except RuntimeError as error:
        raise DataError("the sentencepiece vocabulary in this state is damaged") from error


@hookimpl
def cdkit_encoder() -> type[SentencePiece]:
    return SentencePiece


@hookimpl
def cdkit_trial() -> Trial:
    return Trial({"vocab": 120, "dim": 32})
