"""The one place that reads what others trained: a local folder or the local Hugging Face cache, never the network.

Nothing in a folder is run: classes are named by our code, configurations are read key by key, weights are safetensors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from cdkit.parts import EnvironmentFault
from torch import nn

FORBIDDEN = frozenset(
    {
        "auto_map",
        "trust_remote_code",
        "custom_pipelines",
        "quantization_config",
        "attn_implementation",
        "_attn_implementation",
        "_attn_implementation_internal",
        "_experts_implementation",
    }
)
LARGEST = 1 << 20  # bytes of a configuration, and the largest number in one
WEIGHTS = "model.safetensors"
SHARDS = "model.safetensors.index.json"
SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors")


@dataclass(frozen=True)
class Source:
    """A pretrained model: its shape, known at once, and where its weights will be looked for when they are needed."""

    name: str
    config: Mapping[str, Any]
    folder: Path | None = None  # None: the local cache, under its name

    def found(self) -> Path:
        """The folder with the weights. EnvironmentFault, saying where it looked and how to get them, if there is none."""
        folder = self.folder or cached(self.name)
        if folder is None:
            raise EnvironmentFault(
                f"the weights of {self.name} are not on this machine; looked in {cache_folder()}",
                hint=f"`hf download {self.name}` puts them there; or name a local folder: `model: path/to/folder`",
            )
        check_folder(folder)
        return folder


def source(family: str, model: str, keys: Sequence[str], *, part: str = "text_config") -> Source:
    """A model by the name that we ship a configuration for, by a local folder, or by its name in the local cache.

    keys: what is read of a configuration, and part: of which half of it, where it has two. ValueError if it is none of the
    three, or its configuration cannot be used.
    """
    shipped = configs(family)
    if model in shipped:
        return Source(model, shipped[model])
    folder = Path(model) if model and Path(model).is_dir() else cached(model)
    if folder is None:
        near = get_close_matches(model, shipped, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"{model!r} is no folder here, and no configuration of that name ships with cdkit; the nearest that does is "
            f"{near!r} (all: {', '.join(shipped)})"
        )
    return Source(model, read_config(folder / "config.json", keys, part=part), folder)


def made(cls: Any, found: Source) -> Any:
    """The configuration object of a source. ValueError if its numbers make no network."""
    try:
        return cls(**found.config)
    except Exception as error:  # huggingface_hub's strict dataclasses raise a family of their own
        raise ValueError(f"the configuration of {found.name} makes no network: {error}") from error


def configs(family: str) -> dict[str, dict[str, Any]]:
    """Configurations that ship with us, by name: clip, clip_vision, t5 or bert."""
    return json.loads(resources.files("cdkit_encoders").joinpath("configs", f"{family}.json").read_text("utf-8"))


def read_config(path: Path, keys: Sequence[str], *, part: str = "text_config") -> dict[str, Any]:
    """The keys of a config.json, of the part of it where it has one. ValueError for what could turn anything on."""
    everything = read_json(path)
    if not isinstance(everything, dict):
        raise ValueError(f"{path}: expected a JSON object")
    refuse_forbidden(path, everything)
    own: Mapping[str, Any] = everything.get(part) or everything
    if "projection_dim" in everything:  # both halves of a CLIP project to this width, whatever their own parts say
        own = {**own, "projection_dim": everything["projection_dim"]}
    config = {key: own[key] for key in keys if own.get(key) is not None}
    for key, value in config.items():
        if isinstance(value, list | dict) or (isinstance(value, int | float) and not 0 <= value <= LARGEST):
            raise ValueError(f"{path}: {key} is {value!r}; expected one number from 0 to {LARGEST}, or text")
    return config


def read_json(path: Path) -> Any:
    """The contents of a small JSON file; ValueError if it is not one."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise ValueError(f"{path}: expected a JSON file of at most {LARGEST} bytes")
        return json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: it cannot be read as JSON: {error}") from error


def refuse_forbidden(path: Path, value: Any) -> None:
    """ValueError if a key at any depth names code to run or a switch that only a command line may set."""
    for key in keys_in(value):
        if key in FORBIDDEN:
            raise ValueError(f"{path}: the key {key!r} is refused: a model folder may not say which code is run")


def keys_in(value: Any) -> Iterator[str]:
    """Every key of a JSON value, at any depth."""
    if isinstance(value, dict):
        yield from value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys_in(part)


def cache_folder() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def cached(name: str) -> Path | None:
    """The folder of a model in the local cache, by `owner/name`; None if it is not there. The network is not asked."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name, re.ASCII) or ".." in name:
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))  # nosec B615 # the cache of this machine
    except LocalEntryNotFoundError:
        return None


def check_folder(folder: Path) -> None:
    """EnvironmentFault if there are no safetensors, or if a file asks for more than to be read."""
    if (folder / SHARDS).is_file():
        index = read_json(folder / SHARDS)
        names: set[str] = set(index.get("weight_map", {}).values())
        strange = sorted(name for name in names if not SHARD.fullmatch(name))
        if strange:
            raise EnvironmentFault(f"{folder / SHARDS}: {strange[0]!r} is refused: a shard lies in the folder itself")
    elif not (folder / WEIGHTS).is_file():
        pickled = " (pickled weights are there, and are never read)" if list(folder.glob("*.bin")) else ""
        raise EnvironmentFault(f"{folder} has no {WEIGHTS}{pickled}", hint="name a folder that holds the model's safetensors")
    if (folder / "adapter_config.json").exists():
        raise EnvironmentFault(f"{folder / 'adapter_config.json'} is refused: an adapter may name weights elsewhere")


def load_network(cls: Any, config: Any, folder: Path) -> nn.Module:
    """Weights of a folder in a network of our configuration, float32 on the CPU. EnvironmentFault if they do not fit it."""
    from safetensors import SafetensorError

    try:
        with torch.inference_mode(False), torch.device("cpu"), torch.random.fork_rng(devices=[]), quietly():
            network, info = cls.from_pretrained(
                str(folder),
                config=config,
                use_safetensors=True,
                local_files_only=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise EnvironmentFault(f"the weights in {folder} cannot be read: {error}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise EnvironmentFault(f"the weights in {folder} lack {len(missing)} tensors, such as {missing[0]}")
    return network


def load_tokenizer(cls: Any, folder: Path) -> Any:
    """The tokenizer of a folder, or of the folder beside it that diffusers keeps it in (`text_encoder`, `tokenizer`)."""
    beside = folder.parent / folder.name.replace("text_encoder", "tokenizer")
    place = next((at for at in (folder, beside) if (at / "tokenizer_config.json").is_file()), folder)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (place / name).is_file():
            refuse_forbidden(place / name, read_json(place / name))
    try:
        return cls.from_pretrained(str(place), local_files_only=True, split_special_tokens=True)
    except (OSError, ValueError, TypeError) as error:
        raise EnvironmentFault(f"there is no tokenizer that can be read in {place}: {error}") from error


@contextmanager
def quietly() -> Generator[None]:
    """No progress bar and no report of spare tensors while it lasts; afterwards as before."""
    from transformers.utils import logging

    bar, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
