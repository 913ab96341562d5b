"""Block and ResnetBlock of the textbook U-Net: convolution, normalisation, activation (Ho 2020, arXiv 2006.11239)."""

from __future__ import annotations

from cdkit.parts import Signals
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from cdkit_unet.common import Common


class Block(nn.Module):
    """A 3 x 3 convolution, GroupNorm, SiLU: h (B, dim, H, W) -> (B, dim_out, H, W); a site between the last two."""

    def __init__(self, common: Common, name: str, dim: int, dim_out: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(dim, dim_out, 3, padding=1)
        self.norm = common.norm(dim_out)
        self.norm_site = common.open(name, "norm", "map", dim_out, stride)

    def forward(self, h: Tensor, emb: Tensor, signals: Signals) -> Tensor:
        return F.silu(self.norm_site(self.norm(self.proj(h)), signals, emb))


class ResnetBlock(nn.Module):
    """block1, the time added to the image features, block2; the input added, projected to dim_out where the width changes."""

    def __init__(self, common: Common, name: str, dim: int, dim_out: int, stride: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(common.embedding, dim_out))
        self.block1 = Block(common, f"{name}.norm1", dim, dim_out, stride)
        self.block2 = Block(common, f"{name}.norm2", dim_out, dim_out, stride)
        self.branch_site = common.open(f"{name}.branch", "branch", "map", dim_out, stride)
        self.res_conv = nn.Conv2d(dim, dim_out, 1) if dim != dim_out else nn.Identity()

    def forward(self, h: Tensor, emb: Tensor, signals: Signals) -> Tensor:
        branch = self.block1(h, emb, signals)
        branch = branch + rearrange(self.mlp(emb), "b c -> b c 1 1")
        branch = self.block2(branch, emb, signals)
        return self.res_conv(h) + self.branch_site(branch, signals, emb)
