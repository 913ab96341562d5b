"""Joint attention: each stream projects itself, and both are read as one sequence (Esser et al. 2024, arXiv 2403.03206).

Layers are named as diffusers and peft name them: `to_*` are the picture's, `add_*` and `to_add_out` the words'.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


class LastJointAttention(nn.Module):
    """h (B, N, C) and words (B, M, C) -> what the picture's rows were answered (B, N, C), and no words (B, 0, C).

    The picture asks, both answer: the attention of the last block, which nobody asks for its words. mask (B, 1, 1, N + M) bool
    over keys, the picture's first; None: all count. qk_norm: queries and keys are normalised to a root mean square of one,
    head by head, and scaled by learned weights (section 5.3.2).
    """

    def __init__(self, width: int, heads: int, *, qk_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(width, width) for _ in range(4))
        self.add_k_proj, self.add_v_proj = (nn.Linear(width, width) for _ in range(2))
        self.norm_q, self.norm_k, self.norm_added_k = (_norm(width // heads, used=qk_norm) for _ in range(3))

    def forward(self, h: Tensor, words: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.to_out(self._asked(self.norm_q(self._split(self.to_q(h))), h, words, mask)), words[:, :0]

    def _asked(self, q: Tensor, h: Tensor, words: Tensor, mask: Tensor | None) -> Tensor:
        """q (B, heads, Q, D) -> (B, Q, C)."""
        k = torch.cat([self.norm_k(self._split(self.to_k(h))), self.norm_added_k(self._split(self.add_k_proj(words)))], dim=2)
        v = torch.cat([self._split(self.to_v(h)), self._split(self.add_v_proj(words))], dim=2)
        return rearrange(F.scaled_dot_product_attention(q, k, v, attn_mask=mask), "b heads n d -> b n (heads d)")

    def _split(self, x: Tensor) -> Tensor:
        return rearrange(x, "b n (heads d) -> b heads n d", heads=self.heads)


class JointAttention(LastJointAttention):
    """As the last one, but the words ask too: h (B, N, C) and words (B, M, C) -> answers of the same shapes."""

    def __init__(self, width: int, heads: int, *, qk_norm: bool) -> None:
        super().__init__(width, heads, qk_norm=qk_norm)
        self.add_q_proj, self.to_add_out = (nn.Linear(width, width) for _ in range(2))
        self.norm_added_q = _norm(width // heads, used=qk_norm)

    def forward(self, h: Tensor, words: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        q = torch.cat([self.norm_q(self._split(self.to_q(h))), self.norm_added_q(self._split(self.add_q_proj(words)))], dim=2)
        picture, text = self._asked(q, h, words, mask).tensor_split([h.shape[1]], dim=1)
        return self.to_out(picture), self.to_add_out(text)


def _norm(width: int, *, used: bool) -> nn.Module:
    return nn.RMSNorm(width, eps=1e-6) if used else nn.Identity()
