"""The report of a build: parts, sites, parameters and conditions, as JSON and as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from torch import nn

from cdkit.build.liveness import Proof
from cdkit.build.liveness.trace import slots
from cdkit.build.work import work
from cdkit.model import Model


def report(model: Model, proof: Proof) -> dict[str, Any]:
    """Everything that `cdkit build --json` prints."""
    return {
        "name": model.spec.name,
        "task": model.spec.task,
        "parameters": parameters(model),
        "sites": [{**asdict(slot.site), "taps": list(slot.taps)} for slot in slots(model)],
        "work": work(model).to_json(),
        "conditions": conditions(model, proof),
        "parts": model.spec.provenance,
    }


def parameters(model: Model) -> dict[str, Any]:
    """Counts: the denoiser is the backbone and its taps; encoders are counted by condition."""
    taps: dict[str, int] = {injector.name: 0 for injector in model.spec.injectors}
    for slot in slots(model):
        for name, tap in slot.taps.items():
            taps[name] += size(tap)
    denoiser = size(model.backbone)
    return {
        "denoiser": denoiser,
        "backbone": denoiser - sum(taps.values()),
        "taps": taps,
        "encoders": {name: size(encoder) for name, encoder in model.encoders.items()},
        "autoencoder": size(model.autoencoder) if model.autoencoder is not None else 0,
    }


def conditions(model: Model, proof: Proof) -> dict[str, Any]:
    """For each condition its encoder, what its stream offers, whether it is trained, and how it is proved alive."""
    proved = proof.to_json()
    rows: dict[str, Any] = {}
    for name, condition in model.spec.conditions.items():
        reader = model.readers[name]
        rows[name] = {
            "encoder": condition.part.use,
            "column": reader.column,
            "joins": list(reader.of),
            "widths": reader.encoder.widths._asdict(),
            "trainable": any(parameter.requires_grad for parameter in reader.encoder.parameters()),
            "dropout": condition.dropout,
            "liveness": proved.get(name, {"reaches_output": True, "through": ["a joiner"]}),
        }
    return rows


def size(module: nn.Module) -> int:
    """Parameters of a module, each counted once."""
    return sum(parameter.numel() for parameter in module.parameters())


def lines(made: dict[str, Any]) -> Iterator[str]:
    """The report for a person."""
    counts = made["parameters"]
    yield f"{made['name']}: {counts['denoiser']:,} parameters in the denoiser"
    yield f"  backbone   {counts['backbone']:>15,}"
    for name, count in counts["taps"].items():
        sites = [site for site in made["sites"] if name in site["taps"]]
        yield f"  {name:<10} {count:>15,}  at {len(sites)} sites: {abridged([site['name'] for site in sites])}"
    for name, count in counts["encoders"].items():
        row = made["conditions"][name]
        yield f"condition {name}: encoder {row['encoder']} {count:,} parameters, {'trained' if row['trainable'] else 'frozen'}"
        yield f"  reaches the output through {', '.join(row['liveness']['through'])}"
    if counts["autoencoder"]:
        yield f"autoencoder: {counts['autoencoder']:,} parameters, {'trained' if made['task'] == 'autoencoder' else 'frozen'}"
    told = made["work"]
    yield f"a step of one picture: {told['macs'] / 1e9:,.3g} GMAC; training keeps {told['activations'] / 2**20:,.0f} MiB of it"
    kinds = dict.fromkeys(site["kind"] for site in made["sites"])
    yield "sites: " + ", ".join(f"{sum(site['kind'] == kind for site in made['sites'])} {kind}" for kind in kinds)
    yield "parts: " + ", ".join(f"{part} ({provider})" for part, provider in made["parts"].items())


def abridged(names: list[str], most: int = 4) -> str:
    """The first names and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
