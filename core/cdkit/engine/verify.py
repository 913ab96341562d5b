"""verify: everything of a run folder looked at, and what is wrong with it told, file by file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cdkit.engine.checkpoint import MANIFEST, OLD, TEMPORARY, TRASH, Checkpoint, committed, verified
from cdkit.engine.journal import METRICS, told
from cdkit.engine.run import Run
from cdkit.engine.weights import check_finite
from cdkit.errors import CdkitError


@dataclass(frozen=True, slots=True)
class Findings:
    """checkpoints: each one's state in words. notes: what is odd and does no harm. problems: what is wrong."""

    run: str
    checkpoints: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def verify(run: Run) -> Findings:
    """Every checkpoint against its manifest, its numbers, the files beside it, the spec and the metrics. Changes nothing."""
    found = Findings(str(run.path))
    digest = _digest(run, found)
    for folder in committed(run.checkpoints):
        try:
            checkpoint = verified(folder)
            _check_numbers(checkpoint)
        except CdkitError as error:
            found.checkpoints[folder.name] = "damaged"
            found.problems.append(str(error))
            continue
        found.checkpoints[folder.name] = f"ok, {len(checkpoint.manifest['files'])} files"
        found.notes.extend(_oddities(checkpoint, digest))
    found.notes.extend((*_leftovers(run.checkpoints), *_broken_lines(run.path / METRICS)))
    return found


def _digest(run: Run, found: Findings) -> str | None:
    try:
        return run.spec().digest()
    except CdkitError as error:
        found.problems.append(str(error))
        return None


def _check_numbers(checkpoint: Checkpoint) -> None:
    for name in checkpoint.names:
        check_finite(checkpoint.tensors(name), f"{checkpoint.folder / name}.safetensors")


def _oddities(checkpoint: Checkpoint, digest: str | None) -> Iterator[str]:
    listed = {MANIFEST, *checkpoint.manifest["files"]}
    for path in sorted(checkpoint.folder.iterdir()):
        if path.name not in listed:
            yield f"{path}: is not in the manifest; it is not read"
    if digest is not None and checkpoint.manifest.get("spec") not in (None, digest):
        yield f"{checkpoint.folder}: is of another model than spec.yaml describes now (train --override)"


def _leftovers(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*")):
        if path.name.startswith((TEMPORARY, TRASH, OLD)):
            yield f"{path}: was left by a process that was killed; the next training puts it right"
        elif path.name.startswith("damaged-"):
            yield f"{path}: was set aside as damaged; `cdkit runs prune` deletes it"


def _broken_lines(metrics: Path) -> Iterator[str]:
    lines = metrics.read_text(encoding="utf-8", errors="replace").splitlines() if metrics.is_file() else []
    for number, line in enumerate(lines, start=1):
        if told(line) is None:
            yield f"{metrics}:{number}: is half a line; the next training leaves it out"
