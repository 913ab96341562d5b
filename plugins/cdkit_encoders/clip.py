"""clip: the text half of CLIP (Radford et al. 2021), frozen. What Stable Diffusion 1, 2 and XL read prompts with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from cdkit.hooks import hookimpl
from cdkit.parts import Stream, Widths
from torch import Tensor

from cdkit_encoders.hf import made, source
from cdkit_encoders.pretrained import Kind, Pretrained

KEYS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
    "hidden_act",
    "layer_norm_eps",
    "projection_dim",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)


class Clip(Pretrained):
    """Prompts (str) -> tokens (B, 77, D), mask (B, 77) of what was said, pooled (B, P) read at the end of the text.

    Tokens after the end are what the network makes of padding, not zeros: Stable Diffusion attends to them, which its
    cross-attention says with `padding: attend`; attention is causal, so they change nothing before them.
    model: a name whose configuration ships with us, a folder, or a name in the local cache. layer: "last" or
    "penultimate", through the last norm if `norm`. pooled: "end", through the last norm, or "projected" into CLIP's
    common space. SD 1: last. SD 2: ViT-H, penultimate. SDXL: penultimate without norm of ViT-L, and of bigG, projected.
    """

    def __init__(
        self,
        *,
        model: str = "openai/clip-vit-large-patch14",
        layer: Literal["last", "penultimate"] = "last",
        norm: bool = True,
        pooled: Literal["end", "projected"] = "end",
    ) -> None:
        from transformers.models.clip.configuration_clip import CLIPTextConfig
        from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
        from transformers.models.clip.tokenization_clip import CLIPTokenizer

        found = source("clip", model, KEYS)
        config = made(CLIPTextConfig, found)
        network = CLIPTextModelWithProjection if pooled == "projected" else CLIPTextModel
        super().__init__(found, Kind(network, CLIPTokenizer), config, config.max_position_embeddings)
        self.layer, self.norm, self.pooled = layer, norm, pooled
        self.widths = Widths(
            tokens=config.hidden_size, pooled=config.projection_dim if pooled == "projected" else config.hidden_size
        )

    def tokenized(self, tokenizer: Any, prompts: list[str]) -> Mapping[str, Tensor]:
        return tokenizer(prompts, padding="max_length", truncation=True, max_length=self.length, return_tensors="pt")

    def read(self, ids: Tensor, mask: Tensor) -> Stream:
        network: Any = self.network
        text = network.text_model if self.pooled == "projected" else network
        out = text(input_ids=ids, output_hidden_states=True)
        tokens: Tensor = out.hidden_states[-1 if self.layer == "last" else -2]
        end: Tensor = out.pooler_output
        return Stream(
            tokens=text.final_layer_norm(tokens) if self.norm else tokens,
            mask=mask,
            pooled=network.text_projection(end) if self.pooled == "projected" else end,
        )


@hookimpl
def cdkit_encoder() -> type[Clip]:
    return Clip
