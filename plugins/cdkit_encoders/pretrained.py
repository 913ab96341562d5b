"""What clip, t5, bert and minilm share: prompts, a tokenizer and a network that others trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from cdkit.parts import Stream, TextEncoder
from torch import Tensor

from cdkit_encoders.hf import Source, load_tokenizer
from cdkit_encoders.lazy import Lazy
from cdkit_encoders.prompts import Truncation, Unknown, distinct, read
from cdkit_encoders.transformer import repeated, spread


class Kind(NamedTuple):
    """The classes of transformers that a network is made of."""

    network: Any
    tokenizer: Any


class Pretrained(Lazy, TextEncoder):
    """A text encoder whose weights, and whose tokenizer, come from a folder when they are needed (see `Lazy`).

    Null: the empty prompt as the network reads it.
    """

    def __init__(self, source: Source, kind: Kind, config: Any, length: int) -> None:
        super().__init__(source, kind.network, config)
        self.length = length
        self._kind = kind
        self._tokenizer: Any = None
        self._truncation = Truncation("tokens")

    @abstractmethod
    def said(self, tokenizer: Any, prompts: Sequence[str]) -> Stream:
        """B prompts that were checked -> a stream of batch B."""

    def forward(self, raw: Sequence[Any]) -> Stream:
        """B prompts -> a stream; equal prompts are read once. PromptError for no text, EnvironmentFault for no weights."""
        prompts, index = distinct(read(raw))
        self.load()
        return spread(self.said(self._tokenizer, prompts), index)

    def null(self, n: int) -> Stream:
        """The empty prompt, n times."""
        return repeated(self([""]), n)

    def load(self) -> None:
        """Weights and tokenizer, if they are not there yet. EnvironmentFault, saying how to get them, if they cannot be had."""
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self._kind.tokenizer, self.source.found())
        super().load()

    def say_if_cut(self, kept: int, total: int, prompt: str) -> None:
        """Log, once, that a prompt has more tokens than are read of it."""
        self._truncation.say(kept, total, prompt)


class Padded(Pretrained):
    """One that reads `length` tokens at most, prompts of a batch filled up to the longest."""

    def __init__(self, source: Source, kind: Kind, config: Any, length: int) -> None:
        super().__init__(source, kind, config, length)
        self._unknown = Unknown()

    @abstractmethod
    def read(self, ids: Tensor, mask: Tensor) -> Stream:
        """ids (B, L) int, mask (B, L) bool -> a stream of batch B."""

    def said(self, tokenizer: Any, prompts: Sequence[str]) -> Stream:
        prompts = [without_marks(prompt, tokenizer.all_special_tokens) for prompt in prompts]
        batch = tokenizer(prompts, padding=True, truncation=True, max_length=self.length, return_tensors="pt")
        ids, mask = batch["input_ids"], batch["attention_mask"]
        for prompt, kept in zip(prompts, mask.sum(dim=1).tolist(), strict=True):
            if kept == self.length:
                self.say_if_cut(kept, len(tokenizer(prompt, verbose=False)["input_ids"]), prompt)
        self._say_if_unknown(tokenizer, prompts, ids)
        return self.read(ids.to(self.origin.device, non_blocking=True), mask.bool().to(self.origin.device, non_blocking=True))

    def spans(self, prompt: str) -> list[tuple[int, int]] | None:
        """None for a prompt that holds a mark of the tokenizer's own, which is read otherwise than it is written."""
        self.load()
        tokenizer = self._tokenizer
        if without_marks(prompt, tokenizer.all_special_tokens) != prompt:
            return None
        return offsets(tokenizer, prompt, truncation=True, max_length=self.length)

    def _say_if_unknown(self, tokenizer: Any, prompts: Sequence[str], ids: Tensor) -> None:
        marks = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
        for prompt, row in zip(prompts, ids.tolist(), strict=True):
            said = [id for id in row if id not in marks]
            self._unknown.say(said.count(tokenizer.unk_token_id), len(said), prompt)


def without_marks(prompt: str, marks: Sequence[str]) -> str:
    """A tokenizer's own marks, such as `</s>`, broken by a blank where a prompt holds them: there they are text."""
    for mark in marks:
        prompt = prompt.replace(mark, f"{mark[0]} {mark[1:]}")
    return prompt


def offsets(tokenizer: Any, prompt: str, **how: Any) -> list[tuple[int, int]]:
    """The characters of a prompt that each token was read from; (0, 0) for a mark."""
    return [tuple(span) for span in tokenizer(prompt, return_offsets_mapping=True, verbose=False, **how)["offset_mapping"]]


def mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """tokens (B, L, D), mask (B, L) -> their mean (B, D) where they count."""
    weight = mask.unsqueeze(-1).to(tokens.dtype)
    return (tokens * weight).sum(dim=1) / weight.sum(dim=1)
