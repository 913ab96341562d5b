"""AdamW over what is trained, its learning rate as a function of the step, and its state as named tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cdkit.engine.sharded import divided, is_sharded, rows_for
from cdkit.spec import TrainSection


def make_optimizer(module: nn.Module, options: TrainSection) -> torch.optim.AdamW:
    """In the order of named_parameters; fused on a GPU. What is divided among processes is a group of its own, the first."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [[one for one in trained if is_sharded(one) is sharded] for sharded in (True, False)]
    fused = all(parameter.is_cuda for parameter in trained)
    return torch.optim.AdamW(
        [{"params": group} for group in groups if group] or trained,
        lr=options.lr,
        betas=options.betas,
        weight_decay=options.weight_decay,
        fused=fused,
        foreach=False if not fused else None,
    )


def learning_rate(options: TrainSection, step: int) -> float:
    """Of update number `step` (from 0): a linear warm-up, then constant, or half a cosine down to a hundredth."""
    if step < options.warmup:
        return options.lr * (step + 1) / options.warmup
    if options.decay == "constant":
        return options.lr
    done = (step - options.warmup) / max(options.steps - options.warmup, 1)
    return options.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value


def trained_by(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Its parameters, in the order in which it numbers them."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    """The state as `parameter|moment` -> tensor."""
    state = optimizer.state_dict()["state"]
    return {f"{names[index]}|{key}": value for index, moments in state.items() for key, value in moments.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, names: list[str], tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    index = {name: place for place, name in enumerate(names)}
    parameters = trained_by(optimizer)
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, _, moment = key.partition("|")
        own = parameters[index[name]]
        state.setdefault(index[name], {})[moment] = laid_out_like(own, value) if value.dim() else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def laid_out_like(parameter: nn.Parameter, moment: Tensor) -> Tensor:
    """A moment with its parameter's rows, and its strides too: a fused step takes all of them in one order."""
    if is_sharded(parameter):
        return divided(rows_for(moment, parameter), parameter)
    return torch.empty_like(parameter, dtype=moment.dtype, device=moment.device).copy_(moment)
