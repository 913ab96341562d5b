"""train: the loop. Each step is a function of the weights and (seed, step) alone, so a resumed run is the same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cdkit.build import assemble
from cdkit.conditions import Ledger
from cdkit.diffusion.random import derive
from cdkit.engine.autoencoder import take_autoencoder
from cdkit.engine.batches import Batch, Batches
from cdkit.engine.blocks import recompute
from cdkit.engine.callbacks import Callbacks
from cdkit.engine.checkpoint import Checkpoint, clear_unfinished, committed, prune, set_aside_damaged
from cdkit.engine.device import mixed_precision, pick_device
from cdkit.engine.ema import Ema
from cdkit.engine.inherit import inherit
from cdkit.engine.journal import Journal, Unwritten
from cdkit.engine.learner import Learner
from cdkit.engine.lost import device_blamed
from cdkit.engine.made_with import compare_versions
from cdkit.engine.memory import memory_blamed
from cdkit.engine.merged import merged
from cdkit.engine.optimizer import (
    learning_rate,
    load_optimizer,
    make_optimizer,
    optimizer_tensors,
    set_learning_rate,
    trained_by,
)
from cdkit.engine.power_ema import PowerEma, keep_snapshot
from cdkit.engine.progress import progress, unheard
from cdkit.engine.ranks import ALONE, Elsewhere, Ranks
from cdkit.engine.reading import Reading
from cdkit.engine.run import SPEC, VERSIONS, Run, versions
from cdkit.engine.sizes import check_pictures
from cdkit.engine.stop import Stop, Stopped, stoppable
from cdkit.engine.strategy import strategy_of
from cdkit.engine.task import TASKS
from cdkit.engine.unreadable import Unreadable
from cdkit.engine.weights import (
    check_finite,
    held_weights,
    load_exactly,
    load_weights,
    trained_lora,
    weights_of,
)
from cdkit.errors import CheckpointError, DataError, NumericsError, UsageError
from cdkit.fast.training import Training, laid_out, quick, small
from cdkit.parts import Dataset
from cdkit.spec import Spec
from cdkit.version import VERSION

Say = Callable[[str], None]
POWER = "power_ema"  # the file of averages whose length is chosen later


def train(
    spec: Spec,
    out: Path,
    *,
    device: str | None = None,
    init_from: Run | None = None,
    minutes: float | None = None,
    override: bool = False,
    fallback: bool = False,
    allow_data_change: bool = False,
    strict: bool = False,
    fast: bool = True,
    say: Say = print,
    ranks: Ranks = ALONE,
) -> Run:
    """Train a spec into the run folder `out`, or go on where it stopped. Returns the run.

    init_from: start a new run from this one's weights. minutes: stop, saved, after about so long. override: go on although
    the spec has changed. fallback: set a damaged checkpoint aside and go on from an older one. allow_data_change: go on although
    the data set has changed. strict: rather refuse than go on with parts of another version. fast: on a GPU, by every exact
    means (`cdkit.fast`). ranks: the processes that train it together, each of which calls this. Raises Stopped after a signal,
    NumericsError before an update that would spoil the weights, DataError for pictures that cannot be read, and
    EnvironmentFault for memory or a device that is not there; all that was learned by then is saved, or was before.
    """
    check_base(spec, out, init_from)
    with stoppable() as stop, ExitStack() as held:

        def made(run: Run) -> Trainer:
            where = pick_device(ranks.place(device))
            return ranks.each(lambda: Trainer(spec, run, where, say if ranks.leads else unsaid, ranks, fast=fast))

        def opened() -> Run:
            run = Run(out) if override and (out / SPEC).is_file() else Run.create(out, spec)
            held.enter_context(run.lock())
            if override:
                run.rewrite(spec)
            return run

        # A run that cannot begin leaves no folder: a new one is made only when its data and its device are known to be there.
        trainer = None if ranks.told((out / SPEC).is_file()) else made(Run(out))
        run = ranks.led(opened)
        trainer = trainer or made(run)
        trainer.begin(init_from, fallback=fallback, same_data=not (allow_data_change or override), strict=strict)
        with torch.random.fork_rng(devices=[trainer.device] if trainer.device.type == "cuda" else []):
            trainer.go(stop, minutes)
    return run


def unsaid(line: str) -> None:
    """What a process that does not lead says."""
    del line


def check_base(spec: Spec, out: Path, init_from: Run | None) -> None:
    """UsageError for a LoRA that would adapt a network nobody has trained."""
    if spec.lora is not None and init_from is None and not committed(out / "checkpoints"):
        raise UsageError(
            f"{spec.place}: a LoRA adapts a network that is trained, and this run would start from one that is not",
            hint="name the run whose weights it adapts: cdkit train SPEC --init-from RUN",
        )


class Unread(Elsewhere):
    """Another process could not read its part of a batch."""


class Trainer:
    """Everything that a training has in hand. `step` counts the updates that were made."""

    def __init__(self, spec: Spec, run: Run, device: torch.device, say: Say, ranks: Ranks = ALONE, *, fast: bool = True) -> None:
        from cdkit.engine.evaluate import make_dataset

        self.spec, self.run, self.device, self.say, self.ranks = spec, run, device, say, ranks
        self.options = spec.train
        dataset = make_dataset(spec)
        self.model = assemble(spec)
        check_pictures(self.model, dataset)
        self.task = TASKS[spec.task]
        self.batches = self._batches(dataset)
        self._note_few()
        self._fit_encoders()
        self.model.to(device).train()
        if self.options.recompute:
            recompute(self.model.backbone)
        self.quick = fast and device.type == "cuda"
        self._hasten()
        self.accelerator = accelerator(self.options, device)
        learner = Learner(self.model, self.task.loss, seed=self.options.seed, device=device, accelerator=self.accelerator)
        self.together = strategy_of(learner, self.options, ranks)
        self.optimizer = make_optimizer(self.model, self.options)
        self.ema = None if self.options.ema is None else Ema(self.model, self.options.ema)
        self.power = PowerEma(self.model, self.options.ema_lengths)
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        self.names = [names[id(parameter)] for parameter in trained_by(self.optimizer)]
        self.callbacks = Callbacks(spec.callbacks if ranks.leads else (), say)
        self.data = dataset.fingerprint()
        self.unreadable = Unreadable(run.path, ranks.rank, dataset.most_unreadable)
        self.step = 0
        self.loss = float("nan")
        if self.options.compile:
            self.model.backbone.compile(dynamic=False)

    def _batches(self, dataset: Dataset) -> Batches:
        columns = self.model.columns if self.spec.task == "denoise" else ()
        share = self.ranks.share(self.options.batch)
        return Batches(dataset, columns, batch=self.options.batch, seed=self.options.seed, share=share)

    def _note_few(self) -> None:
        if (there := len(self.batches.examples)) < self.options.batch:
            self.say(f"note: {there} training pictures for batches of {self.options.batch}: a batch holds some more than once")

    def _fit_encoders(self) -> None:
        """Vocabularies come from the training split's own words, before any weight is trained."""
        for name in self.model.told if self.spec.task == "denoise" and not self.batches.dataset.latent else ():
            reader = self.model.readers[name]
            values = (value for example in self.batches.examples for value in example.values[reader.column])
            reader.encoder.fit(values)  # pyright: ignore[reportCallIssue]

    def _hasten(self) -> None:
        """Laid out for a GPU; a small network's passes are replayed, where they alone make the gradients of one update."""
        if not self.quick:
            return
        laid_out(self.model.backbone)
        alone = self.spec.lora is None and self.options.accumulate == 1 and self.ranks.world == 1
        alone = alone and not (self.options.compile or self.options.recompute)
        if self.spec.task == "denoise" and alone and small(self.model.backbone):
            self.model.pace = Training(self.model.backbone)

    # ----------------------------------------------------------------- beginning

    def begin(self, init_from: Run | None, *, fallback: bool = False, same_data: bool = True, strict: bool = False) -> None:
        """Resume from the latest checkpoint, or start: from another run's weights, or as drawn."""
        checkpoint = self.ranks.led(lambda: self._latest(fallback))
        if checkpoint is not None:
            compare_versions(self.run.path / VERSIONS, self.spec, lambda line: self.say(f"note: {line}"), strict=strict)
        if checkpoint is not None and "optimizer" not in checkpoint.names:
            load_weights(self.model, checkpoint, averaged=False)
            self.say(f"{self.run.path}: starts from the weights of {checkpoint.folder.name}, which holds no optimizer")
        elif checkpoint is not None:
            self._check_data(checkpoint, same_data)
            self._restore(checkpoint)
            self.say(f"{self.run.path}: going on at step {self.step} of {self.options.steps}")
        elif init_from is not None:
            self._inherit(init_from)
        else:
            self._see()
            self.say(f"{self.run.path}: training {self.spec.name} for {self.options.steps} steps on {self.device}")

        if not self.ranks.leads:  # who counts the pictures of all, counts those of before once
            self.model.ledger = self.model.ledger.with_numbers([0] * len(self.model.ledger.numbers()))

    def _latest(self, fallback: bool) -> Checkpoint | None:
        for path in clear_unfinished(self.run.checkpoints):
            self.say(f"removed {path.name}, left by a save that was not finished")
        checkpoint = self.run.latest(fallback=fallback, say=self.say)
        for path in set_aside_damaged(self.run.checkpoints) if fallback else ():
            self.say(f"set aside as {path.name}")
        return checkpoint

    def _check_data(self, checkpoint: Checkpoint, same: bool) -> None:
        """CheckpointError where other pictures or captions are here than those that the checkpoint has learned from."""
        before = checkpoint.manifest.get("data", self.data)
        if same and before != self.data:
            raise CheckpointError(
                f"{checkpoint.folder}: has learned from other data than is here now: its pictures, captions or splits have "
                f"changed (digest {before[:12]}, now {self.data[:12]})",
                hint="bring the data back, or go on with the new with --allow-data-change",
            )

    def _see(self, *, there: bool = False) -> None:
        if whence := take_autoencoder(self.model, there=there):
            self.say(f"{self.run.path}: {whence}")

    def _restore(self, checkpoint: Checkpoint) -> None:
        load_weights(self.model, checkpoint, averaged=False)
        load_optimizer(self.optimizer, self.names, checkpoint.tensors("optimizer"))
        state = checkpoint.state()
        if self.ema is not None:
            self.ema.load(checkpoint.tensors("ema"), state["ema_updates"])
        if self.options.ema_lengths:
            self.power.load(checkpoint.tensors(POWER), state["power_updates"])
        self.step = checkpoint.step

    def _inherit(self, other: Run) -> None:
        checkpoint = other.latest()
        assert checkpoint is not None, "the command checks that there is one"
        if self.spec.lora is not None:
            self._adapt(other, checkpoint)
            return
        taken = inherit(self.model, other, checkpoint)
        self._see(there="autoencoder" in checkpoint.names)
        if self.ema is not None:
            self.ema = Ema(self.model, self.ema.decay)
        self.say(f"{self.run.path}: starts from {taken}")

    def _adapt(self, other: Run, checkpoint: Checkpoint) -> None:
        """The whole of the other run's model, as it draws, its LoRA merged if it has one; and a new LoRA beside it."""
        base = merged(other, checkpoint)
        for name, tensors in weights_of(base).items():
            load_exactly(getattr(self.model, name), tensors, f"{checkpoint.folder / name}.safetensors")
        self.model.ledger = base.ledger
        lora = trained_lora(self.model)
        assert lora is not None
        count = sum(parameter.numel() for parameter in lora.parameters())
        self.say(
            f"{self.run.path}: adapts {other.path} at step {checkpoint.step}, which stays as it is, by a LoRA of "
            f"{len(lora)} layers and {count:,} weights"
        )

    # ----------------------------------------------------------------- going

    def go(self, stop: Stop, minutes: float | None) -> None:
        """Every step that is left; saved at the end, at a signal, and as often as the spec says."""
        until = time.monotonic() + minutes * 60 if minutes is not None else float("inf")
        journal = Journal(self.run.path, self.step) if self.ranks.leads else Unwritten()
        self.callbacks.tell("began", self.run.path, self.step, self.options.steps)
        shown = progress(self.options.steps, self.step) if self.ranks.leads else unheard()
        try:
            hurry = quick(self.device) if self.quick else nullcontext()
            with hurry, shown as report, closing(self._groups()) as groups:
                for group in self._agreed(groups):
                    where = f"{self.run.path}: step {self.step + 1}"
                    with device_blamed(where, self.device), memory_blamed(where, self.options, self.device):
                        self._update(group, journal)
                    report(self.step, self.loss)
                    with device_blamed(where, self.device):
                        self._keep()
                    if any(self.ranks.greatest(stop.asked, time.monotonic() > until)):
                        break
            self._save_once()
        except (DataError, Unread):
            self._rescue()
            if not self._asked(stop):  # who is told to stop may lose its workers first
                raise
        finally:
            journal.close()
            self.callbacks.tell("ended", self.step)
        if self.step < self.options.steps and (asked := self._asked(stop)):
            raise self.ranks.voiced(Stopped(asked, self.step, str(self.run.path)))

    def _asked(self, stop: Stop) -> int:
        """The signal that came to any of the processes; 0 before any did."""
        return int(self.ranks.greatest(stop.asked)[0])

    def _agreed(self, groups: Iterator[list[Batch]]) -> Iterator[list[Batch]]:
        """The groups, as long as every process has its own: what one of them cannot read, none goes on without."""
        while True:
            group: list[Batch] | None = None
            failure: DataError | None = None
            try:
                group = next(groups, None)
                self.unreadable.note(group or ())
            except DataError as error:
                failure = error
            code = int(self.ranks.greatest(failure.exit_code if failure else 0)[0])
            if failure or code:
                raise failure or Unread(code)
            if group is None:
                return
            yield group

    def _groups(self) -> Generator[list[Batch]]:
        """The batches of each update that is left: as many as are accumulated."""
        share = self.options.accumulate
        stream = Reading(
            self.batches,
            start=self.step * share,
            stop=self.options.steps * share,
            workers=self.options.workers,
            patience=self.options.worker_timeout,
        )
        with closing(stream):
            for _ in range(self.step, self.options.steps):
                yield [next(stream) for _ in range(share)]

    def _update(self, group: list[Batch], journal: Journal | Unwritten) -> None:
        began = time.monotonic()
        # For a part that draws from torch's own state, in each process other numbers.
        torch.manual_seed(derive(self.options.seed, "update", self.step, *([self.ranks.rank] if self.ranks.rank else [])))
        set_learning_rate(self.optimizer, learning_rate(self.options, self.step))
        losses = [self._backward(batch, len(group), last=batch is group[-1]) for batch in group]
        norm = self.together.clip(trained_by(self.optimizer), self.options.clip)
        self._check(norm, losses)
        self._take()
        if self.step % self.options.log_every == 0 or self.step == self.options.steps:
            self.loss = float(self.ranks.mean(torch.stack(losses).mean()))
            rate = learning_rate(self.options, self.step - 1)
            values = {"loss": self.loss, "lr": rate, "grad_norm": float(norm), "seconds": time.monotonic() - began}
            journal.write(self.step, values)
            self.callbacks.tell("logged", self.step, values)

    def _take(self) -> None:
        """The step itself."""
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if self.ema is not None:
            self.ema.update()
        self.power.update()

    def _check(self, norm: Tensor, losses: list[Tensor]) -> None:
        """Before the update, so that the weights are still those of the last good step."""
        if not bool(torch.isfinite(norm)):
            loss = float(self.ranks.mean(torch.stack(losses).mean()))
            what = f"step {self.step + 1}: the loss is {loss} and the gradient's norm {float(norm)}; nothing was updated"
            hint = "lower train.lr or train.clip, or train in fp32; the last checkpoint is intact"
            raise self.ranks.voiced(NumericsError(f"{self.run.path}: {what}", hint=hint))

    def _backward(self, batch: Batch, share: int, *, last: bool = True) -> Tensor:
        with nullcontext() if last else self.together.kept_back():
            loss = self.together(batch)
            self.accelerator.backward(loss / share)
        return loss.detach()

    # ----------------------------------------------------------------- keeping

    def _keep(self) -> None:
        if self.options.ema_lengths and self.step in snapshot_steps(self.options.steps, self.options.ema_snapshots):
            keep_snapshot(self.run.path, self.power, self.ranks)
        if self.step % self.options.checkpoint_every == 0:
            self.save()
        if self.options.sample_every and self.step % self.options.sample_every == 0:
            self.draw()

    def _save_once(self) -> None:
        """At the end, unless this very step is saved already."""
        if not self.ranks.told((self.run.checkpoints / f"step-{self.step:06d}").is_dir()):
            self.save()

    def _rescue(self) -> None:
        """What was learned before the data failed."""
        if self.step:
            self._save_once()
            self.say(f"{self.run.path}: saved at step {self.step}; mend what is wrong and give the same command again")

    def save(self) -> None:
        """Commit a checkpoint and let the oldest go. NumericsError, with nothing saved, for weights that are no numbers."""
        tensors = self._held()
        self.ranks.each(lambda: self._check_held(tensors))
        state = {"ledger": self._ledger().to_json(), "ema_updates": 0 if self.ema is None else self.ema.updates}
        if self.options.ema_lengths:
            state["power_updates"] = self.power.updates
        told = {**facts(self.spec), "data": self.data}
        folder = self.together.write(self.run.checkpoints, self.step, tensors, state, told)
        self.ranks.led(lambda: prune(self.run.checkpoints, self.options.keep))
        self.callbacks.tell("saved", self.step, folder)

    def _ledger(self) -> Ledger:
        """The silences of all processes."""
        ledger = self.model.ledger
        return ledger.with_numbers(self.ranks.total(ledger.numbers()))

    def _held(self) -> dict[str, dict[str, Tensor]]:
        """All tensors that a checkpoint holds, by file, where they are."""
        tensors = held_weights(self.model) | {"optimizer": optimizer_tensors(self.optimizer, self.names)}
        if self.ema is not None:
            tensors["ema"] = self.ema.tensors()
        if self.options.ema_lengths:
            tensors[POWER] = self.power.tensors()
        return tensors

    def _check_held(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        for name, values in tensors.items():
            check_finite(values, f"{self.run.path}: nothing is saved: step {self.step}, {name}")

    def draw(self) -> None:
        """What the task draws, with the averaged weights."""
        if not self.together.draws:
            return
        with self.ema or nullcontext():
            try:
                samples = self.task.draw(self.model, self.batches)
            except UsageError as error:  # a grid that cannot be drawn is no reason to lose a training
                self.say(f"no sample grid: {error}")
                return
        if samples is not None and self.ranks.leads:
            path = samples.save(self.run.path / "samples" / f"step-{self.step:06d}.png")
            self.callbacks.tell("drawn", self.step, path)


def snapshot_steps(steps: int, snapshots: int) -> set[int]:
    """After which steps the averages are kept: evenly, and at the end."""
    return {round(steps * (place + 1) / snapshots) for place in range(snapshots)}


def facts(spec: Spec) -> dict[str, Any]:
    """What a checkpoint's manifest tells besides its files."""
    return {"cdkit": VERSION, "spec": spec.digest(), **versions(spec)}


def accelerator(options: Any, device: torch.device) -> Any:
    """Accelerate's, for this device and precision; its state is global, so what an earlier training set is forgotten."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    # There is no public way to forget it, and a second training in one process may want another precision.
    AcceleratorState._reset_state()  # pyright: ignore[reportPrivateUsage]
    PartialState._reset_state()  # pyright: ignore[reportPrivateUsage]
    return Accelerator(mixed_precision=mixed_precision(options.precision, device), cpu=device.type == "cpu")
