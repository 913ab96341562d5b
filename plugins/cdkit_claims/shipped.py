"""Shipped: the claims of this package by name, each a file beside this one that says everything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cdkit.hooks import hookimpl

CLAIMS = Path(__file__).parent / "claims"


@dataclass(frozen=True, slots=True)
class Shipped:
    """A plugin that hands over one file."""

    name: str

    @hookimpl
    def cdkit_claim(self) -> Path:
        return CLAIMS / f"{self.name}.yaml"


def __getattr__(name: str) -> Shipped:
    """What an entry point `cdkit_claims.shipped:NAME` loads. AttributeError where there is no such file."""
    if not (CLAIMS / f"{name}.yaml").is_file():
        raise AttributeError(f"{CLAIMS} holds no {name}.yaml")
    return Shipped(name)
