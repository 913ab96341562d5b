"""work: what is done for one cell of a comparison: train it, score it, draw with it; what was done is not done again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any

from cdkit.build import assemble
from cdkit.cache import cache_folder
from cdkit.compare.acting import acting, longest
from cdkit.compare.arms import Cell
from cdkit.compare.choice import Choice
from cdkit.compare.heard import heard
from cdkit.compare.job import Unfinished
from cdkit.compare.kept import answered, write
from cdkit.compare.read import Comparison
from cdkit.compare.response import calibrate
from cdkit.compare.score import asked, made
from cdkit.compare.speed import AT_ONCE, draw, drew, held, trained
from cdkit.engine.birth import keep_birth
from cdkit.engine.device import pick_device
from cdkit.engine.drawings import Drawings
from cdkit.engine.evaluate import make_dataset
from cdkit.engine.examinee import Examined
from cdkit.engine.journal import METRICS
from cdkit.engine.load import load
from cdkit.engine.power_ema import averaged_at
from cdkit.engine.run import Run
from cdkit.engine.train import train
from cdkit.engine.weights import load_average
from cdkit.model import Model
from cdkit.spec import PartSpec, Spec

Say = Callable[[str], None]
SCORES = "scores"
RUNS = "runs"
RESPONSE = "response.json"
SETTLED = 5  # logged steps that are not timed: caches fill


class Work:
    """All that a job can be asked for. It reads and leaves files in the comparison's folder alone, so any process can do it.

    until: seconds since the epoch, by the clock that machines share; Unfinished where what is asked for would begin later.
    """

    def __init__(self, comparison: Comparison, folder: Path, *, device: str | None, until: float, say: Say) -> None:
        self.comparison, self.folder, self.device, self.until, self.say = comparison, folder, device, until, say

    def train(self, cell: Cell, count: str) -> None:
        """A cell's run, from where it stopped; nothing where it is finished."""
        run = Run(self.run_of(cell))
        checkpoint = run.latest() if run.checkpoints.is_dir() else None
        if checkpoint is not None and checkpoint.step >= cell.spec.train.steps:
            return
        if checkpoint is None and self.comparison.keys.init == "unit_response":
            born(cell, run)
        self.say(f"{count}: {cell.arm}, seed {cell.seed}, {cell.spec.train.steps} steps")
        left = (self.until - time.time()) / 60
        if left <= 0:
            raise Unfinished
        train(cell.spec, run.path, device=self.device, minutes=None if left == float("inf") else left, say=quiet)
        checkpoint = run.latest()
        if checkpoint is None or checkpoint.step < cell.spec.train.steps:
            raise Unfinished

    def run_of(self, cell: Cell) -> Path:
        return self.folder / RUNS / cell.folder

    def choices(self, cell: Cell) -> list[Choice]:
        """Every pair of a guidance scale and a length of the average that there is to choose from; None: the spec's own."""
        scales = self.comparison.keys.guidance if cell.spec.guidance is not None else (None,)
        return [Choice(scale, length) for length in self.comparison.keys.ema or (None,) for scale in scales]

    def validated(self, cell: Cell) -> dict[Choice, dict[str, Any]]:
        """The score on the validation split of everything that can be chosen."""
        return {
            choice: self._kept(cell, self.comparison.score, "validation", choice, partial(self._examined, cell, choice))
            for choice in self.choices(cell)
        }

    def tested(self, cell: Cell, choice: Choice) -> dict[str, Any]:
        """Every score on the test split, of what was chosen: the deciding one first. All look at one model and its pictures."""
        examined = cache(partial(self._examined, cell, choice))
        parts = (self.comparison.score, *self.comparison.also)
        return {part.use: self._kept(cell, part, "test", choice, examined) for part in parts}

    def _kept(self, cell: Cell, part: PartSpec, split: str, choice: Choice, examined: Callable[[], Examined]) -> dict[str, Any]:
        """An answer from the folder, or asked for now and kept there."""
        metric = made(part, split=split)
        file = self.folder / SCORES / f"{cell.folder}-{part.name}-{split}-{choice}.json"
        if not answered(file, repr(metric)):
            if time.time() > self.until:
                raise Unfinished
            self.say(f"{cell.arm}, seed {cell.seed}: {part.use} on the {split} split, {choice.words()}")
            write(file, {"metric": repr(metric), **asked(metric, examined(), choice.guidance)})
        return json.loads(file.read_text(encoding="utf-8"))

    def _examined(self, cell: Cell, choice: Choice) -> Examined:
        model = self._loaded(cell, choice)
        return Examined(model, make_dataset(model.spec), cache_folder(), tell=quiet, drawings=Drawings())

    def _loaded(self, cell: Cell, choice: Choice) -> Model:
        """The run's model, its weights averaged as was chosen."""
        model = load(self.run_of(cell), device=self.device)
        if choice.ema is not None:
            load_average(model, averaged_at(self.run_of(cell), choice.ema), str(self.run_of(cell)))
        return model

    def heard(self, cell: Cell) -> dict[str, Any]:
        """After how many steps the cell's model heard its words, by the validation split."""
        assert self.comparison.heard is not None
        metric = made(self.comparison.heard, split="validation")
        file = self.folder / SCORES / f"{cell.folder}-heard.json"
        if not answered(file, repr(metric)):
            if time.time() > self.until:
                raise Unfinished
            self.say(f"{cell.name}: after how many steps are words heard?")
            model = load(self.run_of(cell), device=self.device)
            examined = Examined(model, make_dataset(model.spec), cache_folder(), tell=quiet)
            write(file, {"metric": repr(metric), **heard(model, self.run_of(cell), metric, examined)})
        return json.loads(file.read_text(encoding="utf-8"))

    def speed(self, cell: Cell, choice: Choice) -> dict[str, Any]:
        """How fast the cell's arm learns and draws, measured once."""
        drawing = drew(self._loaded(cell, choice), prompts(self.comparison, cell.spec), choice.guidance)
        return drawing | trained(cell.spec, self._timing(cell), self.device)

    def memory(self, cell: Cell, choice: Choice) -> dict[str, int]:
        """Bytes that tensors hold at most while the cell's arm learns, and while it draws; its weights are among them."""
        said, device = prompts(self.comparison, cell.spec), pick_device(self.device)
        learning = held(lambda: trained(cell.spec, self._timing(cell), self.device), device)
        drawing = held(lambda: draw(self._loaded(cell, choice), said, choice.guidance, max(AT_ONCE)), device)
        return {"training_memory": learning, "sampling_memory": drawing}

    def _timing(self, cell: Cell) -> Path:
        return self.folder / "timing" / cell.arm

    def times(self, cell: Cell) -> dict[str, float]:
        """Seconds: of a step of training, the median of those that were logged; and of all of them."""
        lines = (self.run_of(cell) / METRICS).read_text(encoding="utf-8").splitlines()
        seconds = [json.loads(line)["seconds"] for line in lines]
        step = median(seconds[SETTLED:] or seconds)
        return {"step": step, "training": step * cell.spec.train.steps}

    def responses(self, cell: Cell) -> dict[str, float]:
        """How loudly each of its methods spoke at birth, where all were made to speak alike; empty where none was."""
        kept = self.run_of(cell) / RESPONSE
        return json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}

    def drawn(self, cell: Cell, choice: Choice) -> list[str]:
        """Pictures of the prompts that the report shows, row after row, from the noise that every arm gets."""
        shown = prompts(self.comparison, cell.spec)
        count = len(shown) * self.comparison.keys.shown
        paths = [self.folder / "pictures" / f"{cell.folder}-{choice}-{at}.png" for at in range(count)]
        if not all(path.is_file() for path in paths):
            model = self._loaded(cell, choice)
            said = list(shown) * self.comparison.keys.shown if model.columns else []
            samples = model.sample(said, seeds=range(count), n=count, guidance=choice.guidance)
            for at, path in enumerate(paths):
                samples.one(at).save(path)
        return [str(path.relative_to(self.folder)) for path in paths]

    def acted(self, cell: Cell, choice: Choice) -> dict[str, Any]:
        """Where each word of the longest prompt that is shown acts, in the cell's model."""
        if not cell.spec.conditions:
            return {"why": "hears nothing"}
        kept = f"{SCORES}/{cell.folder}-words-{choice}.json"
        prompt = longest(prompts(self.comparison, cell.spec))
        return {**acting(self.folder / kept, prompt, lambda: self._loaded(cell, choice), choice.guidance), "kept": kept}


def born(cell: Cell, run: Run) -> None:
    """Step 0 of a cell's run, its methods speaking as loudly as everybody's."""
    model = assemble(cell.spec)
    found = calibrate(model, cell.seed)
    Run.create(run.path, cell.spec)
    keep_birth(model, run)
    write(run.path / RESPONSE, found)


def prompts(comparison: Comparison, spec: Spec) -> tuple[str, ...]:
    """What the report shows: the comparison's own prompts, or a word of each class."""
    if comparison.keys.prompts:
        return comparison.keys.prompts
    return tuple(words[0] for words in make_dataset(spec).prompts("en").values())


def quiet(line: str) -> None:
    del line
