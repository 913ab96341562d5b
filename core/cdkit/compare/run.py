"""run: train every cell, choose each arm's guidance on the validation split, judge it on the test split; interrupted, go on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from cdkit.build import assemble
from cdkit.cache import cache_folder
from cdkit.compare.acting import acting, longest
from cdkit.compare.arms import TRACKED, Cell, birth, cells, check_alive
from cdkit.compare.budget import fitted, matched
from cdkit.compare.crew import in_turn
from cdkit.compare.heard import heard
from cdkit.compare.job import Ask, Crew, Job, Unfinished, gathered
from cdkit.compare.price import price_of
from cdkit.compare.read import Comparison
from cdkit.compare.response import calibrate
from cdkit.compare.score import asked, made
from cdkit.compare.speed import ROUNDS, drew, together, trained
from cdkit.engine.birth import keep_birth
from cdkit.engine.drawings import Drawings
from cdkit.engine.evaluate import make_dataset
from cdkit.engine.examinee import Examined
from cdkit.engine.journal import METRICS
from cdkit.engine.load import load
from cdkit.engine.power_ema import averaged_at
from cdkit.engine.run import Run
from cdkit.engine.train import train
from cdkit.engine.weights import load_average
from cdkit.errors import NumericsError
from cdkit.model import Model
from cdkit.spec import PartSpec, Spec

Say = Callable[[str], None]
SCORES = "scores"
RUNS = "runs"
RESPONSE = "response.json"
UNLIKE = "unlike"  # in place of a digest of backbones
SETTLED = 5  # logged steps that are not timed: caches fill


class Choice(NamedTuple):
    """What is chosen for an arm after its training: how strongly it is guided, and over how long its weights are averaged."""

    guidance: float | None
    ema: float | None = None

    def __str__(self) -> str:
        return f"{self.guidance}" if self.ema is None else f"{self.guidance}-{self.ema}"

    def words(self) -> str:
        guided = "no guidance" if self.guidance is None else f"guidance {self.guidance:g}"
        return guided if self.ema is None else f"{guided}, averaged over {self.ema:g}"


class Comparing:
    """A comparison in its folder: what was trained and scored there already is not done again.

    All that a cell's work leaves is in the folder, so whoever has a copy of this object can do it: the crew.
    """

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
        self.folder, self.device, self.say = folder, device, say
        self.crew = crew
        self.until = time.time() + minutes * 60 if minutes is not None else float("inf")  # by the clock that machines share
        check_alive(comparison.arms)
        self.comparison = comparison = fitted(comparison)
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
        drawn = self._gathered(ask, [Job(arm, "drawn", (arm, chosen[arm])) for arm in arms])
        hearing = [cell for cell in self.cells if self.comparison.heard and cell.spec.conditions]
        heard = self._gathered(ask, [Job(cell.name, "heard", (cell,)) for cell in hearing])
        return {
            "validation": validation,
            "chosen": chosen,
            "tests": dict(zip(folders, tested, strict=True)),
            "times": {cell.folder: self.times(cell) for cell in self.cells},
            "pictures": dict(zip(arms, drawn, strict=True)),
            "heard": dict(zip((cell.folder for cell in hearing), heard, strict=True)),
            "words": dict(zip(arms, self._gathered(ask, [Job(arm, "acted", (arm, chosen[arm])) for arm in arms]), strict=True)),
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
                rounds[arm].append(self._speed(arm, choice))
        found = {arm: together(measured) for arm, measured in rounds.items()}
        write(kept, {"keys": keys, "speeds": found})
        return found

    def _speed(self, arm: str, choice: Choice) -> dict[str, Any]:
        cell = self.of(arm)[0]
        said = prompts(self.comparison, cell.spec)
        drawing = drew(partial(self._loaded, cell, choice), said, choice.guidance, self.device)
        return drawing | trained(cell.spec, self.folder / "timing" / arm, self.device)

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

    def drawn(self, arm: str, choice: Choice) -> list[str]:
        """Pictures of the prompts that the report shows, from the noise that every arm gets, by the first seed's model."""
        cell = self.of(arm)[0]
        model = self._loaded(cell, choice)
        said = prompts(self.comparison, cell.spec) if model.columns else ()
        paths: list[str] = []
        for number in range(self.comparison.keys.shown):
            path = self.folder / "pictures" / f"{cell.folder}-{choice}-{number}.png"
            if not path.is_file():
                shown = prompts(self.comparison, cell.spec)
                seeds = list(range(number * len(shown), (number + 1) * len(shown)))
                model.sample(list(said), seeds=seeds, n=len(shown), guidance=choice.guidance).save(path)
            paths.append(str(path.relative_to(self.folder)))
        return paths

    def acted(self, arm: str, choice: Choice) -> dict[str, Any]:
        """Where each word of the longest prompt that is shown acts, in the first seed's model."""
        cell = self.of(arm)[0]
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


def best(comparison: Comparison, validation: Mapping[str, Mapping[Choice, Any]], arm: list[Cell]) -> Choice:
    """What is best on the validation split, over all seeds; of equals the first."""
    sign = -1 if comparison.score.factory().lower else 1
    choices = list(validation[arm[0].folder])
    return max(choices, key=lambda choice: sum(sign * validation[cell.folder][choice]["value"] for cell in arm))


def answered(file: Path, metric: str) -> bool:
    """Is there an answer of this very metric?"""
    return file.is_file() and json.loads(file.read_text(encoding="utf-8"))["metric"] == metric


def write(path: Path, value: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    temporary.replace(path)


def quiet(line: str) -> None:
    del line


def machine(device: str | None, crew: str = "") -> str:
    """What ran it, and how many at once, for whoever reads its seconds."""
    from cdkit.engine.device import pick_device

    chosen = pick_device(device)
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return f"{name}, {crew}" if crew else name


def deviation(values: Mapping[str, float], reference: str) -> dict[str, float]:
    """How far each arm's share of an axis is from the reference's, relatively."""
    return {arm: value / values[reference] - 1 if values[reference] else 0.0 for arm, value in values.items()}
