"""Where lies what others trained: in a local folder, or in the local Hugging Face cache. The network is never asked."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from cdkit.errors import EnvironmentFault

LARGEST = 1 << 20  # bytes of a configuration


def model_folder(model: str, shipped: Collection[str]) -> Path | None:
    """The folder that `model` names, itself or in the cache; None for a name whose configuration is shipped.

    ValueError, with the nearest name that is shipped, if it is none of the three.
    """
    if model in shipped:
        return None
    folder = Path(model) if model and Path(model).is_dir() else cached_model(model)
    if folder is None:
        near = get_close_matches(model, shipped, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"{model!r} is no folder here, and no configuration of that name ships with cdkit; the nearest that does is "
            f"{near!r} (all: {', '.join(shipped)})"
        )
    return folder


def cached_model(name: str) -> Path | None:
    """The folder of a model in the local Hugging Face cache, by `owner/name`; None if it is not there."""
    return _cached(name, "model")


def cached_dataset(name: str) -> Path | None:
    """The folder of a data set in the local Hugging Face cache, by `owner/name`; None if it is not there."""
    return _cached(name, "dataset")


def is_hub_name(name: str) -> bool:
    """Has it the form `owner/name`?"""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name, re.ASCII) is not None and ".." not in name


def _cached(name: str, kind: Literal["model", "dataset"]) -> Path | None:
    if not is_hub_name(name):
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, repo_type=kind, local_files_only=True))  # nosec B615 # the cache of this machine
    except LocalEntryNotFoundError:
        return None


def missing_model(name: str) -> EnvironmentFault:
    """What to raise where a model's weights are not in the cache: where that is, and how to get them there."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return EnvironmentFault(
        f"the weights of {name} are not on this machine; looked in {HF_HUB_CACHE}",
        hint=f"`hf download {name}` puts them there; or name a local folder: `model: path/to/folder`",
    )


def read_json(path: Path) -> Any:
    """The contents of a small JSON file; ValueError if it is not one."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise ValueError(f"{path}: expected a JSON file of at most {LARGEST} bytes")
        return json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: it cannot be read as JSON: {error}") from error
