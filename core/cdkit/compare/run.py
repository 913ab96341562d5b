"""run: train every cell, choose each arm's guidance on the validation split, judge it on the test split; interrupted, go on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdkit.compare.arms import TRACKED, UNLIKE, Cell, birth, cells, check_alive
from cdkit.compare.budget import fitted, matched
from cdkit.compare.choice import Choice, best
from cdkit.compare.crew import in_turn
from cdkit.compare.job import Ask, Crew, Job, Unfinished, gathered
from cdkit.compare.kept import write
from cdkit.compare.price import price_of
from cdkit.compare.read import Comparison
from cdkit.compare.setting import machine
from cdkit.compare.speed import ROUNDS, together
from cdkit.compare.work import SCORES, Say, Work, quiet
from cdkit.engine.journal import METRICS
from cdkit.errors import NumericsError


class Comparing(Work):
    """A comparison in its folder: which work there is, in which order, and what came of it. A crew does the work."""

    def __init__(
        self,
        comparison: Comparison,
        folder: Path,
        *,
        device: str | None,
        minutes: float | None,
        say: Say,
        crew: Crew = in_turn,
    ) -> None:
        until = time.time() + minutes * 60 if minutes is not None else float("inf")
        check_alive(comparison.arms)
        comparison = fitted(comparison)
        super().__init__(comparison, folder, device=device, until=until, say=say)
        self.crew = crew
        self.prices = {name: price_of(spec) for name, spec in comparison.arms.items()}
        lengths = TRACKED if comparison.keys.ema else TRACKED[:1] if comparison.heard else ()
        self.cells = cells(comparison.arms, comparison.keys.seeds, self._steps(), comparison.keys.init, lengths=lengths)

    def _steps(self) -> dict[str, int]:
        """How many steps each arm gets. `seconds` are those of the reference: they are measured first, by training a little."""
        return matched(self.comparison, self.prices, self.folder, self.device)

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs; who speaks and who works there is its own affair."""
        return {**vars(self), "say": quiet, "crew": in_turn}

    def go(self) -> dict[str, Any]:
        """Everything that is left to do, and what came of it. Unfinished when the minutes are over, Failed where a job did."""
        births = {seed: self._births(seed) for seed in self.comparison.keys.seeds}
        with self.crew.opened(self) as ask:
            found = self._found(ask)
        return {"births": births, **found, "speeds": self.speeds(found["chosen"]) if self.comparison.keys.timing else {}}

    def _found(self, ask: Ask) -> dict[str, Any]:
        """Every cell is trained before any is scored: an interrupted comparison has spent its time on what takes long."""
        self._gathered(ask, [self._training(number, cell) for number, cell in enumerate(self.cells, 1)])
        folders, arms = [cell.folder for cell in self.cells], list(self.comparison.arms)
        scored = self._gathered(ask, [Job(cell.name, "validated", (cell,)) for cell in self.cells])
        validation = dict(zip(folders, scored, strict=True))
        chosen = {arm: best(self.comparison, validation, self.of(arm)) for arm in arms}
        tested = self._gathered(ask, [Job(cell.name, "tested", (cell, chosen[cell.arm])) for cell in self.cells])
        firsts = [(arm, self.of(arm)[0]) for arm in arms]  # whose pictures the report shows
        drawn = self._gathered(ask, [Job(arm, "drawn", (cell, chosen[arm])) for arm, cell in firsts])
        words = self._gathered(ask, [Job(arm, "acted", (cell, chosen[arm])) for arm, cell in firsts])
        hearing = [cell for cell in self.cells if self.comparison.heard and cell.spec.conditions]
        heard = self._gathered(ask, [Job(cell.name, "heard", (cell,)) for cell in hearing])
        return {
            "validation": validation,
            "chosen": chosen,
            "tests": dict(zip(folders, tested, strict=True)),
            "times": {cell.folder: self.times(cell) for cell in self.cells},
            "pictures": dict(zip(arms, drawn, strict=True)),
            "heard": dict(zip((cell.folder for cell in hearing), heard, strict=True)),
            "words": dict(zip(arms, words, strict=True)),
        }

    def _gathered(self, ask: Ask, jobs: list[Job]) -> list[Any]:
        return gathered(jobs, ask(jobs), self.say)

    def _training(self, number: int, cell: Cell) -> Job:
        journal = self.run_of(cell) / METRICS
        return Job(cell.name, "train", (cell, f"{number} of {len(self.cells)}"), journal, cell.spec.train.steps)

    def of(self, arm: str) -> list[Cell]:
        return [cell for cell in self.cells if cell.arm == arm]

    def _births(self, seed: int) -> str:
        """The one digest of all arms' backbones at birth; UNLIKE where backbones may differ, and do.

        NumericsError where they do and may not, for then lots were drawn unevenly.
        """
        kept = self.folder / SCORES / f"birth-{seed}.json"
        keys = {cell.arm: cell.key for cell in self.cells if cell.seed == seed}
        if kept.is_file() and (known := json.loads(kept.read_text()))["keys"] == keys:
            return known["digest"]
        found = {cell.arm: birth(cell.spec) for cell in self.cells if cell.seed == seed}
        alike = len(set(found.values())) == 1
        if not alike and self.comparison.by != "backbone" and "backbone" not in self.comparison.keys.vary:
            raise NumericsError(f"seed {seed}: the arms' backbones are not bit-equal at birth: {found}")
        digest = next(iter(found.values())) if alike else UNLIKE
        write(kept, {"keys": keys, "digest": digest})
        return digest

    def speeds(self, chosen: Mapping[str, Choice]) -> dict[str, Any]:
        """What each arm takes, measured once, alone, the arms in turn; again where an arm or the machine is another."""
        kept = self.folder / SCORES / "speed.json"
        keys = {"machine": machine(self.device), "arms": {arm: [self.of(arm)[0].key, str(chosen[arm])] for arm in chosen}}
        if kept.is_file() and (known := json.loads(kept.read_text(encoding="utf-8")))["keys"] == keys:
            return known["speeds"]
        rounds: dict[str, list[dict[str, Any]]] = {arm: [] for arm in chosen}
        for number in range(1, ROUNDS + 1):
            for arm, choice in chosen.items():
                if time.time() > self.until:
                    raise Unfinished
                self.say(f"{arm}: how fast is it? {number} of {ROUNDS}")
                rounds[arm].append(self.speed(self.of(arm)[0], choice))
        found = {arm: {**together(timed), **self.memory(self.of(arm)[0], chosen[arm])} for arm, timed in rounds.items()}
        write(kept, {"keys": keys, "speeds": found})
        return found
