"""hedge"""
from __future__ import annotations
import torch
class Denoiser:
    def __init__(self, predict, signals, diffusion, grid, guider, conditions):
        self.predict, self.signals, self.diffusion, self.grid, self.guider, self.conditions = predict, signals, diffusion, grid, guider, tuple(conditions)
        self.cache = {}
    def __call__(self, x, i):
        branches = tuple(self.guider.branches(self.conditions, self.grid, i)) if self.guider and self.conditions else (frozenset(),)
        if branches not in self.cache:
            self.cache[branches] = self.signals(branches)
        n = len(branches)
        t = self.grid.t[i].to(torch.float32).to(x.device).expand(len(x) * n)
        out = self.predict(torch.cat([x] * n), t, self.cache[branches])
        a, s = float(self.grid.alpha[i]), float(self.grid.sigma[i])
        clean = [self.diffusion.to_clean(o, x, a, s) for o in out.chunk(n)]
        y = self.guider.combine(clean, self.grid, i) if n > 1 else clean[0]
        return y.clamp(-self.diffusion.clip, self.diffusion.clip) if self.diffusion.clip else y
