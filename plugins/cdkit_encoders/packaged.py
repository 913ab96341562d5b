"""Weights that come in a package which people install themselves: found there, checked, and read; its code is not run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from cdkit.parts import EnvironmentFault

from cdkit_encoders.hf import Source


@dataclass(frozen=True, kw_only=True)
class Packaged(Source):
    """A model as it lies in a package: one pinned file, and what is beside it."""

    part: str  # who needs it, for messages
    package: str  # as it is imported
    pip: str  # how to install it
    file: Path  # the weights, from the package's folder
    sha256: str  # of the weights

    def found(self) -> Path:
        """The folder with the weights. EnvironmentFault if the package is not there, or holds other weights."""
        spec = find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise EnvironmentFault(f"{self.part} needs its weights, which come in a package that is not installed", hint=self.pip)
        path = Path(next(iter(spec.submodule_search_locations))) / self.file
        if not path.is_file():
            raise EnvironmentFault(f"{path} is not there: the package that is installed is another version", hint=self.pip)
        if digest(path) != self.sha256:
            raise EnvironmentFault(f"{path} is not the file that cdkit knows: its sha256 differs", hint=self.pip)
        return path.parent


@cache
def digest(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
