"""A model's weights as files of tensors, and back: what a checkpoint holds, and what is loaded from one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from cdkit.conditions import Ledger
from cdkit.engine.checkpoint import Checkpoint
from cdkit.engine.sharded import fill, is_sharded, part_of
from cdkit.errors import CheckpointError
from cdkit.model import Model
from cdkit.model.lora import TRAINED, LoraSet

FILES = ("backbone", "encoders", "autoencoder")
LORA = "lora"  # the file of a run that trains one
PREFIXES = {LORA: f"loras.{TRAINED}"}  # what a file's tensors begin with in the model; the file's own name elsewhere
SHOWN = 5  # keys in an error


def weights_of(model: Model) -> dict[str, dict[str, Tensor]]:
    """The tensors that are the run's own; pretrained frozen encoders and autoencoders keep theirs elsewhere."""
    return {name: {key: value.cpu() for key, value in tensors.items()} for name, tensors in held_weights(model).items()}


def held_weights(model: Model) -> dict[str, dict[str, Tensor]]:
    """The same where they are, and in parts where they are divided among processes."""
    found = {name: module.state_dict() for name, module in modules_of(model).items()}
    if (lora := trained_lora(model)) is not None:
        found[LORA] = lora.tensors()
    return {name: {key: value.detach() for key, value in tensors.items()} for name, tensors in found.items()}


def modules_of(model: Model) -> dict[str, nn.Module]:
    """The parts whose weights a run keeps, by the file that holds them: where an autoencoder is trained, that alone."""
    seeing = model.autoencoder
    eyes: dict[str, nn.Module] = {"autoencoder": seeing} if seeing is not None and seeing.trainable else {}
    return eyes if model.spec.task == "autoencoder" else {"backbone": model.backbone, "encoders": model.encoders, **eyes}


def trained_lora(model: Model) -> LoraSet | None:
    """The LoRA that the model's spec asks for."""
    found = dict(model.loras).get(TRAINED)
    assert found is None or isinstance(found, LoraSet)
    return found


def files_of(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The files that hold a checkpoint's weights."""
    return tuple(name for name in (*FILES, LORA) if name in checkpoint.names)


def place_of(file: str, key: str) -> str:
    """What a tensor of a file is called in the model, and in the file of averages."""
    return f"{PREFIXES.get(file, file)}.{key}"


def load_weights(model: Model, checkpoint: Checkpoint, *, averaged: bool) -> None:
    """Fill a model from a checkpoint, with the averaged weights where it has them. CheckpointError names what does not fit."""
    for name, module in modules_of(model).items():
        load_exactly(module, checkpoint.tensors(name), f"{checkpoint.folder / name}.safetensors")
    load_lora(model, checkpoint)
    if averaged and "ema" in checkpoint.names:
        load_average(model, checkpoint.tensors("ema"), f"{checkpoint.folder / 'ema'}.safetensors")
    model.ledger = Ledger.from_json(checkpoint.state()["ledger"])


def load_lora(model: Model, checkpoint: Checkpoint) -> None:
    """The LoRA of a run. CheckpointError where one of model and checkpoint has none, or another."""
    lora, where = trained_lora(model), f"{checkpoint.folder / LORA}.safetensors"
    if lora is not None:
        tensors = checkpoint.tensors(LORA)
        load_exactly(lora, {key: value for key, value in tensors.items() if not key.endswith(".alpha")}, where)
    elif LORA in checkpoint.names:
        raise CheckpointError(f"{where}: is there, but the run's spec has no `lora:`, so it would be silently ignored")


def load_average(model: Model, tensors: Mapping[str, Tensor], where: str) -> None:
    own = dict(model.named_parameters())
    _compare(where, {name: value for name, value in own.items() if name in tensors}, tensors)
    for name, value in tensors.items():
        fill(own[name], value)


def load_exactly(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """load_state_dict, with an error for people."""
    own = module.state_dict()
    free = {key for key in own if key not in tensors or own[key].dim() != 1 or own[key].dtype != torch.uint8}
    _compare(where, own, tensors, shapes_of=free)
    check_finite(tensors, where)
    if any(is_sharded(value) for value in own.values()):
        for key, value in tensors.items():
            fill(own[key], value)
    else:
        module.load_state_dict(dict(tensors))


def _compare(where: str, own: Mapping[str, Tensor], given: Mapping[str, Tensor], *, shapes_of: set[str] | None = None) -> None:
    missing, extra = sorted(set(own) - set(given)), sorted(set(given) - set(own))
    if missing or extra:
        raise CheckpointError(
            f"{where}: is of another model: {len(missing)} keys are missing {_some(missing)} and {len(extra)} are not in "
            f"the model {_some(extra)}"
        )
    checked = own.keys() if shapes_of is None else shapes_of
    wrong = [
        f"{key} is {tuple(given[key].shape)}, expected {tuple(own[key].shape)}"
        for key in checked
        if given[key].shape != own[key].shape
    ]
    if wrong:
        raise CheckpointError(f"{where}: {len(wrong)} tensors have another shape {_some(wrong)}")
    odd = [f"{key} is {given[key].dtype}, expected {own[key].dtype}" for key in own if not _alike(own[key], given[key])]
    if odd:
        raise CheckpointError(f"{where}: {len(odd)} tensors have another kind of number {_some(odd)}")


def _alike(own: Tensor, given: Tensor) -> bool:
    """One floating point for another is a matter of precision; anything else would be another number."""
    return own.dtype == given.dtype or (own.is_floating_point() and given.is_floating_point())


def check_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    """NumericsError if any weight is NaN or infinite."""
    from cdkit.errors import NumericsError

    mine = {key: part_of(value) for key, value in tensors.items()}
    broken = [key for key, value in mine.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise NumericsError(f"{where}: {len(broken)} tensors hold NaN or infinity {_some(broken)}")


def weights_in(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """A checkpoint's weights by their names in a model, averaged where there is an average."""
    given = {place_of(name, key): value for name in files_of(checkpoint) for key, value in checkpoint.tensors(name).items()}
    return given | (checkpoint.tensors("ema") if "ema" in checkpoint.names else {})


def load_matching(model: Model, given: Mapping[str, Tensor]) -> dict[str, int]:
    """Fill what fits by key and shape; count what was taken, left and not found."""
    own = {f"{name}.{key}": value for name, part in modules_of(model).items() for key, value in part.state_dict().items()}
    fits = [key for key, value in own.items() if key in given and given[key].shape == value.shape]
    for key in fits:
        fill(own[key], given[key])
    return {"taken": len(fits), "new": len(own) - len(fits), "unused": len(set(given) - set(fits))}


def _some(keys: Sequence[str]) -> str:
    return f"({', '.join(keys[:SHOWN])}{' …' if len(keys) > SHOWN else ''})" if keys else ""
