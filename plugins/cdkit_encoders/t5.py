"""t5: the encoder half of T5 (Raffel et al. 2020), frozen. What Imagen, PixArt and others read prompts with."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from cdkit.hooks import hookimpl
from cdkit.parts import Stream, Widths
from torch import Tensor

from cdkit_encoders.hf import made, source
from cdkit_encoders.pretrained import Kind, Padded, mean

KEYS = (
    "vocab_size",
    "d_model",
    "d_kv",
    "d_ff",
    "num_layers",
    "num_heads",
    "relative_attention_num_buckets",
    "relative_attention_max_distance",
    "layer_norm_epsilon",
    "feed_forward_proj",
    "pad_token_id",
    "eos_token_id",
)


class T5(Padded):
    """Prompts (str) -> tokens (B, L, D), zero where masked; mask (B, L); pooled (B, D), the mean of the tokens.

    model: a name whose configuration ships with us, a folder, or a name in the local cache. length: the longest L.
    """

    def __init__(self, *, model: str = "google/t5-v1_1-base", length: Annotated[int, Ge(8)] = 128) -> None:
        from transformers.models.t5.configuration_t5 import T5Config
        from transformers.models.t5.modeling_t5 import T5EncoderModel
        from transformers.models.t5.tokenization_t5 import T5Tokenizer

        found = source("t5", model, KEYS)
        config = made(T5Config, found)
        super().__init__(found, Kind(T5EncoderModel, T5Tokenizer), config, length)
        self.widths = Widths(tokens=config.d_model, pooled=config.d_model)

    def read(self, ids: Tensor, mask: Tensor) -> Stream:
        tokens: Tensor = self.network(input_ids=ids, attention_mask=mask).last_hidden_state
        return Stream(tokens=tokens * mask.unsqueeze(-1), mask=mask, pooled=mean(tokens, mask))


@hookimpl
def cdkit_encoder() -> type[T5]:
    return T5
