"""load: a run, a model that ships in a package or lies in another's format, or a spec -> a model that is ready to draw."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import torch

from cdkit.build import assemble
from cdkit.build.assemble import make_autoencoder
from cdkit.engine.device import pick_device
from cdkit.engine.foreign import format_of, model_of, spec_in
from cdkit.engine.made_with import compare_versions
from cdkit.engine.run import SPEC, VERSIONS, Run
from cdkit.engine.weights import load_weights
from cdkit.errors import CheckpointError, UsageError
from cdkit.model import Model
from cdkit.registry import Registry
from cdkit.spec import Spec, read_spec


def load(
    source: str | Path,
    *,
    device: str | None = None,
    averaged: bool = True,
    fallback: bool = False,
    strict: bool = False,
    height: int | None = None,
    width: int | None = None,
) -> Model:
    """The model of a run (its folder, or the name of one that ships in a package) or of a folder in a format that is installed
    (diffusers'), or a fresh one from a spec.

    averaged: with the moving average of the weights, where the run has one. fallback: take an older checkpoint where the latest
    is damaged. strict: PluginError for parts of another version than the run was made with. height, width: in pixels, of another
    size than it was trained on. CheckpointError where a run has no checkpoint.
    """
    path = Path(source)
    if path.suffix in {".yaml", ".yml"}:
        return assemble(resized(read_spec(path), height, width)).to(pick_device(device)).eval()
    found = None if (path / SPEC).is_file() else format_of(path, Registry.installed())
    if found is not None:
        foreign = found[1].read(path)
        spec = resized(spec_in(foreign, path), height, width)
        return model_of(foreign, spec, str(source)).to(pick_device(device)).eval()
    run = find_run(source)
    checkpoint = run.latest(fallback=fallback, say=logging.getLogger("cdkit").warning)
    if checkpoint is None:
        raise CheckpointError(f"{run.path}: has no checkpoint yet", hint=f"cdkit train … --out {run.path}")
    spec = run.spec()
    compare_versions(run.path / VERSIONS, spec, logging.getLogger("cdkit").warning, strict=strict)
    model = assemble(resized(spec, height, width), drawn=False)
    load_weights(model, checkpoint, averaged=averaged)
    return model.to(pick_device(device)).eval()


def resized(spec: Spec, height: int | None, width: int | None) -> Spec:
    """The same spec, drawing pictures of another size in pixels. UsageError if the autoencoder's factor does not divide it."""
    if height is None and width is None:
        return spec
    with torch.device("meta"):
        autoencoder = make_autoencoder(spec)
    factor = 1 if autoencoder is None else autoencoder.factor
    for name, side in (("height", height), ("width", width)):
        if side is not None and side % factor:
            raise UsageError(f"--{name} {side}: is no multiple of {factor}, which the autoencoder needs")
    sample = replace(
        spec.sample,
        height=spec.sample.height if height is None else height // factor,
        width=spec.sample.width if width is None else width // factor,
    )
    return replace(spec, sample=sample)


def find_run(source: str | Path, *, registry: Registry | None = None) -> Run:
    """The run in a folder, or the one that ships under this name. CheckpointError names those that there are."""
    if (Path(source) / SPEC).is_file():
        return Run.open(Path(source))
    known = registry or Registry.installed()
    names = known.names("run")
    if str(source) in names:
        return Run.open(known.get("run", str(source)))
    raise CheckpointError(
        f"{source}: is neither a run folder nor a model that ships in a package; those are {', '.join(names) or 'none'}",
        hint="`cdkit train SPEC` leaves a run folder",
    )
