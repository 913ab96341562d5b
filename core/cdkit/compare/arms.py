"""arms: the trainings of a comparison, one for each arm and seed, and proof that they start alike."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cdkit.build import assemble
from cdkit.build.liveness import prove
from cdkit.build.liveness.trace import slots
from cdkit.errors import SpecError
from cdkit.spec import Spec

UNLIKE = "unlike"  # in place of a digest of backbones
TRACKED = (0.05, 0.1, 0.2)  # relative lengths of averages; those between follow to 0.1 %


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm with one seed. `key`: of all that its training depends on, so that a finished one is known again."""

    arm: str
    seed: int
    spec: Spec
    init: str = "zero"

    @property
    def key(self) -> str:
        """Its own spec's, and of how it is born."""
        return hashlib.sha256(f"{self.init}\n{self.spec.to_yaml()}".encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """Whose it is, for people."""
        return f"{self.arm}, seed {self.seed}"

    @property
    def folder(self) -> str:
        return f"{self.arm}-{self.seed}-{self.key}"


def cells(
    arms: Mapping[str, Spec],
    seeds: Sequence[int],
    steps: Mapping[str, int],
    init: str = "zero",
    *,
    lengths: tuple[float, ...] = (),
) -> list[Cell]:
    """Seed by seed, so that an interrupted comparison has all arms of the first ones. lengths: of averages that are tracked."""
    made = {
        (arm, seed): seeded(replace(spec, name=arm), seed, steps[arm], lengths or spec.train.ema_lengths)
        for seed in seeds
        for arm, spec in arms.items()
    }
    return [Cell(arm, seed, spec, init) for (arm, seed), spec in made.items()]


def seeded(spec: Spec, seed: int, steps: int, lengths: tuple[float, ...] = ()) -> Spec:
    """With a seed of weights, data order, noise and silence, for so many steps, averages of these lengths tracked."""
    return replace(spec, seed=seed, train=replace(spec.train, seed=seed, steps=steps, ema_lengths=lengths))


def check_alive(arms: Mapping[str, Spec]) -> None:
    """Every condition of every arm reaches the output, or its comparison would say nothing."""
    for name, spec in arms.items():
        try:
            prove(assemble(spec, device="meta"))
        except SpecError as error:
            raise SpecError(f"arm {name!r}: {error}", hint=error.hint) from error


def birth(spec: Spec) -> str:
    """A digest of the backbone's weights at birth, its taps left out: the same for every arm of a seed."""
    model = assemble(spec)
    taps = {id(tensor) for slot in slots(model) for tensor in slot.taps.state_dict(keep_vars=True).values()}
    said = hashlib.sha256()
    for name, tensor in sorted(model.backbone.state_dict(keep_vars=True).items()):
        if id(tensor) not in taps:
            said.update(f"{name}{tuple(tensor.shape)}".encode())
            said.update(tensor.detach().contiguous().numpy().tobytes())
    return said.hexdigest()
