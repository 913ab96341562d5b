"""convert: a model from one layout on disk to another, with nothing renamed by guess and nothing written by halves."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cdkit.build import assemble
from cdkit.engine.checkpoint import Checkpoint, write_checkpoint
from cdkit.engine.foreign import format_of, model_of, spec_in, text_of
from cdkit.engine.merged import merged
from cdkit.engine.run import SPEC, VERSIONS, Run, facts, versions
from cdkit.engine.weights import weights_of
from cdkit.errors import CheckpointError, EnvironmentFault, NumericsError, UsageError
from cdkit.parts import Foreign, Format, Stream
from cdkit.registry import Registry
from cdkit.spec.here import unanchored

RUN = "run"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Told:
    """What a source may leave open; see parts.Format.read."""

    averaged: bool | None = None
    prediction: str | None = None
    tokenizer: Path | None = None


def convert(source: Path, target: Path, *, to: str | None, told: Told, say: Say) -> Path:
    """Leave the model of `source` at `target`, which must not be there yet, and say what was found, left out and verified.

    to: `run`, or a format's name; None: `run` for what is no run, else the format whose files end as the target does.
    """
    registry = Registry.installed()
    if target.exists():
        raise UsageError(f"{target}: is there already; expected a new path", hint="nothing is ever overwritten by `convert`")
    model = read(source, told, registry)
    kind = to or (RUN if not is_run(source) else _by_suffix(target))
    say(f"reading   {source}")
    for note in model.notes:
        say(f"  {note}")
    say(f"writing   {target} ({kind})")
    for note in _committed(model, target, kind, registry):
        say(f"  {note}")
    say("verifying")
    for note in verified(model, source, target, kind, registry):
        say(f"  {note}")
    return target


def read(source: Path, told: Told, registry: Registry) -> Foreign:
    """A run, or whatever an installed format recognises. CheckpointError names the formats."""
    if is_run(source):
        return from_run(Run.open(source), told.averaged)
    found = format_of(source, registry)
    if found is None:
        what = "no such file or folder" if not source.exists() else "neither a run nor of any format that is installed"
        raise CheckpointError(f"{source}: {what}; formats: {', '.join(registry.names('format')) or 'none'}", hint=_hint(source))
    return found[1].read(source, averaged=told.averaged, prediction=told.prediction, tokenizer=told.tokenizer)


def _hint(source: Path) -> str:
    if source.suffix in {".ckpt", ".pt", ".pth", ".bin"}:
        return "this is a pickle, which is code; prefer the publisher's safetensors, or see --unsafe-pickle-import"
    return ""


def is_run(path: Path) -> bool:
    return (path / SPEC).is_file()


def _by_suffix(target: Path) -> str:
    return "compvis" if target.suffix == ".safetensors" else "diffusers"


def from_run(run: Run, averaged: bool | None) -> Foreign:
    """A run's latest weights, averaged where it has an average and the raw ones were not asked for."""
    checkpoint = run.latest()
    if checkpoint is None:
        raise CheckpointError(f"{run.path}: has no checkpoint yet")
    refuse_eyes(run, checkpoint)
    spec, weights = run.spec(), checkpoint.tensors("backbone")
    has = "ema" in checkpoint.names
    if averaged and not has:
        raise UsageError(f"{run.path}: keeps no averaged weights (EMA); leave --weights out, or ask for raw")
    if has and averaged is not False:
        average = checkpoint.tensors("ema")
        weights = {name: average.get(f"backbone.{name}", value) for name, value in weights.items()}
    if spec.lora is not None:
        whole = merged(run, checkpoint, averaged=averaged is not False)
        weights, spec = weights_of(whole)["backbone"], replace(spec, lora=None)
    which = "averaged (EMA)" if has and averaged is not False else "raw" if has else "one set"
    lora = ("LoRA: merged into the weights",) if "lora" in checkpoint.names else ()
    notes = (f"run of step {checkpoint.step}: {len(weights)} tensors", f"weights: {which}", *lora)
    return Foreign(spec.filled(), weights, averaged is not False if has else None, {}, notes)


def refuse_eyes(run: Run, checkpoint: Checkpoint) -> None:
    """UsageError for a run that holds an autoencoder of its own, which would be left behind."""
    if "autoencoder" in checkpoint.names:
        raise UsageError(
            f"{run.path}: holds the weights of its autoencoder, {run.spec().filled()['autoencoder']['use']!r}, and no format has "
            "a place for them",
            hint="use the run as it is: cdkit sample, cdkit pack",
        )


def _committed(model: Foreign, target: Path, kind: str, registry: Registry) -> list[str]:
    """Write beside the target, then rename: whoever looks finds all of it or nothing."""
    partial = target.with_name(f".partial-{os.getpid()}-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        notes = to_run(model, partial) if kind == RUN else _format(kind, registry).write(model, partial)
        os.replace(partial, target)
    except OSError as error:
        raise EnvironmentFault(f"{target}: cannot be written: {error.strerror}") from error
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        partial.unlink(missing_ok=True)
    return list(notes)


def _format(kind: str, registry: Registry) -> Format:
    return registry.get("format", kind)()


def to_run(model: Foreign, folder: Path) -> list[str]:
    """A run folder: the folders beside the weights, the filled spec that points to them, and a checkpoint of step 0."""
    write_beside(model, folder)
    spec = spec_in(model, folder.resolve())
    (folder / SPEC).write_text(text_of(unanchored(spec.filled(), folder.resolve())), encoding="utf-8")
    (folder / VERSIONS).write_text(_json(versions(spec)), encoding="utf-8")
    own = assemble(spec, device="meta")
    _fits(own.backbone.state_dict(), model.weights, str(folder))
    state = {"ledger": dict.fromkeys(own.told, "unknown"), "ema_updates": 0}
    write_checkpoint(folder / "checkpoints", 0, {"backbone": model.weights, "encoders": {}}, state, facts(spec))
    return [f"{len(model.weights)} tensors by our names", *(f"{name}/" for name in model.beside)]


def write_beside(model: Foreign, folder: Path, *, tensors: bool = True) -> None:
    """The folders that go with the weights; without their tensors, what says their shape."""
    from safetensors.torch import save_file

    for name, files in model.beside.items():
        (folder / name).mkdir(parents=True)
        for file, content in files().items():
            if isinstance(content, bytes):
                (folder / name / file).write_bytes(content)
            elif tensors:
                save_file({key: value.contiguous() for key, value in content.items()}, folder / name / file, {"format": "pt"})


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, sort_keys=True)


def _fits(own: Mapping[str, Tensor], given: Mapping[str, Tensor], where: str) -> None:
    """CheckpointError if the weights are not those of the network that the spec describes."""
    wrong = [name for name in {*own, *given} if name not in own or name not in given or own[name].shape != given[name].shape]
    if wrong:
        raise CheckpointError(f"{where}: {len(wrong)} tensors are not those of the spec's network, such as {sorted(wrong)[0]}")


def verified(model: Foreign, source: Path, target: Path, kind: str, registry: Registry) -> list[str]:
    """Read back what was written: every tensor equal, bit by bit, and the same answer from the network."""
    if kind == RUN:
        again = from_run(Run.open(target), None)
    else:
        prediction = str(model.spec["diffusion"]["prediction"])
        again = _format(kind, registry).read(target, prediction=prediction)
    changed = [name for name in {*model.weights, *again.weights} if not _same(model.weights.get(name), again.weights.get(name))]
    if changed:
        raise CheckpointError(f"{target}: {len(changed)} tensors read back are not what was written, such as {changed[0]}")
    said = [answer(model), answer(again)]
    if not torch.equal(*said):
        raise NumericsError(f"{target}: the network answers otherwise than that of {source}")
    rms = float(said[0].square().mean().sqrt())
    return [f"{len(again.weights)} tensors read back bit-equal", f"the network's answer is the same, and finite: rms {rms:.4g}"]


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and one.dtype == other.dtype and torch.equal(one, other)


@torch.inference_mode()
def answer(foreign: Foreign) -> Tensor:
    """What the network makes of fixed noise and fixed streams. NumericsError if it is not finite."""
    with tempfile.TemporaryDirectory(prefix="cdkit-") as folder:
        write_beside(foreign, Path(folder), tensors=False)
        model = model_of(foreign, spec_in(foreign, Path(folder)), foreign.spec["name"]).eval()
    draws = torch.Generator().manual_seed(0)
    side = 2 * model.backbone.multiple
    streams = {name: _noise(reader.encoder.widths, side, draws) for name, reader in model.readers.items()}
    x = torch.randn(1, model.shape.channels, side, side, generator=draws)
    out = model.backbone(x, torch.tensor([500.0]), model.prepare(streams))
    if not bool(out.isfinite().all()):
        raise NumericsError(f"{foreign.spec['name']}: the network's answer holds NaN or infinity")
    return out


def _noise(widths: Any, side: int, draws: torch.Generator) -> Stream:
    shapes = {"tokens": (1, 8, widths.tokens), "pooled": (1, widths.pooled), "spatial": (1, widths.spatial, side, side)}
    return Stream(**{form: torch.randn(shape, generator=draws) for form, shape in shapes.items() if getattr(widths, form)})
