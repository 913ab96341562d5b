"""A multimodal transformer's block: two streams, one attention (Esser et al. 2024, arXiv 2403.03206, figure 2b)."""

from __future__ import annotations

from cdkit.parts import Signals
from torch import Tensor, nn

from cdkit_dit.block import Open
from cdkit_dit.joint_attention import JointAttention, LastJointAttention
from cdkit_dit.joint_stream import JointStream, LastWords, closed


class JointBlock(nn.Module):
    """h (B, N, C), words (B, M, C), emb (B, E) -> both, of the same shapes. Each has weights of its own; they meet in `attn`.

    last: the words answer and are passed on as they came, so what only they would need is not there.
    """

    def __init__(
        self,
        open_site: Open,
        name: str,
        width: int,
        *,
        embedding: int,
        heads: int,
        mlp_ratio: float,
        qk_norm: bool,
        last: bool,
    ) -> None:
        super().__init__()
        self.picture = JointStream(open_site, name, width, embedding=embedding, mlp_ratio=mlp_ratio)
        if last:
            self.words = LastWords(width, embedding=embedding)
            self.attn = LastJointAttention(width, heads, qk_norm=qk_norm)
        else:
            self.words = JointStream(closed, name, width, embedding=embedding, mlp_ratio=mlp_ratio)
            self.attn = JointAttention(width, heads, qk_norm=qk_norm)

    def forward(self, h: Tensor, words: Tensor, mask: Tensor | None, emb: Tensor, signals: Signals) -> tuple[Tensor, Tensor]:
        """mask (B, 1, 1, N + M) bool over keys, the picture's first; None: all count."""
        seen, later = self.picture.enter(h, emb, signals)
        said, later_words = self.words.enter(words, emb, signals)
        asked, asked_words = self.attn(seen, said, mask)
        h = self.picture.leave(h, asked, later, emb, signals)
        return h, self.words.leave(words, asked_words, later_words, emb, signals)
