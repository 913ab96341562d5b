"""Save, rotate and delete, killed, failed and cut off from power at every file-system call: what was committed is never lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cdkit.engine.checkpoint import (
    Checkpoint,
    clear_unfinished,
    committed,
    latest,
    prune,
    verified,
    write_checkpoint,
)
from crashfs import FAULTS, LOSSES, Disk, as_node, counted, failing, killed

KEEP = 2


def tensors(step: int) -> dict[str, dict[str, torch.Tensor]]:
    return {"backbone": {"weight": torch.full((4,), float(step))}, "ema": {"weight": torch.full((4,), step / 2)}}


def save(folder: Path, step: int) -> None:
    write_checkpoint(folder, step, tensors(step), {"step": step}, {"spec": "0" * 64})


def save_and_rotate(folder: Path, step: int) -> None:
    """What training does at a checkpoint."""
    save(folder, step)
    prune(folder, KEEP)


def begin_again(folder: Path) -> None:
    """What training does first, on a folder that somebody may have left in disorder."""
    clear_unfinished(folder)


OPERATIONS: dict[str, tuple[Callable[[Path], None], int, int]] = {
    "save": (lambda folder: save(folder, 30), 20, 30),
    "save again": (lambda folder: save(folder, 20), 20, 20),
    "rotate": (lambda folder: save_and_rotate(folder, 30), 20, 30),
    "delete": (lambda folder: prune(folder, 1), 20, 20),
    "begin again": (begin_again, 20, 20),
}  # the work, the newest step before it and after it


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two committed checkpoints, and what a killed save has left."""
    run = tmp_path / "checkpoints"
    save(run, 10)
    save(run, 20)
    shutil.copytree(run / "step-000020", run / ".tmp-25-left")
    return run


def fresh(folder: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    return Path(shutil.copytree(folder, to))


def keeps(folder: Path, before: int, after: int) -> Checkpoint:
    """The newest checkpoint is the one before or the one after, whole, and the next start brings the folder in order."""
    begin_again(folder)
    found = latest(folder)
    assert found is not None
    assert found.step in (before, after)
    value = found.tensors("backbone")["weight"]
    assert torch.equal(value, tensors(found.step)["backbone"]["weight"])
    for path in committed(folder):
        verified(path)
    assert {path.name for path in folder.iterdir()} == {path.name for path in committed(folder)}, "nothing is left lying about"
    save(folder, 40)
    assert latest(folder).step == 40  # pyright: ignore[reportOptionalMemberAccess]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_before_and_after_every_call(name: str, folder: Path, tmp_path: Path) -> None:
    work, before, after = OPERATIONS[name]
    calls = counted(fresh(folder, tmp_path / "counted"), lambda: work(tmp_path / "counted")).count
    assert calls > 5
    for at in range(1, calls + 1):
        for when in ("before", "after"):
            there = fresh(folder, tmp_path / "killed")
            assert killed(there, lambda there=there: work(there), at, when)  # pyright: ignore[reportArgumentType]
            keeps(there, before, after)
    there = fresh(folder, tmp_path / "killed")
    assert not killed(there, lambda: work(there), calls + 1, "before"), "that was the last call"
    assert keeps(there, after, after).step == after


@pytest.mark.slow
@pytest.mark.parametrize("persistently", [False, True], ids=["once", "persistently"])
@pytest.mark.parametrize("number", FAULTS, ids=os.strerror)
@pytest.mark.parametrize("name", OPERATIONS)
def test_failed_at_every_call(name: str, number: int, persistently: bool, folder: Path, tmp_path: Path) -> None:
    """The error comes out as it is, or nothing is lost by it; what was committed is there."""
    work, before, after = OPERATIONS[name]
    calls = counted(fresh(folder, tmp_path / "counted"), lambda: work(tmp_path / "counted")).count
    for at in range(1, calls + 1):
        there = fresh(folder, tmp_path / "failed")
        raised = failing(there, lambda there=there: work(there), at, number, persistently=persistently)
        assert raised is None or isinstance(raised, OSError), repr(raised)
        found = keeps(there, before, after)
        if raised is None and name in ("save", "rotate"):
            assert found.step == after, "a save that says nothing has saved"


@pytest.mark.long
@pytest.mark.parametrize("name", OPERATIONS)
def test_power_cut_after_every_call(name: str, folder: Path, tmp_path: Path) -> None:
    """Unsynced names and data dropped or torn; once a save has returned, nothing of it can be lost."""
    work, before, after = OPERATIONS[name]
    there = fresh(folder, tmp_path / "logged")
    begun = as_node(there)
    log = counted(there, lambda: work(there)).log
    for cut in range(len(log) + 1):
        for loss in LOSSES:
            disk = Disk(there, as_node(folder) if cut else begun)
            disk.play(log[:cut])
            left = tmp_path / "left"
            shutil.rmtree(left, ignore_errors=True)
            disk.cut(loss, left)
            keeps(left, after if cut == len(log) and name != "delete" else before, after)
