"""Averages of weights whose length is chosen after training (Karras et al. 2024, EDM2, arXiv 2312.02696, section 3, appendix C).

A power-function average of relative length s weighs update n of N by (n / N)^gamma; s is the spread of those weights over N. Some
lengths are tracked; out of snapshots of those, any other in between is put together by least squares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from cdkit.engine.ranks import ALONE, Ranks
from cdkit.engine.sharded import divided, part_of, rows_for, whole_of
from cdkit.errors import CheckpointError, UsageError

FOLDER = "snapshots"
RANGE = 0.0, 3**-0.5 / 2  # of relative lengths: beyond the second, the latest update would weigh less than the first


def exponent(length: float) -> float:
    """gamma of a relative length in (0, 0.288): the root of (g + 1) = s^2 (g + 2)^2 (g + 3) (their algorithm 2)."""
    if not RANGE[0] < length < RANGE[1]:
        raise ValueError(f"a relative length of {length}; expected one above 0 and below {RANGE[1]:.3f}")
    return float(max(np.roots([1, 7, 16 - length**-2, 12 - length**-2]).real))


def decay(update: int, gamma: float) -> float:
    """What update number `update` (from 1) leaves of the average before it (their equation 127)."""
    return (1 - 1 / update) ** (gamma + 1)


class PowerEma:
    """The averages of a module's trained weights, one for each length, in float32."""

    def __init__(self, module: nn.Module, lengths: Sequence[float]) -> None:
        self.exponents = {length: exponent(length) for length in lengths}
        self.updates = 0
        self._own = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
        self.values = {length: [part_of(weight.detach()).float().clone() for weight in self._own.values()] for length in lengths}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        self.updates += 1
        weights = [part_of(weight).float() for weight in self._own.values()]
        for length, gamma in self.exponents.items():
            get_ema_multi_avg_fn(decay(self.updates, gamma))(self.values[length], weights, None)

    def tensors(self) -> dict[str, Tensor]:
        """LENGTH|NAME -> an average."""
        return {
            f"{length}|{name}": divided(value, own.detach())
            for length, kept in self.values.items()
            for (name, own), value in zip(self._own.items(), kept, strict=True)
        }

    def load(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        self.updates = updates
        for length, kept in self.values.items():
            for (name, own), value in zip(self._own.items(), kept, strict=True):
                value.copy_(rows_for(tensors[f"{length}|{name}"], own))


def snapshot_steps(steps: int, snapshots: int) -> set[int]:
    """After which steps the averages are kept: evenly, and at the end."""
    return {round(steps * (place + 1) / snapshots) for place in range(snapshots)}


def keep_snapshot(run: Path, ema: PowerEma, ranks: Ranks = ALONE) -> Path:
    """Leave the averages as they are after this many updates, whole or not at all; every process that trains calls this."""
    tensors = {name: whole_of(value).cpu().contiguous() for name, value in ema.tensors().items()}
    return ranks.led(lambda: _kept(run / FOLDER / f"{ema.updates:06d}.safetensors", tensors))


def _kept(target: Path, tensors: dict[str, Tensor]) -> Path:
    from safetensors.torch import save_file

    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    save_file(tensors, temporary)
    temporary.replace(target)
    return target


def snapshots(run: Path) -> Iterator[tuple[int, dict[float, dict[str, Tensor]]]]:
    """After how many updates a run kept its averages, and each of them by its length, in order."""
    from safetensors.torch import load_file

    for file in sorted((run / FOLDER).glob("[0-9]*.safetensors")):
        found: dict[float, dict[str, Tensor]] = {}
        for key, value in load_file(file).items():
            length, _, name = key.partition("|")
            found.setdefault(float(length), {})[name] = value
        yield int(file.stem), found


def profile(updates: int, gamma: float, total: int) -> NDArray[np.float64]:
    """How much each of `total` updates weighs in the average after `updates` of them, (total,)."""
    kept = np.array([decay(n, gamma) for n in range(1, updates + 1)])
    after = np.append(np.cumprod(kept[:0:-1])[::-1], 1.0)
    return np.append((1 - kept) * after, np.zeros(total - updates))


def shares(snapshots: Sequence[tuple[int, float]], length: float, total: int) -> tuple[NDArray[np.float64], float]:
    """What each snapshot (updates, length) contributes to an average of another length, and the relative error of its profile."""
    basis = np.stack([profile(updates, exponent(tracked), total) for updates, tracked in snapshots], axis=1)
    wanted = profile(total, exponent(length), total)
    found = np.asarray(np.linalg.lstsq(basis, wanted, rcond=1e-12)[0], dtype=np.float64)
    return found, float(np.linalg.norm(basis @ found - wanted) / np.linalg.norm(wanted))


MOST_OFF = 1e-3


def averaged_at(run: Path, length: float) -> dict[str, Tensor]:
    """The weights of a run averaged over this relative length, by name. CheckpointError for a run without snapshots, UsageError
    for a length that they cannot make to within 0.1 %."""
    from safetensors import safe_open

    files = sorted((run / FOLDER).glob("[0-9]*.safetensors"))
    if not files:
        raise CheckpointError(f"{run}: keeps no snapshots of averages", hint="train with ema_lengths and ema_snapshots")
    total = int(files[-1].stem)
    held = {(file, name.partition("|")[0]) for file in files for name in names_in(file)}
    snapshots = sorted(held, key=lambda one: (int(one[0].stem), float(one[1])))
    weights, off = shares([(int(file.stem), float(told)) for file, told in snapshots], length, total)
    if off > MOST_OFF:
        lengths = ", ".join(sorted({told for _, told in snapshots}))
        raise UsageError(
            f"{run}: an average of relative length {length} would be off by {off:.1%}",
            hint=f"take one between those that are tracked ({lengths}), or keep more snapshots",
        )
    made: dict[str, Tensor] = {}
    for (path, told), weight in zip(snapshots, weights, strict=True):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118  # it is no mapping
                prefix, _, name = key.partition("|")
                if prefix == told:
                    made[name] = made.get(name, 0) + float(weight) * file.get_tensor(key).double()
    return {name: value.float() for name, value in made.items()}


def names_in(file: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        return list(opened.keys())
