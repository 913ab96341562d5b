"""remember: what frozen parts make in training, kept on disk: streams by encoder and value, latents by autoencoder and picture.

Each is made alone, and not in its batch: how a product is summed depends on its rows, and what is kept must not depend on the
company in which a value came first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cdkit.cache import cache_folder
from cdkit.conditions import forms_of
from cdkit.engine.batches import Batch
from cdkit.engine.kept import Kept, Made, Say, digest_of
from cdkit.model import Model
from cdkit.model.network import read_before
from cdkit.parts import Encoder, Stream
from cdkit.version import VERSION

Seen = Callable[[Batch], Batch]


def remember(model: Model, data: str, say: Say) -> Seen:
    """From here on the model's frozen encoders read a value once. Returns what its autoencoder sees of a batch: latents.

    data: fingerprint of the data set, whose pictures are known by their names. Everything has its weights by now.
    """
    folder = cache_folder() / "made"
    frozen = [name for name in model.told if model.spec.task == "denoise" and not learns(model.encoders[name])]
    for name in frozen:
        encoder = model.readers[name].encoder
        assert isinstance(encoder, Encoder)
        kept = Kept(folder / "streams", encoder_told(model, name, encoder), say)
        ordinary: Any = encoder.forward
        encoder.forward = partial(read, kept, ordinary, model)
    sees = model.spec.task == "denoise" and model.autoencoder is not None
    what = [*(["latents"] if sees else []), *(f"streams of {name}" for name in frozen)]
    say(
        f"{' and '.join(what)}: made once, and kept in {folder}"
        if what
        else "note: nothing is frozen here, so train.cache keeps nothing"
    )
    return Latents(model, Kept(folder / "latents", autoencoder_told(model, data), say), say) if sees else unseen


def unseen(batch: Batch) -> Batch:
    """Where there is no autoencoder to spare."""
    return batch


def learns(part: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in part.parameters())


# --------------------------------------------------------------------------- whose work it is


def encoder_told(model: Model, name: str, encoder: Encoder) -> dict[str, Any]:
    """What decides the streams of a condition. A tokenizer is no weight: it is known by what is said of the two examples."""
    options = {
        key: value
        for key, value in model.spec.filled()["conditions"][name].items()
        if key not in ("column", "dropout", "trainable")
    }
    says = digest_of({f"{place}.{form}": t for place, value in enumerate(encoder.examples()) for form, t in told(encoder, value)})
    return {**maker(model, encoder), "part": model.spec.conditions[name].part.provider, "options": options, "says": says}


def autoencoder_told(model: Model, data: str) -> dict[str, Any]:
    """What decides latents. Weights may lie where no state dict finds them: they are known by what is said of a noise too."""
    assert model.autoencoder is not None
    assert model.spec.autoencoder is not None
    filled = model.spec.filled()
    side = 4 * model.autoencoder.factor
    noise = torch.rand((1, 3, side, side), generator=torch.Generator().manual_seed(0)) * 2 - 1
    says = digest_of({"latents": plainly(lambda: model.autoencoder.encode(noise.to(model.device)))})  # pyright: ignore[reportOptionalMemberAccess]
    about = {"part": model.spec.autoencoder.part.provider, "options": filled["autoencoder"], "says": says}
    return {**maker(model, model.autoencoder), **about, "data": data, "set": filled.get("data")}


def maker(model: Model, part: nn.Module) -> dict[str, Any]:
    """Of any part: its weights, where it works, and whose arithmetic that is."""
    weights = digest_of({**dict(part.named_parameters()), **{f"buffer {name}": value for name, value in part.named_buffers()}})
    sample = list(model.shape)
    return {"cdkit": VERSION, "torch": torch.__version__, "device": model.device.type, "weights": weights, "sample": sample}


# --------------------------------------------------------------------------- streams


def read(kept: Kept, ordinary: Callable[[Sequence[Any]], Stream], model: Model, raw: Sequence[Any]) -> Stream:
    """ordinary(raw), each value of which is read once and for all; values that have no name are read every time."""
    names = [named(value) for value in raw]
    if None in names:
        return ordinary(raw)
    precision = str(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind := model.device.type) else "as it is"
    rows = [
        kept.get(digest("stream", precision, name), lambda value=value: dict(told(ordinary, value)))
        for name, value in zip(names, raw, strict=True)
    ]
    return read_before([Stream(**row) for row in rows], model.device)


def told(encoder: Callable[[Sequence[Any]], Stream], value: Any) -> list[tuple[str, Tensor]]:
    """The forms of one value's stream, B = 1."""
    return list(forms_of(plainly(lambda: encoder([value]))))


def plainly(make: Callable[[], Any]) -> Any:
    """Without gradients, and outside of inference mode, whose tensors could not be trained on."""
    with torch.inference_mode(False), torch.no_grad():
        return make()


def named(value: Any) -> str | None:
    """A raw value as text that is its own; None for what only its type could describe, such as an open picture."""
    if isinstance(value, str | bool | int | float | bytes | None):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, Tensor):
        return f"tensor {digest_of({'value': value})}"
    if isinstance(value, list | tuple):
        parts = [named(one) for one in value]  # pyright: ignore[reportUnknownVariableType]  # whatever a data set holds
        return None if None in parts else f"{type(value).__name__} {parts!r}"
    return None


def digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()


# --------------------------------------------------------------------------- latents


class Latents:
    """A batch of pictures -> the same of latents. A picture that its data set has varied is another at every step: not kept."""

    def __init__(self, model: Model, kept: Kept, say: Say) -> None:
        self.model, self.kept, self._say = model, kept, say
        self._said = False

    def __call__(self, batch: Batch) -> Batch:
        if batch.latent:
            return batch
        if any(batch.varied) and not self._said:
            self._said = True
            self._say("note: the data set varies its pictures at every step; latents of those are not kept")
        rows = [self._row(batch, place) for place in range(len(batch.ids))]
        return replace(batch, images=torch.stack(rows), latent=True)

    def _row(self, batch: Batch, place: int) -> Tensor:
        image = batch.images[place]
        if batch.varied[place]:
            return self._encoded(image)["latents"]
        name = digest("latent", batch.ids[place], tuple(image.shape))
        return self.kept.get(name, lambda: self._encoded(image))["latents"]

    def _encoded(self, image: Tensor) -> Made:
        assert self.model.autoencoder is not None
        eyes = self.model.autoencoder
        return {"latents": plainly(lambda: eyes.encode(image[None].to(self.model.device))[0].cpu())}
