"""What each approximation saves, and what it costs in our own scores. A row a setting; rows that are in OUT already are kept.

OUT=FOLDER python tests/benchmarks/approximations.py [RUN] [--pictures N] [--frechet N] [--only TEXT] [--most N] [--table]
python tests/benchmarks/approximations.py --count SPEC [--steps N]

Every setting draws the same prompts from the same noise. `macs`: of the denoiser, of a picture, counted on the meta device; with
--count they alone, of a spec that need not be trained. `seconds`: a picture, of the CPU's time, or beside a GPU of the clock's,
in the last call of the model (500 pictures; a GPU records in the first). `off`: how far the pictures lie from the exact ones,
relative to those. `drawn`: the share recognised as said. `frechet`: distance over floor, of N other pictures, where N is given.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from cdkit.build import assemble
from cdkit.build.liveness.streams import fake
from cdkit.cache import cache_folder
from cdkit.engine.evaluate import make_dataset, make_metrics
from cdkit.engine.examinee import Examined
from cdkit.engine.load import load
from cdkit.fast import hasten
from cdkit.model import Model
from cdkit.model.draw import decided
from cdkit.model.plain import walked
from cdkit.model.walk import Told, Walk
from cdkit.spec import read_spec
from measured import DEVICE, NOTED, note, wait
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Setting:
    """How a picture is drawn; None is as the run's spec has it. interval: of the guidance."""

    sampler: str | None = None
    steps: int | None = None
    interval: tuple[float, float] | None = None
    approximate: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        way = [*([self.sampler] if self.sampler else []), *([f"{self.steps} steps"] if self.steps else [])]
        way += [f"guided in {list(self.interval)}"] if self.interval else []
        return ", ".join([*way, *self.approximate]) or "exact"


def settings(level: int) -> Iterator[Setting]:
    """level: blocks of a level of the U-Net; with its change of resolution, what runs above a cut below the finest one."""
    yield Setting()
    yield from (Setting(steps=steps) for steps in (12, 8, 6, 4))
    yield from (Setting("ddim", steps) for steps in (25, 8))
    yield from (Setting(interval=interval) for interval in ((0.0, 600.0), (200.0, 800.0)))
    yield from (Setting(approximate=(f"{{use: deep_cache, every: {n}, depth: {d}}}",)) for d in (0, level) for n in (2, 3))
    yield from (Setting(approximate=(f"{{use: cached_cross_attention, until: {share}}}",)) for share in (0.5, 0.2))
    yield from (Setting(approximate=(f"{{use: token_merging, ratio: {ratio}}}",)) for ratio in (0.25, 0.5, 0.75))
    together = ("{use: cached_cross_attention, until: 0.5}", f"{{use: deep_cache, every: 2, depth: {level}}}")
    yield Setting(interval=(0.0, 600.0), approximate=together)


@dataclass
class Watched:
    """A model's `sample`, with its pictures kept, and what one of the last call took."""

    model: Model
    seconds: float = 0.0
    images: list[Tensor] = field(default_factory=list[Tensor])

    def __call__(self, values: Any, **how: Any) -> Any:
        began = clock()
        samples = Model.sample(self.model, values, **how)
        wait()
        self.seconds = (clock() - began) / len(samples.images)
        self.images.append(samples.images)
        return samples


def clock() -> float:
    """Of this process on a CPU, whatever else runs there; of the wall beside a GPU."""
    return time.perf_counter() if DEVICE == "cuda" else time.process_time()


def guided_in(model: Model, interval: tuple[float, float] | None) -> Any:
    guidance = model.spec.guidance
    if interval is None or guidance is None:
        return model.spec
    return replace(model.spec, guidance=replace(guidance, options={**guidance.options, "interval": interval}))


def macs(meta: Model, setting: Setting) -> int:
    """Of one picture's whole sampling, without the encoders."""
    spec, meta.spec = meta.spec, guided_in(meta, setting.interval)
    recipe = decided(meta, steps=setting.steps, guidance=None, sampler=setting.sampler, approximate=setting.approximate)
    meta.spec = spec
    streams = {name: stream for name, stream in fake(meta).items() if name in meta.told}
    noise = torch.empty((2, *meta.shape), device="meta")
    with torch.inference_mode(), FlopCounterMode(display=False) as counted:
        walked(meta, Walk(recipe, Told(streams, streams, meta.told), noise, [torch.Generator()] * 2))
    return counted.get_total_flops() // (2 * len(noise))


def row(model: Model, meta: Model, setting: Setting, pictures: int, frechet: int, exact: Path) -> dict[str, Any]:
    spec, model.spec = model.spec, guided_in(model, setting.interval)
    watched = Watched(model)
    model.__dict__["sample"] = watched
    how: dict[str, Any] = {"steps": setting.steps, "sampler": setting.sampler, "approximate": setting.approximate}
    examined = Examined(model, make_dataset(spec), cache_folder(), batch=100, tell=lambda _: None, **how)
    (asked,) = make_metrics(spec, ["said_drawn"], options={"pictures": pictures})
    drawn = asked.metric(examined)
    images, seconds = torch.cat(watched.images), watched.seconds
    if setting == Setting():
        torch.save(images, exact)
    wanted = torch.load(exact)
    found = {"drawn": drawn["drawn"], "macs": macs(meta, setting), "seconds": seconds}
    found["off"] = float((images - wanted).norm() / wanted.norm())
    if frechet:
        (asked,) = make_metrics(spec, ["frechet"], options={"pictures": frechet})
        found["frechet"] = asked.metric(examined)["ratio"]
    model.spec = spec
    return {"setting": asdict(setting), **found}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown, with shares in percent and the rest relative to the exact row, which is the first."""
    lines = ["| drawn by | recognised as said | off | MACs | time | Fréchet |", "|---|---|---|---|---|---|"]
    for each in rows:
        name = Setting(**{key: tuple(value) if isinstance(value, list) else value for key, value in each["setting"].items()}).name
        low, high = each["drawn"]["interval"]
        share = f"{100 * each['drawn']['share']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
        ratios = (f"{each[key] / rows[0][key]:.2f}" for key in ("macs", "seconds"))
        distance = f"{each['frechet']:.2f}" if "frechet" in each else ""
        lines.append(" | ".join([f"| {name}", share, f"{each['off']:.3f}", *ratios, f"{distance} |"]))
    return "\n".join(lines)


def count(path: Path, steps: int) -> None:
    """What each approximation leaves of the multiplications of a guided sampling."""
    spec = read_spec(path)
    meta = assemble(spec, device="meta")
    approximations = [setting for setting in settings(int(spec.backbone.options["blocks"])) if setting.approximate]
    whole = macs(meta, Setting(steps=steps))
    note(f"{spec.name}: exact", f"{whole / 1e12:.2f} TMACs in {steps} steps")
    for setting in approximations:
        note(f"{spec.name}: {setting.name}", round(macs(meta, replace(setting, steps=steps)) / whole, 3))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", nargs="?", default="animals")
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--frechet", type=int, default=0)
    parser.add_argument("--only", default="", help="settings whose name holds this, and the exact one")
    parser.add_argument("--most", type=int, default=1000, help="settings that are measured now; the rest another time")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--count", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    if asked.count:
        count(asked.count, asked.steps)
        return
    folder = Path(os.environ["OUT"])
    kept, exact = folder / "approximations.json", folder / f"exact-{Path(asked.run).name}.pt"
    if kept.is_file():
        NOTED.update(json.loads(kept.read_text()))
    model = load(asked.run, device=DEVICE)
    if DEVICE == "cuda":
        hasten(model)
    meta = assemble(model.spec, device="meta")
    blocks = int(model.spec.backbone.options["blocks"])
    chosen = [setting for setting in settings(blocks) if asked.only in setting.name or setting == Setting()]
    names = {f"{model.spec.name}: {setting.name}": setting for setting in chosen}
    left = [name for name in names if name not in NOTED]
    for name, setting in [(name, names[name]) for name in left[: 0 if asked.table else asked.most]]:
        note(name, row(model, meta, setting, asked.pictures, asked.frechet, exact))
    print(table([NOTED[name] for name in names if name in NOTED]))


main()
