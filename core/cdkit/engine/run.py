"""Run: the folder that a training leaves. The filled spec, versions, checkpoints, metrics and sample grids."""

from __future__ import annotations

import difflib
import fcntl
import json
import os
import platform
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from cdkit.engine.checkpoint import Checkpoint, latest
from cdkit.engine.made_with import not_installed
from cdkit.errors import CheckpointError, EnvironmentFault, SpecError
from cdkit.spec import Spec, SpecErrors, read_spec
from cdkit.version import VERSION

SPEC = "spec.yaml"
VERSIONS = "versions.json"
LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder. `create` makes one, `open` reads one; neither touches the checkpoints."""

    path: Path

    @classmethod
    def create(cls, path: Path, spec: Spec) -> Run:
        """Make the folder, or go on in one that holds the same spec. SpecError shows what differs."""
        run = cls(path)
        if (path / SPEC).is_file():
            run.check_same(spec)
            return run
        try:
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
            _replace(path / VERSIONS, json.dumps(versions(spec), indent=1, sort_keys=True))
            _replace(path / SPEC, spec.to_yaml())  # last: a folder that has it is gone on with as it is
        except OSError as error:
            raise EnvironmentFault(f"{path}: cannot be made a run folder: {error.strerror}") from error
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """The run in a folder. CheckpointError if there is none."""
        if not (path / SPEC).is_file():
            raise CheckpointError(f"{path}: is no run; expected a folder with {SPEC}", hint="`cdkit train` leaves one")
        return cls(path)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def spec(self) -> Spec:
        """The filled spec that the run was made with. CheckpointError, saying what to install, where its parts are not here."""
        try:
            return read_spec(self.path / SPEC)
        except SpecErrors as error:
            raise not_installed(self.path / VERSIONS, error) or error from error

    def latest(self, *, fallback: bool = False, say: Callable[[str], None] | None = None) -> Checkpoint | None:
        """The checkpoint of the highest step, verified; None before the first save. CheckpointError if it is damaged.

        fallback: rather take the newest that is whole. say: is told of newer ones, and what is wrong with them.
        """
        return latest(self.checkpoints, fallback=fallback, say=say)

    def check_same(self, spec: Spec) -> None:
        """SpecError, with the difference, if the run was made with another spec; keys newer than the run are no difference."""
        before, now = self.spec().to_yaml(), spec.to_yaml()
        if before != now:
            lines = difflib.unified_diff(before.splitlines(), now.splitlines(), str(self.path / SPEC), "now", lineterm="", n=0)
            raise SpecError(
                f"{spec.place}: {self.path} was made with another spec:\n" + "\n".join(lines),
                hint="name another --out, or pass --override to go on with the new spec",
            )

    def rewrite(self, spec: Spec) -> None:
        """Put another spec in the run's place: what --override asks for."""
        _replace(self.path / SPEC, spec.to_yaml())

    @contextmanager
    def lock(self) -> Generator[None]:
        """One writer at a time. EnvironmentFault names the process that has the run."""
        with (self.path / LOCK).open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                raise EnvironmentFault(f"{self.path}: is being written by {file.read().strip() or 'another process'}") from error
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            _locks.append(file)
            try:
                yield
            finally:
                if file in _locks:  # and not in a fork of this process, whose lock it is not
                    _locks.remove(file)
                    fcntl.flock(file, fcntl.LOCK_UN)  # closing leaves it to a fork that has not come to let go of it


_locks: list[TextIO] = []  # that this process holds


def _let_go() -> None:
    """A forked process, such as a data loader's worker, would hold the lock on when its parent is dead."""
    while _locks:
        _locks.pop().close()


os.register_at_fork(after_in_child=_let_go)


def versions(spec: Spec) -> dict[str, Any]:
    """What made the run: this Python, torch, and the distribution of every part."""
    import torch

    return {"python": platform.python_version(), "torch": torch.__version__, "parts": spec.provenance}


def facts(spec: Spec) -> dict[str, Any]:
    """What a checkpoint's manifest tells besides its files."""
    return {"cdkit": VERSION, "spec": spec.digest(), **versions(spec)}


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
