"""bytes: a prompt's UTF-8 bytes through a small transformer, trained with the model. Every language works, none is favoured.

After ByT5 (Xue et al. 2022): no vocabulary, nothing to fit, nothing to download.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from annotated_types import Ge
from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Positive, Stream, TextEncoder, Widths

from cdkit_encoders.prompts import Truncation, distinct, read
from cdkit_encoders.transformer import Transformer, filled, repeated


class Bytes(TextEncoder):
    """Prompts (str) -> tokens (B, L, dim), one a byte between a start and an end token; mask; pooled (B, dim), projected mean.

    dim: width, an even multiple of heads. depth: layers. heads: of attention. length: the longest L; what is longer is cut at
    a whole character. Null: the empty prompt as the encoder reads it, start and end alone. `<s>` and its like are bytes like
    any others.
    """

    def __init__(
        self, *, dim: Positive = 128, depth: Positive = 2, heads: Positive = 4, length: Annotated[int, Ge(8)] = 128
    ) -> None:
        super().__init__()
        self.widths = Widths(tokens=dim, pooled=dim)
        self.length = length
        self.transformer = Transformer(256, dim=dim, depth=depth, heads=heads)
        self._truncation = Truncation("bytes")

    def forward(self, raw: Sequence[Any]) -> Stream:
        """B prompts -> a stream; equal prompts are read once. PromptError for what is no text (see cdkit_encoders.prompts)."""
        prompts, index = distinct(read(raw))
        return self.transformer.read([self._bytes(prompt) for prompt in prompts], index, self.length)

    def null(self, n: int) -> Stream:
        """The empty prompt, n times."""
        return repeated(self([""]), n)

    def spans(self, prompt: str) -> list[tuple[int, int]]:
        read = self._bytes(prompt).decode()
        spans = [(place, place + 1) for place, letter in enumerate(read) for _ in letter.encode()]
        return filled([(0, 0), *spans, (0, 0)], self.length)

    @classmethod
    def narrow(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**options, "depth": 1}

    def _bytes(self, prompt: str) -> bytes:
        written, room = prompt.encode(), self.length - 2
        if len(written) <= room:
            return written
        kept = written[:room].decode(errors="ignore").encode()
        self._truncation.say(len(kept), len(written), prompt)
        return kept


@hookimpl
def cdkit_encoder() -> type[Bytes]:
    return Bytes


@hookimpl
def cdkit_trial() -> Trial:
    return Trial({"dim": 32})
