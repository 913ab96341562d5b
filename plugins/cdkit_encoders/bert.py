"""bert: BERT (Devlin et al. 2019) and what is built like it, sentence models among them, frozen."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Interval
from cdkit.hooks import hookimpl
from cdkit.parts import Stream, Widths
from torch import Tensor

from cdkit_encoders.hf import Source, made, source
from cdkit_encoders.pretrained import Kind, Padded, mean

KEYS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "pad_token_id",
)


class BertLike(Padded):
    """A BERT from any source: tokens (B, L, D), zero where masked; mask (B, L); pooled (B, D), their mean or the first."""

    def __init__(self, found: Source, *, length: int, pooled: str, kind: Kind | None = None) -> None:
        """kind: where its weights or its tokenizer are kept in another way than transformers' own."""
        from transformers.models.bert.configuration_bert import BertConfig
        from transformers.models.bert.modeling_bert import BertModel
        from transformers.models.bert.tokenization_bert import BertTokenizer

        config = made(BertConfig, found)
        kind = kind or Kind(WithoutPooler(BertModel), BertTokenizer)
        super().__init__(found, kind, config, min(length, config.max_position_embeddings))
        self.pooled = pooled
        self.widths = Widths(tokens=config.hidden_size, pooled=config.hidden_size)

    def read(self, ids: Tensor, mask: Tensor) -> Stream:
        tokens: Tensor = self.network(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = mean(tokens, mask) if self.pooled == "mean" else tokens[:, 0]
        return Stream(tokens=tokens * mask.unsqueeze(-1), mask=mask, pooled=pooled)


class WithoutPooler:
    """BertModel, made and loaded without the pooler that sentence models do not use."""

    def __init__(self, cls: Any) -> None:
        self.cls = cls

    def __call__(self, config: Any) -> Any:
        return self.cls(config, add_pooling_layer=False)

    def from_pretrained(self, folder: str, **options: Any) -> Any:
        return self.cls.from_pretrained(folder, add_pooling_layer=False, **options)


class Bert(BertLike):
    """Prompts (str) -> tokens (B, L, D), zero where masked; mask (B, L); pooled (B, D).

    model: a name whose configuration ships with us, a folder, or a name in the local cache. length: the longest L.
    pooled: the mean of the tokens, or the first of them, [CLS].
    """

    def __init__(
        self,
        *,
        model: str = "google-bert/bert-base-uncased",
        length: Annotated[int, Interval(ge=8, le=512)] = 128,
        pooled: Literal["mean", "cls"] = "mean",
    ) -> None:
        super().__init__(source("bert", model, KEYS), length=length, pooled=pooled)


@hookimpl
def cdkit_encoder() -> type[Bert]:
    return Bert
