"""A very small network with a site of every kind and layout, to mount an injector on."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from cdkit.parts import Backbone, Joined, Layout, Mount, SampleShape, Signals, Site, SiteKind

PATCH = 2


class Reference(Backbone):
    """x (B, C, H, W), t (B,) in [0, 1000] -> (B, C, H, W): a residual block on the map, one transformer block on patches."""

    multiple = PATCH

    def __init__(self, mount: Mount, sample: SampleShape, *, width: int = 16) -> None:
        super().__init__()

        def opened(name: str, kind: SiteKind, layout: Layout, stride: int = 1) -> nn.Module:
            return mount(Site(name, kind, layout, width, stride, width, keys=width if kind == "sequence" else 0))

        self.time = nn.Linear(1, width)
        self.embed = opened("embed", "embed", "vector")
        self.embed_norm = opened("embed.norm", "norm", "vector")
        self.stem = nn.Conv2d(sample.channels, width, 3, padding=1)
        self.input = opened("input", "input", "map")
        self.norm = nn.GroupNorm(4, width)
        self.norm_site = opened("map.norm", "norm", "map")
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.branch = opened("map.branch", "branch", "map")
        self.skip = opened("map.skip", "skip", "map")
        self.patches = nn.Conv2d(width, width, PATCH, stride=PATCH)
        self.patches_site = opened("patches", "input", "tokens", PATCH)
        self.sequence = opened("tokens.sequence", "sequence", "tokens", PATCH)
        self.qkv = nn.Linear(width, 3 * width)
        self.attend = opened("tokens.attend", "attend", "tokens", PATCH)
        self.tokens_norm = opened("tokens.norm", "norm", "tokens", PATCH)
        self.feed = nn.Linear(width, width)
        self.tokens_branch = opened("tokens.branch", "branch", "tokens", PATCH)
        self.back = nn.ConvTranspose2d(width, width, PATCH, stride=PATCH)
        self.out = nn.Conv2d(width, sample.channels, 1)

    def forward(self, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        emb = self.time(rearrange(t.to(x.dtype), "b -> b 1") / 1000)
        emb = self.embed(emb, signals, emb)
        emb = self.embed_norm(F.layer_norm(emb, emb.shape[1:]), signals, emb)
        h = self.input(self.stem(x), signals, emb) + rearrange(emb, "b c -> b c 1 1")
        h = h + self.branch(self.conv(F.silu(self.norm_site(self.norm(h), signals, emb))), signals, emb)
        tokens = self.patches_site(rearrange(self.patches(h), "b c h w -> b (h w) c"), signals, emb)
        tokens = self._block(tokens, signals, emb)
        map_again = rearrange(tokens, "b (h w) c -> b c h w", h=x.shape[2] // PATCH)
        return self.out(self.skip(h, signals, emb) + self.back(map_again))

    def _block(self, tokens: Tensor, signals: Signals, emb: Tensor) -> Tensor:
        rows = tokens.shape[1]
        joined: Joined = self.sequence(F.layer_norm(tokens, tokens.shape[2:]), signals, emb)
        q, k, v = self.qkv(joined.tokens).chunk(3, dim=2)
        k, v = joined.with_own(k, v)
        mask = None if joined.mask is None else rearrange(joined.mask, "b n -> b 1 n")
        tokens = tokens + F.scaled_dot_product_attention(q[:, :rows], k, v, attn_mask=mask)
        tokens = self.attend(tokens, signals, emb)
        normed = self.tokens_norm(F.layer_norm(tokens, tokens.shape[2:]), signals, emb)
        return tokens + self.tokens_branch(self.feed(F.silu(normed)), signals, emb)
