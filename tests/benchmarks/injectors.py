"""What every method costs on one U-Net, beside the same told nothing: a call of the denoiser, and a pass forward and back.

python tests/benchmarks/injectors.py [--sd] [--methods NAME …] [--batch N] [--rounds N] [--no-count]

Methods are those that are installed, told what docs/methods/prices.py tells them, 77 words of it. The U-Net is that page's (9.3 M
weights, 32 x 32 pixels); with --sd it is Stable Diffusion 1's. On a GPU a call is hastened and recorded, and a pass is as
`cdkit train` makes it. A method and the network told nothing are timed in turn; a ratio is of their medians.
"""

from __future__ import annotations

import argparse
import runpy
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from cdkit.build import assemble
from cdkit.compare.price import price_of
from cdkit.engine.bench import in_turn
from cdkit.fast import hasten
from cdkit.fast.attention import best_attention
from cdkit.fast.training import laid_out, quick
from cdkit.kernels import fast
from cdkit.model import Model
from cdkit.parts import Stream
from cdkit.registry import Registry
from cdkit.spec import Spec, read_spec
from measured import DEVICE, note, recorded

ROOT = Path(__file__).parents[2]
PRICES = runpy.run_path(str(ROOT / "docs" / "methods" / "prices.py"))
WORDS = 77
CARD = torch.device(DEVICE)
NETWORKS = {
    "small": (
        "{channels: 3, height: 32, width: 32}",
        "{use: unet, width: 64, mult: [1, 2, 2], blocks: 2, attention: [1, 2], heads: 4}",
        256,
    ),
    "sd": (
        "{channels: 4, height: 64, width: 64}",
        "{use: unet, width: 320, mult: [1, 2, 4, 4], attention: [0, 1, 2], heads: 8}",
        768,
    ),
}  # sample, backbone, width of a word


@dataclass(frozen=True)
class Bench:
    """The network on which they are compared, and how much of it is done at once."""

    network: str
    batch: int
    rounds: int

    def spec(self, streams: Sequence[str], injectors: Sequence[str]) -> Spec:
        sample, backbone, width = NETWORKS[self.network]
        told = ", ".join(PRICES["STREAMS"][name].replace("dim: 256", f"dim: {width}") for name in streams)
        lines = ("cdkit: 1", "name: priced", f"sample: {sample}", f"conditions: {{{told}}}", f"backbone: {backbone}")
        return read_spec("\n".join([*lines, f"injectors: [{', '.join(injectors)}]", "diffusion: {clip: 1.0}"]))

    def made(self, spec: Spec) -> Model:
        """On the device, of small random weights; they are drawn there, for the time does not depend on them."""
        model = assemble(spec, device="meta").to_empty(device=CARD)
        with torch.no_grad():
            for weights in (*model.parameters(), *model.buffers()):
                if weights.is_floating_point():
                    weights.normal_(std=0.02)
        return model

    def streams(self, model: Model) -> dict[str, Stream]:
        """What encoders would have said."""
        found: dict[str, Stream] = {}
        for name in model.told:
            tokens, pooled, spatial = model.readers[name].encoder.widths
            found[name] = Stream(
                torch.randn(self.batch, WORDS, tokens, device=CARD) if tokens else None,
                None,
                torch.randn(self.batch, pooled, device=CARD) if pooled else None,
                torch.randn(self.batch, spatial, *model.shape[1:], device=CARD) if spatial else None,
            )
        return model.joined(found)  # pyright: ignore[reportReturnType]

    def inputs(self, model: Model) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(self.batch, *model.shape, device=CARD), torch.full((self.batch,), 500.0, device=CARD)

    def call(self, spec: Spec) -> Callable[[], Any]:
        model = self.made(spec).eval()
        x, t = self.inputs(model)
        streams = self.streams(model)
        if DEVICE != "cuda":
            with torch.inference_mode():
                signals = model.prepare(streams)

            def plain() -> None:
                with torch.inference_mode():
                    model.backbone(x, t, signals)

            return plain
        hasten(model)
        with torch.inference_mode(), fast(), best_attention():
            signals = model.prepare(streams)
            return recorded(lambda: model.backbone(x, t, signals))

    def training(self, spec: Spec) -> Callable[[], Any]:
        model = self.made(spec).train()
        x, t = self.inputs(model)
        streams = self.streams(model)
        network = laid_out(model.backbone) if DEVICE == "cuda" else model.backbone

        def both() -> None:
            with quick(CARD) if DEVICE == "cuda" else nullcontext():
                with torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda"):
                    out = network(x, t, model.prepare(streams))
                out.float().square().mean().backward()
                model.zero_grad(set_to_none=True)

        return both


def methods(asked: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Those that are installed, or those asked for."""
    for name in asked or Registry.installed().names("injector"):
        yield name, PRICES["METHODS"].get(name) or PRICES["alone"](name, "text")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sd", action="store_true")
    parser.add_argument("--methods", nargs="*", default=[])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-count", action="store_true")
    asked = parser.parse_args()
    bench = Bench("sd" if asked.sd else "small", asked.batch, asked.rounds)
    note("machine", torch.cuda.get_device_name() if DEVICE == "cuda" else f"{torch.get_num_threads()} threads of a CPU")
    untold = bench.spec((), ())
    base = None if asked.no_count else price_of(untold)
    peers = bench.call(untold), bench.training(untold)
    rows = ["| method | reads | parameters | MACs a step (millions) | a call | a pass |", "|---|---|---|---|---|---|"]
    for name, method in methods(asked.methods):
        spec = bench.spec(method.streams, method.injectors)
        found: dict[str, Any] = {}
        for what, peer, make in (("call", peers[0], bench.call), ("pass", peers[1], bench.training)):
            before, own = in_turn(peer, make(spec), bench.rounds, CARD)
            found |= {f"{what} ms": own, f"{what} ratio": own / before, f"{what} untold ms": before}
        if base is not None:
            price = price_of(spec)
            found |= {"parameters": price.taps, "macs": price.forward - base.forward}
        note(name, found)
        counted = f"{found['parameters']:,} | {found['macs'] / 1e6:,.1f}" if base is not None else " | "
        times = " | ".join(f"{found[f'{what} ms']:.1f} ms, {found[f'{what} ratio']:.2f} x" for what in ("call", "pass"))
        rows.append(f"| `{name}` | {', '.join(method.streams)} | {counted} | {times} |")
    print("\n".join(rows))


main()
