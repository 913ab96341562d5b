"""The journal of a training: metrics.jsonl, one line a logged step, and the same in TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"


def told(line: str) -> int | None:
    """The step that a line tells of; None for the half of a line that a killed process may leave."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return None


class Journal:
    """Opened at a step, it forgets what an interrupted run wrote beyond it, so that no step is told twice."""

    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self.path = folder / METRICS
        kept = [line for line in self._lines() if (step := told(line)) is not None and step <= start]
        temporary = self.path.with_name(f".{METRICS}.tmp")
        temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        temporary.replace(self.path)
        self._board: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)

    def _lines(self) -> list[str]:
        if not self.path.is_file():
            return []
        return self.path.read_text(encoding="utf-8", errors="replace").splitlines()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        self._board.close()


def losses_of(folder: Path) -> dict[int, float]:
    """Loss by step; of a step that was trained twice, after an interruption, the last. Empty where nothing was logged."""
    path = folder / METRICS
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    rows = [json.loads(line) for line in lines if told(line) is not None]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


class Unwritten:
    """The journal of a process that writes none."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        del step, values

    def close(self) -> None:
        """Nothing is open."""
