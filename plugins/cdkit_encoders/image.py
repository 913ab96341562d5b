"""image: CLIP's vision half (Radford et al. 2021), frozen, under IP-Adapter's projection (Ye et al. 2023), which is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Positive, Stream, Widths
from einops import rearrange
from torch import Tensor, nn

from cdkit_encoders.hf import made, source
from cdkit_encoders.lazy import Lazy
from cdkit_encoders.photographs import read

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

KEYS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "image_size",
    "patch_size",
    "hidden_act",
    "layer_norm_eps",
    "projection_dim",
)
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's training pictures, by channel, in [0, 1]
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
TOKENS, WIDTH = 4, 768


class ImageProjection(nn.Module):
    """An image's embedding (B, P) -> tokens (B, L, D): linear, then a norm of each. IP-Adapter's ImageProjModel by name."""

    def __init__(self, embedding: int, tokens: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(embedding, tokens * width)
        self.norm = nn.LayerNorm(width)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.norm(rearrange(self.proj(embedding), "b (l d) -> b l d", d=self.norm.normalized_shape[0]))


class Image(Lazy):
    """Pictures -> tokens (B, L, D), and pooled (B, P), their embeddings in CLIP's common space. All tokens count.

    A raw value is a path (PNG, JPEG or WebP), a PIL image or a tensor (3, H, W) in [-1, 1]; the middle square is looked at.
    model: a name whose configuration ships with us, a folder, or a name in the local cache; its weights are always frozen.
    projection: "linear" makes `tokens` tokens of `width` out of the embedding, as IP-Adapter does, and is trained; "none"
    gives CLIP's own, one a patch and one of all, after the last block but one, for a method that reads them as they are.
    tokens: how many "linear" makes. width: of each of them.
    Null: what an embedding of zeros projects to, as published, and zeros pooled; with "none" what a picture of zeros reads as.
    """

    trainable: ClassVar[bool] = True

    def __init__(
        self,
        *,
        model: str = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        projection: Literal["linear", "none"] = "linear",
        tokens: Positive = TOKENS,
        width: Positive = WIDTH,
    ) -> None:
        from transformers.models.clip.configuration_clip import CLIPVisionConfig
        from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

        found = source("clip_vision", model, KEYS, part="vision_config")
        config = made(CLIPVisionConfig, found)
        super().__init__(found, CLIPVisionModelWithProjection, config)
        self.network.requires_grad_(False)
        self.size: int = config.image_size
        if projection == "none" and (tokens, width) != (TOKENS, WIDTH):
            raise ValueError(
                f"tokens is {tokens} and width is {width}, but projection 'none' gives CLIP's own tokens, of width "
                f"{config.hidden_size}; leave both out, or take `projection: linear`"
            )
        self.image_proj = ImageProjection(config.projection_dim, tokens, width) if projection == "linear" else None
        self.widths = Widths(tokens=width if self.image_proj else config.hidden_size, pooled=config.projection_dim)

    def forward(self, raw: Sequence[Any]) -> Stream:
        """B pictures -> a stream. PromptError for what cannot be read as one, EnvironmentFault for no weights."""
        pictures = read(raw)
        self.load()
        pixels = [prepared(picture, self.size) for picture in pictures]
        return self._seen(
            torch.stack(pixels).to(self.origin, non_blocking=True)
            if pixels
            else self.origin.new_zeros(0, 3, self.size, self.size)
        )

    def null(self, n: int) -> Stream:
        silence = self.origin.new_zeros(1, self.widths.pooled)
        if self.image_proj is not None:
            tokens = self.image_proj(silence)
        else:
            self.load()
            tokens = self._own_tokens(self.origin.new_zeros(1, 3, self.size, self.size))[0]
        return Stream(tokens=tokens.expand(n, -1, -1), pooled=silence.expand(n, -1))

    def examples(self) -> tuple[Tensor, Tensor]:
        """A picture that is bright on the left and one that is bright at the top."""
        slope = torch.linspace(1, -1, 16).expand(3, 16, 16)
        return slope, slope.transpose(1, 2)

    def _seen(self, pixels: Tensor) -> Stream:
        """pixels (B, 3, size, size) as CLIP wants them -> a stream."""
        if self.image_proj is None:
            tokens, embedding = self._own_tokens(pixels)
        else:
            embedding = self.network(pixel_values=pixels).image_embeds
            tokens = self.image_proj(embedding)
        return Stream(tokens=tokens, pooled=embedding)

    def _own_tokens(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens after the last block but one, and embeddings."""
        out = self.network(pixel_values=pixels, output_hidden_states=True)
        return out.hidden_states[-2], out.image_embeds


def prepared(picture: Picture, size: int) -> Tensor:
    """An RGB picture -> (3, size, size) float32: shorter side to size (bicubic), middle square, CLIP's mean and deviation."""
    from PIL.Image import Resampling

    width, height = picture.size
    short = min(width, height)
    resized = picture.resize((size * width // short, size * height // short), Resampling.BICUBIC)
    left, top = (resized.width - size) // 2, (resized.height - size) // 2
    square = np.array(resized.crop((left, top, left + size, top + size)), dtype=np.float32) / 255
    pixels = rearrange(torch.from_numpy(square), "h w c -> c h w")
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)


@hookimpl
def cdkit_encoder() -> type[Image]:
    return Image
