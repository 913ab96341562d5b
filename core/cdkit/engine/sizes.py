"""Pictures of the size that a model draws: a data set of another size would train another model, unnoticed."""

from __future__ import annotations

from cdkit.errors import SpecError
from cdkit.model import Model
from cdkit.parts import Dataset, SampleShape


def check_pictures(model: Model, dataset: Dataset) -> None:
    """SpecError where the data set's pictures are not what the model draws, its autoencoder's factor counted in."""
    drawn, factor = model.shape, 1 if model.autoencoder is None else model.autoencoder.factor
    channels = drawn.channels if model.autoencoder is None else 3
    expected = SampleShape(channels, drawn.height * factor, drawn.width * factor)
    if dataset.shape != (drawn if dataset.latent else expected):
        data = model.spec.data
        where = model.spec.place if data is None else data.place
        through = f" ({factor} pixels a latent row)" if model.autoencoder is not None else ""
        raise SpecError(f"{where}: data: its pictures are {words(dataset.shape)}; this model draws {words(expected)}{through}")


def words(shape: SampleShape) -> str:
    return f"{shape.height} x {shape.width} of {shape.channels} channel{'s' if shape.channels > 1 else ''}"
