"""response: how strongly a method speaks at birth, and the same strength for every method, if a comparison asks for it.

A method that starts as the identity speaks as loudly as its first updates make it, and some grow faster than others. With
`init: unit_response` what is zero at birth is drawn at random instead and scaled, so that at its sites each method changes h by
one share of h, measured on pictures and words of the training split.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from cdkit.build.liveness.trace import slots
from cdkit.diffusion.random import generator, keys, normal
from cdkit.engine.batches import Batch, Batches
from cdkit.engine.evaluate import make_dataset
from cdkit.errors import NumericsError
from cdkit.model import Model
from cdkit.parts import Joined

TARGET = 0.1  # rms of what a method adds, over that of h, at its sites
WITHIN = 0.01
ROUNDS = 50
PICTURES = 16
TIME = 500.0


def calibrate(model: Model, seed: int) -> dict[str, float]:
    """Draw and scale what is zero in every injector's taps; returns each one's response. The backbone stays as it is.

    NumericsError for a method whose response cannot be brought to the target: it has no weights at zero to scale, or they
    change nothing.
    """
    batch, found = first_batch(model, seed), dict[str, float]()
    gates = {injector.name: opened(model, injector.name, seed) for injector in model.spec.injectors}
    for _ in range(ROUNDS):
        found = responses(model, batch, seed)
        off = {name: found.get(name, 0.0) / TARGET for name in gates}
        if all(abs(ratio - 1) <= WITHIN for ratio in off.values()):
            return found
        for name, ratio in off.items():
            scale(gates[name], 1 / min(max(ratio, 0.1), 10.0) if ratio else 10.0)
    wrong = {name: response for name, response in found.items() if abs(response / TARGET - 1) > WITHIN}
    told = ", ".join(f"{name} at {response:.3g}" for name, response in wrong.items()) or "a method without any response"
    raise NumericsError(f"init: unit_response: {told} could not be brought to {TARGET}", hint="leave `init` at `zero`")


def opened(model: Model, injector: str, seed: int) -> list[nn.Parameter]:
    """The parameters of an injector's taps that are zero throughout, drawn by fan-in; those that it is scaled by."""
    drawn: list[nn.Parameter] = []
    for slot in slots(model):
        for name, parameter in slot.taps[injector].named_parameters() if injector in slot.taps else ():
            if not bool(parameter.any()):
                fan_in = max(1, parameter[0].numel() if parameter.dim() > 1 else 1)
                draws = generator(seed, "response", slot.site.name, injector, name)
                with torch.no_grad():
                    parameter.copy_(torch.randn(parameter.shape, generator=draws) / fan_in**0.5)
                drawn.append(parameter)
    return drawn


@torch.no_grad()
def scale(parameters: list[nn.Parameter], factor: float) -> None:
    for parameter in parameters:
        parameter.mul_(factor)


def first_batch(model: Model, seed: int) -> Batch:
    """Pictures and words that training will see first; the encoders learn their vocabularies from the split, as they will."""
    batches = Batches(make_dataset(model.spec), model.columns, batch=PICTURES, seed=seed)
    for name in model.told:
        reader = model.readers[name]
        values = (value for example in batches.examples for value in example.values[reader.column])
        reader.encoder.fit(values)  # pyright: ignore[reportCallIssue]
    return batches[0]


@torch.no_grad()
def responses(model: Model, batch: Batch, seed: int) -> dict[str, float]:
    """By injector: the root of the mean, over its sites, of the square of |tap(h) - h| / |h|."""
    clean = batch.images if model.autoencoder is None else model.autoencoder.encode(batch.images)
    noise = normal(keys(seed, batch.ids, 0, "response"), tuple(clean.shape[1:]))
    t = torch.full((len(clean),), TIME)
    was_training = model.training
    with listening(model.eval()) as heard:
        model(model.diffusion.noised(clean, noise, t), t, batch.raw)
    model.train(was_training)
    return {name: (sum(value**2 for value in values) / len(values)) ** 0.5 for name, values in heard.items()}


@contextmanager
def listening(model: Model) -> Generator[Mapping[str, list[float]]]:
    """While it lasts, a dictionary fills with how much each tap changed h, by injector."""
    heard: dict[str, list[float]] = {}

    def listen(name: str) -> Any:
        def hook(tap: nn.Module, given: tuple[Any, ...], said: Tensor | Joined) -> None:
            del tap
            if isinstance(said, Tensor):
                h: Tensor = given[0]
                heard.setdefault(name, []).append(float((said - h).norm() / h.norm().clamp(min=1e-12)))

        return hook

    taps = [(name, tap) for slot in slots(model) for name, tap in slot.taps.items()]
    handles = [tap.register_forward_hook(listen(name)) for name, tap in taps]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()
