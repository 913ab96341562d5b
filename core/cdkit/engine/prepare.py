"""prepare: what frozen parts make of a data set, made once: latents and encoded conditions, in shards of safetensors.

Every shard is a function of (spec, data, its number): processes take them in turn, a shard that lies there whole is not made
again, and the manifest, which holds the digests of all of them, comes last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from cdkit.conditions import FORMS, batch_of
from cdkit.engine.checkpoint import described, in_json
from cdkit.engine.device import pick_device
from cdkit.engine.evaluate import make_dataset
from cdkit.engine.ranks import ALONE, Ranks
from cdkit.engine.remember import learns
from cdkit.engine.run import versions
from cdkit.errors import CheckpointError, UsageError
from cdkit.model import Model
from cdkit.parts import Dataset, Example, Stream
from cdkit.spec import Spec

MANIFEST = "prepared.json"
SPLITS = ("train", "validation", "test")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Preparing:
    """A model whose frozen parts read a data set. read: the conditions that are encoded, and the columns that they read."""

    model: Model
    dataset: Dataset
    read: dict[str, str]
    digest: str


def prepare(
    spec: Spec, out: Path, *, shard: int = 1024, device: str | None = None, say: Say = print, ranks: Ranks = ALONE
) -> Path:
    """Leave the data set of a spec in `out`, as its autoencoder and its frozen encoders read it. The same call goes on.

    shard: pictures in one file. UsageError where nothing is frozen, CheckpointError where `out` holds another preparation.
    """
    job = ranks.each(lambda: _job(spec, pick_device(ranks.place(device))))
    ranks.led(lambda: _check_same(out, job, shard))
    names = [(split, number) for split in SPLITS for number in range(-(-len(job.dataset.split(split)) // shard))]
    made = ranks.each(lambda: sum(_made(job, out, split, number, shard) for split, number in names[ranks.rank :: ranks.world]))
    total = sum(ranks.gathered(made))
    files = {f"{split}-{number:05d}.safetensors": len(_rows(job, split, number, shard)) for split, number in names}
    ranks.led(lambda: _finish(out, job, shard, files))
    if ranks.leads:
        say(f"{out}: {len(files)} shards, {total} of them made now; {_kept(job)}")
    return out


def _kept(job: Preparing) -> str:
    what = (["latents"] if job.model.autoencoder is not None else []) + [f"streams of {name}" for name in job.read]
    return " and ".join(what)


def _job(spec: Spec, device: torch.device) -> Preparing:
    from cdkit.build import assemble
    from cdkit.engine.autoencoder import take_autoencoder

    model = assemble(spec)
    read = {name: model.readers[name].column for name in model.told if not learns(model.encoders[name])}
    if model.autoencoder is None and not read:
        raise UsageError(f"{spec.place}: nothing here is frozen: no autoencoder, and every encoder is trained")
    take_autoencoder(model)
    return Preparing(model.to(device).eval(), make_dataset(spec), read, spec.digest())


def _told(job: Preparing, shard: int) -> dict[str, Any]:
    """What makes one preparation unlike another."""
    spec = job.model.spec
    parts = {name: spec.filled()["conditions"][name] for name in job.read}
    eyes = None if job.model.autoencoder is None else spec.filled()["autoencoder"]
    return {"data": job.dataset.fingerprint(), "autoencoder": eyes, "conditions": parts, "shard": shard}


def _check_same(out: Path, job: Preparing, shard: int) -> None:
    file = out / "preparing.json"
    told = in_json(_told(job, shard))
    if file.is_file() and file.read_bytes() != told:
        raise CheckpointError(
            f"{out}: holds what another data set, autoencoder, encoder or --shard made", hint="name another --out, or delete it"
        )
    out.mkdir(parents=True, exist_ok=True)
    file.write_bytes(told)


def _rows(job: Preparing, split: str, number: int, shard: int) -> range:
    count = len(job.dataset.split(cast("Any", split)))
    return range(number * shard, min((number + 1) * shard, count))


def _made(job: Preparing, out: Path, split: str, number: int, shard: int) -> int:
    """Make one shard; 0 if it is there."""
    from safetensors.torch import save_file

    path = out / f"{split}-{number:05d}.safetensors"
    if path.is_file():
        return 0
    examples = job.dataset.split(cast("Any", split))
    tensors, ids = _read(job, [examples[row] for row in _rows(job, split, number, shard)])
    temporary = path.with_name(f".{path.name}.tmp")
    save_file(tensors, temporary, metadata={"ids": json.dumps(ids)})
    temporary.replace(path)
    return 1


@torch.inference_mode()
def _read(job: Preparing, examples: Sequence[Example]) -> tuple[dict[str, Tensor], list[str]]:
    """What is kept of a shard's pictures: `latents`; and of each condition CONDITION.FORM, with how many values each has."""
    device = job.model.device
    found: dict[str, Tensor] = {}
    pictures = torch.stack([example.image for example in examples])
    eyes = job.model.autoencoder
    seen = [
        pictures[at : at + 32] if eyes is None else eyes.encode(pictures[at : at + 32].to(device)) for at in _steps(len(examples))
    ]
    found["latents"] = torch.cat([part.cpu().float() for part in seen]).contiguous()
    for name, column in job.read.items():
        values = [value for example in examples for value in example.values[column]]
        found[f"{name}.counts"] = torch.tensor([len(example.values[column]) for example in examples])
        found |= _forms(name, job.model.encode({column: values})[name])
    return found, [example.id for example in examples]


def _steps(count: int) -> Iterator[int]:
    yield from range(0, count, 32)


def _forms(name: str, stream: Stream) -> dict[str, Tensor]:
    assert batch_of(stream)
    forms = {form: getattr(stream, form) for form in FORMS}
    own = torch.contiguous_format  # and memory of their own, which a file wants: tokens and pooled may be one tensor
    return {f"{name}.{form}": value.detach().cpu().clone(memory_format=own) for form, value in forms.items() if value is not None}


def _finish(out: Path, job: Preparing, shard: int, files: dict[str, int]) -> None:
    """The manifest: the digest of every shard, and whose work they are."""
    listed = {name: {**described(out / name), "pictures": count} for name, count in files.items()}
    first = job.dataset.split("train")[0]
    manifest = {
        **_told(job, shard),
        **versions(job.model.spec),
        "columns": list(job.dataset.columns),
        "shape": list(job.model.shape) if job.model.autoencoder is not None else list(first.image.shape),
        "read": job.read,
        "files": listed,
    }
    temporary = out / f".{MANIFEST}.tmp"
    temporary.write_bytes(in_json(manifest))
    temporary.replace(out / MANIFEST)
