"""Unreadable: the training pictures that could not be read. Each is listed once in the run's folder; too many are an error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cdkit.engine.batches import Batch
from cdkit.errors import DataError

FOLDER = "unreadable"  # of a run, a file for each process


class Unreadable:
    """Counts what this process passed over, also before it was interrupted. most: that are allowed in all."""

    def __init__(self, run: Path, rank: int, most: int) -> None:
        self.path, self.most = run / FOLDER / f"{rank:04d}.jsonl", most
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        self.known = {json.loads(line)["picture"] for line in lines if line.endswith("}")}

    def note(self, batches: Sequence[Batch]) -> None:
        """DataError where there are more than are allowed."""
        for picture, why in (item for batch in batches for item in batch.passed.items()):
            if picture in self.known:
                continue
            self.known.add(picture)
            self.path.parent.mkdir(exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": batches[0].step, "picture": picture, "why": why}, ensure_ascii=False) + "\n")
        if len(self.known) > self.most:
            raise DataError(
                f"{len(self.known)} training pictures cannot be read, more than the data set's most_unreadable: {self.most}",
                hint=f"{self.path} lists them; mend them, or allow more",
            )
