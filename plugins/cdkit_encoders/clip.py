"""clip: the text half of CLIP (Radford et al. 2021), frozen. What Stable Diffusion 1, 2 and XL read prompts with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Positive, Stream, Widths
from einops import rearrange
from torch import Tensor, nn

from cdkit_encoders.emphasis import Fragment, emphasised, fragments
from cdkit_encoders.hf import made, source
from cdkit_encoders.pretrained import Kind, Pretrained, offsets, without_marks
from cdkit_encoders.windows import Piece, Windows

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
    """Prompts (str) -> tokens (B, W * 77, D), mask (B, W * 77) of what was said, pooled (B, P) read at the end of the text.

    Tokens after the end are what the network makes of padding, not zeros: Stable Diffusion attends to them, which its
    cross-attention says with `padding: attend`; attention is causal, so they change nothing before them.
    model: a name whose configuration ships with us, a folder, or a name in the local cache. layer: "last" or
    "penultimate". norm: through the last norm. pooled: "end", through the last norm, or "projected" into CLIP's
    common space. SD 1: last. SD 2: ViT-H, penultimate. SDXL: penultimate without norm of ViT-L, and of bigG, projected.
    windows: W; longer prompts are read 75 tokens at a time, each window with its own beginning and end, and pooled is of the
    first. There are always W, so that batches do not matter; the mask leaves out those that a prompt does not reach, and
    `padding: attend` reads them as empty prompts. weights: "(red:1.3) cat", "((red))" and "[red]" weigh the tokens of red by
    1.3, by 1.1 twice and by 1/1.1, and the mean of each window is restored, as AUTOMATIC1111 does.
    null: "empty", the empty prompt as the network reads it, or "zeros" in every form, as SDXL's base model was trained with.
    """

    def __init__(
        self,
        *,
        model: str = "openai/clip-vit-large-patch14",
        layer: Literal["last", "penultimate"] = "last",
        norm: bool = True,
        pooled: Literal["end", "projected"] = "end",
        windows: Positive = 1,
        weights: bool = False,
        null: Literal["empty", "zeros"] = "empty",
    ) -> None:
        from transformers.models.clip.configuration_clip import CLIPTextConfig
        from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
        from transformers.models.clip.tokenization_clip import CLIPTokenizer

        found = source("clip", model, KEYS)
        config = made(CLIPTextConfig, found)
        network = CLIPTextModelWithProjection if pooled == "projected" else CLIPTextModel
        super().__init__(found, Kind(network, CLIPTokenizer), config, config.max_position_embeddings)
        self.layer, self.norm, self.pooled = layer, norm, pooled
        self.windows, self.weights, self.silence = windows, weights, null
        self.widths = Widths(
            tokens=config.hidden_size, pooled=config.projection_dim if pooled == "projected" else config.hidden_size
        )

    def null(self, n: int) -> Stream:
        if self.silence == "empty":
            return super().null(n)
        length = self.windows * self.length
        tokens, mask = self.origin.new_zeros(n, length, self.widths.tokens), self.origin.new_zeros(n, length, dtype=torch.bool)
        return Stream(tokens=tokens, mask=mask, pooled=self.origin.new_zeros(n, self.widths.pooled))

    def said(self, tokenizer: Any, prompts: Sequence[str]) -> Stream:
        rows = [self._pieces(tokenizer, prompt) for prompt in prompts]
        for prompt, row in zip(prompts, rows, strict=True):
            ends = 2 * self.windows
            self.say_if_cut(min(len(row) + ends, self.windows * self.length), len(row) + ends, prompt)
        start, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
        cut = Windows(self.windows, self.length, start, end, pad).of(rows)
        return self._read(*(form.to(self.origin.device, non_blocking=True) for form in cut))

    def spans(self, prompt: str) -> list[tuple[int, int]] | None:
        """None for a prompt that is read otherwise than it is written: it weighs words, or holds a tokenizer's own mark."""
        self.load()
        tokenizer = self._tokenizer
        weighed = self.weights and [part.text for part in fragments(prompt)] != [prompt]
        if weighed or without_marks(prompt, tokenizer.all_special_tokens) != prompt:
            return None
        room = self.length - 2
        read = offsets(tokenizer, prompt, add_special_tokens=False)[: self.windows * room]
        rows = [read[start : start + room] for start in range(0, self.windows * room, room)]
        return [span for row in rows for span in ((0, 0), *row, (0, 0), *[(0, 0)] * (room - len(row)))]

    def _pieces(self, tokenizer: Any, prompt: str) -> list[Piece]:
        """What a prompt consists of, without beginning and end, however long."""
        parts = fragments(prompt) if self.weights else [Fragment(prompt, 1.0)]
        texts = [without_marks(part.text, tokenizer.all_special_tokens) for part in parts]
        ids: list[list[int]] = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return [Piece(number, part.weight) for part, numbers in zip(parts, ids, strict=True) for number in numbers]

    def recordable(self) -> Sequence[nn.Module]:
        network: Any = self.network
        return (network.text_model if self.pooled == "projected" else network,)

    def _read(self, ids: Tensor, mask: Tensor, weights: Tensor) -> Stream:
        """ids, mask and weights (B, W * L) of W windows -> a stream of batch B."""
        network: Any = self.network
        text = network.text_model if self.pooled == "projected" else network
        out = text(input_ids=rearrange(ids, "b (w l) -> (b w) l", w=self.windows), output_hidden_states=True)
        tokens: Tensor = out.hidden_states[-1 if self.layer == "last" else -2]
        tokens = text.final_layer_norm(tokens) if self.norm else tokens
        if self.weights:
            tokens = emphasised(tokens, rearrange(weights, "b (w l) -> (b w) l", w=self.windows))
        end: Tensor = out.pooler_output[:: self.windows]
        return Stream(
            tokens=rearrange(tokens, "(b w) l d -> b (w l) d", w=self.windows),
            mask=mask,
            pooled=network.text_projection(end) if self.pooled == "projected" else end,
        )


@hookimpl
def cdkit_encoder() -> type[Clip]:
    return Clip
