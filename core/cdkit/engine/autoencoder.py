"""The autoencoder that a denoiser draws with: its weights come from the run that trained it, and become the denoiser's own."""

from __future__ import annotations

from cdkit.engine.load import find_run
from cdkit.engine.weights import check_finite, load_average, load_exactly
from cdkit.errors import CheckpointError, UsageError
from cdkit.model import Model

FILE = "autoencoder"


def take_autoencoder(model: Model, *, there: bool = False) -> str:
    """Fill the autoencoder of a model that is to draw; returns where from, for a person, or "".

    there: its weights came with the denoiser's, which was trained on its latents. UsageError where it has weights of its own
    and nobody trained them, CheckpointError where the run that the spec names has none that fit.
    """
    spec = model.spec.autoencoder
    if model.spec.task == "autoencoder" or spec is None or model.autoencoder is None or not model.autoencoder.trainable:
        return ""
    if there:
        return "draws with the autoencoder that came with those weights"
    if not spec.run:
        raise UsageError(
            f"{spec.part.place}: autoencoder: {spec.part.use} has weights of its own, and no run is named that trained them",
            hint="cdkit train SPEC --set task=autoencoder --out EYES; then add `run: EYES` to the autoencoder",
        )
    run = find_run(spec.run)
    checkpoint = run.latest()
    if checkpoint is None or FILE not in checkpoint.names:
        has = "no checkpoint yet" if checkpoint is None else f"only {', '.join(checkpoint.names)}"
        raise CheckpointError(f"{spec.part.place}: autoencoder.run: {run.path} holds no autoencoder; it has {has}")
    load_exactly(model.autoencoder, checkpoint.tensors(FILE), f"{checkpoint.folder / FILE}.safetensors")
    if "ema" in checkpoint.names:
        averages = {name: value for name, value in checkpoint.tensors("ema").items() if name.startswith(f"{FILE}.")}
        check_finite(averages, f"{checkpoint.folder / 'ema'}.safetensors")
        load_average(model, averages, f"{checkpoint.folder / 'ema'}.safetensors")
    return f"draws with the autoencoder of {run.path} at step {checkpoint.step}"
