"""The tokenizer of multilingual-e5-small, XLM-R's (Conneau et al. 2020): unigram pieces of a hundred languages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cdkit_encoders.e5_file import E5File, Tokens

MARKS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}


class E5Tokenizer:
    """Called as tokenizers of transformers are, for as much as we need of them."""

    def __init__(self, tokens: Tokens) -> None:
        from transformers import PreTrainedTokenizerFast

        self._tokenizer = PreTrainedTokenizerFast(tokenizer_object=unigram(tokens), split_special_tokens=True, **MARKS)
        self._written = tokens.written
        self.all_special_tokens = tuple(MARKS.values())
        self.all_special_ids: list[int] = self._tokenizer.all_special_ids
        self.unk_token_id: int = tokens.unknown

    @classmethod
    def at(cls, path: Path) -> E5Tokenizer:
        return cls(E5File(path).tokens)

    def __call__(self, prompts: str | Sequence[str], **options: Any) -> Any:
        """Characters are written as the model knows them (full width as half, say) before they are cut into pieces."""
        if isinstance(prompts, str):
            return self._tokenizer(prompts.translate(self._written), **options)
        return self._tokenizer([prompt.translate(self._written) for prompt in prompts], **options)


def unigram(tokens: Tokens) -> Any:
    """The rules and pieces as the library tokenizers runs them."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.Unigram(list(zip(tokens.pieces, tokens.scores, strict=True)), unk_id=tokens.unknown))
    made.normalizer = normalizers.Replace(Regex(" {2,}"), " ")
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", tokens.start), ("</s>", tokens.end)]
    )
    return made
