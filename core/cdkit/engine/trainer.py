"""Trainer: the loop. Each step is a function of the weights and (seed, step) alone, so a resumed run is the same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, nullcontext
from statistics import fmean

import torch
from torch import Tensor

from cdkit.build import assemble
from cdkit.conditions import Ledger
from cdkit.diffusion.random import derive
from cdkit.engine.agreed import Unread, agreed
from cdkit.engine.ahead import Ahead
from cdkit.engine.autoencoder import take_autoencoder
from cdkit.engine.batches import Batch, Batches
from cdkit.engine.blocks import made_again, recompute
from cdkit.engine.callbacks import Callbacks
from cdkit.engine.checkpoint import Checkpoint, clear_unfinished, prune, set_aside_damaged
from cdkit.engine.compiled import compiled, undisturbed
from cdkit.engine.device import accelerator
from cdkit.engine.finite import Finite
from cdkit.engine.inherit import adapt, inherit
from cdkit.engine.journal import Journal, Unwritten
from cdkit.engine.learned import Learned, check_numbers
from cdkit.engine.learner import Learner
from cdkit.engine.lost import device_blamed
from cdkit.engine.made_with import compare_versions
from cdkit.engine.memory import memory_blamed
from cdkit.engine.optimizer import learning_rate, set_learning_rate, trained_by
from cdkit.engine.power_ema import keep_snapshot, snapshot_steps
from cdkit.engine.progress import progress, unheard
from cdkit.engine.ranks import ALONE, Ranks
from cdkit.engine.reading import Reading
from cdkit.engine.remember import remember, unseen
from cdkit.engine.run import VERSIONS, Run, facts
from cdkit.engine.sizes import check_pictures
from cdkit.engine.stop import Stop, Stopped
from cdkit.engine.strategy import strategy_of
from cdkit.engine.task import TASKS
from cdkit.engine.unreadable import Unreadable
from cdkit.engine.weights import load_weights
from cdkit.errors import CheckpointError, DataError, UsageError
from cdkit.fast.training import Training, laid_out, quick
from cdkit.parts import Dataset
from cdkit.spec import Spec

Say = Callable[[str], None]


class Trainer:
    """Everything that a training has in hand."""

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
        if self.options.compile:
            compiled(self.model.backbone, "regional" if self.options.compile == "regional" else "whole")
        recompute(made_again(self.model, self.options.recompute))  # round what is compiled, which it could not look into
        self.quick = fast and device.type == "cuda"
        strategy = strategy_of(self.options, ranks)
        if self.quick and strategy.lays_out:
            laid_out(self.model.backbone)
        self.accelerator = accelerator(self.options, device)
        learner = Learner(self.model, self.task.loss, seed=self.options.seed, device=device, accelerator=self.accelerator)
        self.together = strategy(learner, ranks)
        if self.quick and strategy.replays and self._once():
            self.model.pace = Training(self.model.backbone, self.together)
        self.learned = Learned(self.model, self.options)
        self.finite = Finite(self.learned.optimizer, ranks, str(run.path))
        self.callbacks = Callbacks(spec.callbacks if ranks.leads else (), say)
        self.data = dataset.fingerprint()
        self.unreadable = Unreadable(run.path, ranks.rank, dataset.most_unreadable)
        self.loss = self.waited = float("nan")
        self._took: list[float] = []  # seconds of the updates since the journal heard of one
        self.stream: Ahead | None = None
        self.seen = unseen

    @property
    def step(self) -> int:
        """How many updates were made."""
        return self.learned.step

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

    def _once(self) -> bool:
        """Does one pass of the backbone, as it stands, make all gradients of an update?"""
        changed = self.spec.lora is not None or self.options.compile or self.options.recompute
        return self.spec.task == "denoise" and self.options.accumulate == 1 and not changed

    # ----------------------------------------------------------------- beginning

    def begin(self, init_from: Run | None, *, fallback: bool = False, same_data: bool = True, strict: bool = False) -> None:
        """Resume from the latest checkpoint, or start: from another run's weights, or as drawn."""
        checkpoint = self.ranks.led(lambda: self._latest(fallback))
        if checkpoint is not None:
            compare_versions(self.run.path / VERSIONS, self.spec, lambda line: self.say(f"note: {line}"), strict=strict)
            self._go_on(checkpoint, same_data)
        elif init_from is not None:
            self._inherit(init_from)
        else:
            self._see()
            self.say(f"{self.run.path}: training {self.spec.name} for {self.options.steps} steps on {self.device}")
        if self.options.cache:
            self.seen = remember(self.model, self.data, self.say)
        if not self.ranks.leads:  # who counts the pictures of all, counts those of before once
            self.model.ledger = self.model.ledger.with_numbers([0] * len(self.model.ledger.numbers()))

    def _latest(self, fallback: bool) -> Checkpoint | None:
        for path in clear_unfinished(self.run.checkpoints):
            self.say(f"removed {path.name}, left by a save that was not finished")
        checkpoint = self.run.latest(fallback=fallback, say=self.say)
        for path in set_aside_damaged(self.run.checkpoints) if fallback else ():
            self.say(f"set aside as {path.name}")
        return checkpoint

    def _go_on(self, checkpoint: Checkpoint, same_data: bool) -> None:
        if "optimizer" in checkpoint.names:
            self._check_data(checkpoint, same_data)
            self.learned.restore(checkpoint)
            self.say(f"{self.run.path}: going on at step {self.step} of {self.options.steps}")
        else:
            load_weights(self.model, checkpoint, averaged=False)
            self.say(f"{self.run.path}: starts from the weights of {checkpoint.folder.name}, which holds no optimizer")

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

    def _inherit(self, other: Run) -> None:
        checkpoint = other.latest()
        assert checkpoint is not None, "the command checks that there is one"
        if self.spec.lora is not None:
            self.say(f"{self.run.path}: adapts {adapt(self.model, other, checkpoint)}")
            return
        taken = inherit(self.model, other, checkpoint)
        self._see(there="autoencoder" in checkpoint.names)
        self.learned.average_anew()
        self.say(f"{self.run.path}: starts from {taken}")

    # ----------------------------------------------------------------- going

    def go(self, stop: Stop, minutes: float | None) -> None:
        """Every step that is left; saved at the end, at a signal, and as often as the spec says."""
        until = time.monotonic() + minutes * 60 if minutes is not None else float("inf")
        journal = Journal(self.run.path, self.step) if self.ranks.leads else Unwritten()
        self.callbacks.tell("began", self.run.path, self.step, self.options.steps)
        shown = progress(self.options.steps, self.step) if self.ranks.leads else unheard()
        try:
            with self.hurried(), undisturbed(), shown as report, closing(self._groups()) as groups:
                for group in agreed(groups, self.unreadable, self.ranks):
                    where = f"{self.run.path}: step {self.step + 1}"
                    with device_blamed(where, self.device), memory_blamed(where, self.options, self.device):
                        self._update(group, journal)
                    report(self.step, self.loss, self.waited)
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

    def hurried(self) -> AbstractContextManager[None]:
        """While it lasts, a GPU is used as well as we know how, unless that was not wanted."""
        return quick(self.device, kernels=not self.options.compile) if self.quick else nullcontext()

    def _asked(self, stop: Stop) -> int:
        """The signal that came to any of the processes; 0 before any did."""
        return int(self.ranks.greatest(stop.asked)[0])

    def _groups(self) -> Generator[list[Batch]]:
        """The batches of each update that is left: as many as are accumulated."""
        share = self.options.accumulate
        reading = Reading(
            self.batches,
            start=self.step * share,
            stop=self.options.steps * share,
            workers=self.options.workers,
            patience=self.options.worker_timeout,
        )
        self.stream = stream = Ahead(reading, self.device)
        with closing(stream):
            for _ in range(self.step, self.options.steps):
                yield [next(stream) for _ in range(share)]

    def _update(self, group: list[Batch], journal: Journal | Unwritten) -> None:
        began = time.monotonic()
        # For a part that draws from torch's own state, in each process other numbers.
        torch.manual_seed(derive(self.options.seed, "update", self.step, *([self.ranks.rank] if self.ranks.rank else [])))
        set_learning_rate(self.learned.optimizer, learning_rate(self.options, self.step))
        losses = [self._backward(batch, len(group), last=batch is group[-1]) for batch in group]
        assert self.stream is not None, "where else would the group come from?"
        self.stream.look()  # before what follows waits for the device
        norm = self.together.clip(trained_by(self.learned.optimizer), self.options.clip)
        self.finite.check(self.step + 1, norm, losses)
        self.learned.update()
        self._took.append(time.monotonic() - began)
        if self.step % self.options.log_every == 0 or self.step == self.options.steps:
            self.finite.settle()
            self.loss = float(self.ranks.mean(torch.stack(losses).mean()))
            rate = learning_rate(self.options, self.step - 1)
            self.waited = round(self.stream.waited(), 4)
            told = {"lr": rate, "grad_norm": float(norm), "seconds": fmean(self._took), "waited": self.waited}
            values = {"loss": self.loss, **told}
            self._took.clear()
            journal.write(self.step, values)
            self.callbacks.tell("logged", self.step, values)

    def _backward(self, batch: Batch, share: int, *, last: bool = True) -> Tensor:
        with nullcontext() if last else self.together.kept_back():
            loss = self.together(self.seen(batch))
            self.accelerator.backward(loss / share)
        return loss.detach()

    # ----------------------------------------------------------------- keeping

    def _keep(self) -> None:
        if self.options.ema_lengths and self.step in snapshot_steps(self.options.steps, self.options.ema_snapshots):
            self.finite.settle()
            keep_snapshot(self.run.path, self.learned.power, self.ranks)
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
        self.finite.settle()
        tensors = self.learned.tensors()
        self.ranks.each(lambda: check_numbers(tensors, f"{self.run.path}: nothing is saved: step {self.step}"))
        state = {"ledger": self._ledger().to_json(), **self.learned.counts()}
        told = {**facts(self.spec), "data": self.data}
        folder = self.together.write(self.run.checkpoints, self.step, tensors, state, told)
        self.ranks.led(lambda: prune(self.run.checkpoints, self.options.keep))
        self.callbacks.tell("saved", self.step, folder)

    def _ledger(self) -> Ledger:
        """The silences of all processes."""
        ledger = self.model.ledger
        return ledger.with_numbers(self.ranks.total(ledger.numbers()))

    def draw(self) -> None:
        """What the task draws, with the averaged weights."""
        if not self.together.draws:
            return
        with self.learned.ema or nullcontext():
            try:
                samples = self.task.draw(self.model, self.batches)
            except UsageError as error:  # a grid that cannot be drawn is no reason to lose a training
                self.say(f"no sample grid: {error}")
                return
        if samples is not None and self.ranks.leads:
            path = samples.save(self.run.path / "samples" / f"step-{self.step:06d}.png")
            self.callbacks.tell("drawn", self.step, path)
