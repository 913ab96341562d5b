"""What stands beside a U-Net: its text encoders, their tokenizers and its autoencoder, as folders of files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cdkit.parts import CheckpointError, Files, Foreign, UsageError
from torch import Tensor

from cdkit_stable_diffusion.specs import bare
from cdkit_stable_diffusion.tensors import as_json, load_model, read_json

HERE = "here:"
TEXT, VAE = "model", "diffusion_pytorch_model"  # what transformers and diffusers call a folder's weights
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
)


def network(folder: Path, stem: str) -> Callable[[], Files]:
    """A reader of a network's folder: its configuration and its weights in one file."""

    def read() -> Files:
        tensors, _ = load_model(folder, stem)
        return {"config.json": (folder / "config.json").read_bytes(), f"{stem}.safetensors": tensors}

    return read


def tokenizer(folder: Path, *, pads_with_zeros: bool = False) -> Callable[[], Files]:
    """A reader of a tokenizer's folder. pads_with_zeros: as open_clip's does, whose models read their padding too."""

    def read() -> Files:
        files = {name: (folder / name).read_bytes() for name in TOKENIZER if (folder / name).is_file()}
        return {**files, **padded_with(first_word(files, folder), files)} if pads_with_zeros else files

    return read


def first_word(files: Mapping[str, bytes], folder: Path) -> str:
    """The token of number 0: "!" in CLIP's vocabulary."""
    vocabulary: dict[str, int] = (
        json.loads(files["vocab.json"]) if "vocab.json" in files else json.loads(files["tokenizer.json"])["model"]["vocab"]
    )
    found = [word for word, number in vocabulary.items() if number == 0]
    if not found:
        raise CheckpointError(f"{folder}: its vocabulary has no token of number 0, which this text encoder pads with")
    return found[0]


def padded_with(word: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The two files that name the padding, with this word in it."""
    names = ("tokenizer_config.json", "special_tokens_map.json")
    return {name: as_json({**json.loads(files.get(name, b"{}")), "pad_token": word}) for name in names}


def tokenizer_beside(text_encoder: str) -> str:
    """text_encoder_2 -> tokenizer_2, as diffusers names them."""
    return text_encoder.replace("text_encoder", "tokenizer")


def folder_of(model: Foreign, told: str, stem: str, what: str) -> Files:
    """The files of a component that a spec names. UsageError where it names no folder, so that there are no weights to take."""
    if told.startswith(HERE):
        return model.beside[told.removeprefix(HERE)]()
    if not Path(told).is_dir():
        raise UsageError(
            f"{what} is {told!r}, a name and no folder, so its weights cannot be taken along",
            hint=f"name the folder that holds them, as in --set conditions.text.model=path/to/{what}",
        )
    return network(Path(told), stem)()


def tokenizer_of(model: Foreign, told: str) -> Files:
    """The files of the tokenizer that goes with a text encoder; none where there is none."""
    if told.startswith(HERE):
        reader = model.beside.get(tokenizer_beside(told.removeprefix(HERE)))
        return reader() if reader else {}
    folder = Path(told)
    beside = folder.with_name(tokenizer_beside(folder.name))
    place = beside if (beside / "tokenizer_config.json").is_file() else folder
    return tokenizer(place)()


def texts_of(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The text encoders of a spec: the condition's name and its options. UsageError for what is no `clip`, or is trained."""
    for name, options in spec["conditions"].items():
        if bare(options["use"]) in {"join", "size", "map"}:
            continue
        if bare(options["use"]) != "clip":
            raise UsageError(f"the condition {name!r} is encoded by {options['use']!r}; Stable Diffusion's pipelines have `clip`")
        if options.get("trainable"):
            raise UsageError(f"the condition {name!r} has an encoder that was trained along; exporting that is not supported")
        yield name, options


def tensors_in(files: Files, stem: str) -> Mapping[str, Tensor]:
    """The tensors of a component's files."""
    tensors = files[f"{stem}.safetensors"]
    assert not isinstance(tensors, bytes)
    return tensors


def check_tokenizer(folder: Path) -> None:
    """UsageError if a folder holds no tokenizer."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise UsageError(
            f"--tokenizer {folder}: holds neither tokenizer.json nor vocab.json", hint="name a folder of CLIP's tokenizer"
        )
    if (folder / "tokenizer_config.json").is_file():
        read_json(folder / "tokenizer_config.json")
