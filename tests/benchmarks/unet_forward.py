"""One call of Stable Diffusion 1's U-Net in bfloat16: ours hastened, diffusers eager, in a CUDA graph and compiled.

python tests/benchmarks/unet_forward.py [--sizes 32 64 96] [--batches 1 2 4 8 16 32] [--compiled 2 16]
"""

from __future__ import annotations

import argparse
import copy
import time

import torch
from cdkit.fast.attention import best_attention
from cdkit.fast.hasten import settle
from cdkit.fast.lowered import lowered
from cdkit.kernels import fast
from cdkit.parts import Stream
from measured import milliseconds, note, products_a_second, recorded, versions, wait
from sd1 import MACS, inputs, ours, theirs
from torch import Tensor


def apart(found: Tensor, wanted: Tensor) -> float:
    return float((found.float() - wanted).norm() / wanted.norm())


def lowered_inputs(batch: int, size: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    x, t, tokens = inputs(batch, size)
    return x.bfloat16().to(memory_format=torch.channels_last), t, tokens.bfloat16()


def main() -> None:
    asked = argparse.ArgumentParser()
    for name, default in (("--sizes", [64]), ("--batches", [2, 16]), ("--compiled", [2])):
        asked.add_argument(name, type=int, nargs="*", default=default)
    options = asked.parse_args()
    torch.set_grad_enabled(False)
    torch.backends.cudnn.benchmark = True
    note("versions", versions())
    rate = products_a_second()
    note("products, TFLOP/s", rate / 1e12)
    model = ours()
    peer = copy.deepcopy(theirs(model))
    x, t, tokens = inputs(2)
    exact = model.backbone(x, t, model.prepare({"text": Stream(tokens=tokens)}))
    peer = peer.to(torch.bfloat16)
    note("peer in bfloat16, from float32", apart(peer(x.bfloat16(), t, tokens.bfloat16()).sample, exact))
    settle(lowered(model.backbone, torch.bfloat16))
    with fast(), best_attention():
        note("ours, from float32", apart(model.backbone(x, t, model.prepare({"text": Stream(tokens=tokens)})), exact))
    for size in options.sizes:
        for batch in options.batches:
            x, t, tokens = inputs(batch, size)
            with fast(), best_attention():
                signals = model.prepare({"text": Stream(tokens=tokens)})
                mine = milliseconds(recorded(lambda x=x, t=t, signals=signals: model.backbone(x, t, signals)))
            note(f"ours, {size}, batch {batch}, ms", mine)
            if size == 64:
                note(f"ours, {size}, batch {batch}, share of products", 2 * MACS * batch / (mine / 1e3) / rate)
            x, tokens = x.bfloat16(), tokens.bfloat16()
            note(f"peer eager, {size}, batch {batch}, ms", milliseconds(lambda x=x, t=t, c=tokens: peer(x, t, c).sample, 8, 3))
    peer = peer.to(memory_format=torch.channels_last)
    for size in options.sizes:
        for batch in options.batches:
            x, t, tokens = lowered_inputs(batch, size)
            passed = recorded(lambda x=x, t=t, c=tokens: peer(x, t, c).sample)
            note(f"peer in a graph, {size}, batch {batch}, ms", milliseconds(passed))
    for batch in options.compiled:
        x, t, tokens = lowered_inputs(batch)
        began = time.perf_counter()
        compiled = torch.compile(peer, mode="reduce-overhead")
        compiled(x, t, tokens)
        wait()
        note(f"peer compiled, batch {batch}, seconds to the first answer", time.perf_counter() - began)
        note(f"peer compiled, batch {batch}, ms", milliseconds(lambda x=x, t=t, c=tokens, f=compiled: f(x, t, c).sample))


main()
