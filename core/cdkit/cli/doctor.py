"""cdkit doctor: what is installed, what works, and what is wrong with a run. It works when everything else is broken."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
from cdkit.version import VERSION

PACKAGES = (
    "torch",
    "torchvision",
    "transformers",
    "sentencepiece",
    "accelerate",
    "safetensors",
    "pydantic",
    "pluggy",
    "diffusers",
)


@click.command("doctor")
@click.option("--verify", type=click.Path(path_type=Path), metavar="RUN", help="Check every file of a run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(verify: Path | None, as_json: bool) -> None:
    """Examine this installation, or verify a run.

    The exit code is 0 if nothing is wrong, 7 if something here is, and 6 if a checkpoint is damaged.
    """
    found = verified_run(verify) if verify else examination()
    click.echo(json.dumps(found, indent=1) if as_json else "\n".join(lines(found)))
    if found["problems"]:
        raise SystemExit(6 if verify else 7)


def examination() -> dict[str, Any]:
    """Each part of it is guarded: what fails becomes a problem, and the rest is told all the same."""
    problems: list[str] = []
    found: dict[str, Any] = {
        "cdkit": VERSION,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "packages": {name: installed(name) for name in PACKAGES},
    }
    for name, examine in (("plugins", plugins), ("cache", cache), ("device", device), ("smoke", smoke)):
        found[name] = guarded(name, examine, problems)
    problems += [f"plugin {name}: {status}" for name, status in (found["plugins"] or {}).items() if status != "ok"]
    return {**found, "problems": problems}


def guarded(name: str, examine: Callable[[], Any], problems: list[str]) -> Any:
    """What is examined, or None and a problem in words."""
    try:
        return examine()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        problems.append(f"{name}: {type(error).__name__}: {error}")
        return None


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def plugins() -> dict[str, str]:
    """Every entry point and what is wrong with it, without importing any; what was shut out is as its user wants it."""
    from cdkit.registry import Registry

    records = Registry.installed().records()
    return {f"{record.entry.provider} {record.entry.line}": record.error if record.at_fault else "ok" for record in records}


def cache() -> dict[str, Any]:
    from cdkit.cache import cache_folder

    folder = cache_folder()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return {"folder": str(folder), "free_gb": round(shutil.disk_usage(there).free / 1e9, 1)}


def device() -> dict[str, Any]:
    import torch

    best = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name(best) if best.type == "cuda" else platform.processor() or platform.machine()
    bf16 = torch.cuda.is_bf16_supported() if best.type == "cuda" else True
    return {"best": str(best), "name": name, "bf16": bf16, "threads": torch.get_num_threads()}


def smoke() -> str:
    """One convolution and one attention, forward and backward, on the best device."""
    import torch
    from torch.nn import functional as F

    where = "cuda" if torch.cuda.is_available() else "cpu"
    x = torch.randn(2, 8, 16, 16, device=where, requires_grad=True)
    h = F.conv2d(x, torch.randn(8, 8, 3, 3, device=where), padding=1).flatten(2).transpose(1, 2).unsqueeze(1)
    F.scaled_dot_product_attention(h, h, h).sum().backward()
    if x.grad is None or not bool(x.grad.isfinite().all()):
        raise RuntimeError(f"a forward and a backward pass on {where} gave no finite gradient")
    return f"forward and backward on {where}: ok"


def verified_run(path: Path) -> dict[str, Any]:
    """Everything of a run and what is wrong with it."""
    from cdkit.engine.load import find_run
    from cdkit.engine.verify import verify

    return asdict(verify(find_run(str(path))))


def lines(found: dict[str, Any]) -> list[str]:
    """The findings for a person."""
    said: list[str] = []
    for name, value in found.items():
        if isinstance(value, dict):
            said += [f"{name}:", *(f"  {key}: {entry}" for key, entry in value.items())]
        elif name not in ("problems", "notes"):
            said.append(f"{name}: {value}")
    return [
        *said,
        *(f"note: {note}" for note in found.get("notes", ())),
        *(f"problem: {problem}" for problem in found["problems"]),
        *([] if found["problems"] else ["nothing is wrong"]),
    ]
