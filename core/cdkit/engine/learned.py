"""Learned: what a training has learned, and what it learns with: weights, averages, moments, the number of updates."""

from __future__ import annotations

from torch import Tensor

from cdkit.engine.checkpoint import Checkpoint
from cdkit.engine.ema import Ema
from cdkit.engine.optimizer import load_optimizer, make_optimizer, optimizer_tensors, trained_by
from cdkit.engine.power_ema import PowerEma
from cdkit.engine.weights import check_finite, held_weights, load_weights
from cdkit.model import Model
from cdkit.spec import TrainSection

POWER = "power_ema"  # the file of averages whose length is chosen later


class Learned:
    """All that a checkpoint keeps of a training. `step` counts the updates that were made."""

    def __init__(self, model: Model, options: TrainSection) -> None:
        self.model = model
        self.optimizer = make_optimizer(model, options)
        self.ema = None if options.ema is None else Ema(model, options.ema)
        self.power = PowerEma(model, options.ema_lengths)
        self.step = 0
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._names = [names[id(parameter)] for parameter in trained_by(self.optimizer)]

    def update(self) -> None:
        """By the gradients that are there."""
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if self.ema is not None:
            self.ema.update()
        self.power.update()

    def average_anew(self) -> None:
        """From the weights as they are now, which others have learned."""
        if self.ema is not None:
            self.ema = Ema(self.model, self.ema.decay)

    def restore(self, checkpoint: Checkpoint) -> None:
        load_weights(self.model, checkpoint, averaged=False)
        load_optimizer(self.optimizer, self._names, checkpoint.tensors("optimizer"))
        state = checkpoint.state()
        if self.ema is not None:
            self.ema.load(checkpoint.tensors("ema"), state["ema_updates"])
        if self.power.exponents:
            self.power.load(checkpoint.tensors(POWER), state["power_updates"])
        self.step = checkpoint.step

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All that a checkpoint holds, by file, where they are."""
        tensors = held_weights(self.model) | {"optimizer": optimizer_tensors(self.optimizer, self._names)}
        if self.ema is not None:
            tensors["ema"] = self.ema.tensors()
        if self.power.exponents:
            tensors[POWER] = self.power.tensors()
        return tensors

    def counts(self) -> dict[str, int]:
        """How many updates each average has taken in."""
        counts = {"ema_updates": 0 if self.ema is None else self.ema.updates}
        return counts | ({"power_updates": self.power.updates} if self.power.exponents else {})


def check_numbers(tensors: dict[str, dict[str, Tensor]], where: str) -> None:
    """NumericsError for a file of tensors that are no numbers."""
    for name, values in tensors.items():
        check_finite(values, f"{where}, {name}")
