"""shelf: the runs in a folder. How far each one is, who writes it, how much room it takes, and what of that can go."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cdkit.engine.checkpoint import committed, prune, step_of
from cdkit.engine.journal import METRICS, told
from cdkit.engine.run import LOCK, SPEC, Run
from cdkit.errors import CdkitError


@dataclass(frozen=True, slots=True)
class Standing:
    """step: of the latest checkpoint, of `steps` that were asked for. loss: the last that was logged. waited: for data, a
    share of the time before that. size: in bytes.

    state: "training", "finished", "stopped", "not begun" or "unreadable". writer: the process that trains it.
    """

    run: str
    state: str
    step: int
    steps: int | None
    loss: float | None
    waited: float | None
    checkpoints: int
    size: int
    writer: str = ""


def runs_in(folder: Path) -> Iterator[Run]:
    """The run folders in a folder, or that folder itself, at any depth; none within another."""
    if (folder / SPEC).is_file():
        yield Run(folder)
        return
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield from runs_in(path)


def standing(run: Run) -> Standing:
    """How far a run is. Reads no weights and changes nothing."""
    folders = committed(run.checkpoints)
    step = step_of(folders[-1]) if folders else 0
    writer, logged, size = writer_of(run), last_logged(run), size_of(run.path)
    loss, waited = logged.get("loss"), logged.get("waited")
    try:
        steps = run.spec().train.steps
    except CdkitError:
        return Standing(str(run.path), "unreadable", step, None, loss, waited, len(folders), size, writer)
    state = "training" if writer else "not begun" if not folders else "finished" if step >= steps else "stopped"
    return Standing(str(run.path), state, step, steps, loss, waited, len(folders), size, writer)


def writer_of(run: Run) -> str:
    """Which process holds the run's lock; "" if none does."""
    path = run.path / LOCK
    if not path.is_file():
        return ""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return file.read().strip() or "another process"
    return ""


def last_logged(run: Run) -> dict[str, float]:
    """What was logged last; nothing where nothing was."""
    path = run.path / METRICS
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return next((json.loads(line) for line in reversed(lines) if told(line) is not None), {})


def size_of(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def pruned(run: Run, keep: int, *, really: bool) -> list[Path]:
    """Delete all but the newest `keep` checkpoints, and those that were set aside as damaged. Returns which.

    not really: say which, and delete nothing. EnvironmentFault while somebody trains it.
    """
    aside = sorted(run.checkpoints.glob("damaged-*"))
    gone = [*committed(run.checkpoints)[:-keep], *aside]
    if really:
        with run.lock():
            prune(run.checkpoints, keep)
            for path in aside:
                shutil.rmtree(path)
    return gone
