"""Parts in memory, one of every kind, with an option of every type; and a spec that is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge
from cdkit.parts import (
    Autoencoder,
    Backbone,
    Dataset,
    Encoder,
    Guider,
    Joiner,
    Metric,
    NonNegative,
    Positive,
    PositiveFloat,
    SampleShape,
    TextEncoder,
    Unit,
    Widths,
)
from cdkit.registry import Registry
from cdkit.spec import Spec, read_spec


class Words(TextEncoder):
    trainable = False

    def __init__(self, *, dim: Positive = 8, model: str = "small", padding: Literal["mask", "attend"] = "mask") -> None: ...


class Label(Encoder):
    def __init__(self, *, names: tuple[str, ...], copy: bool = False) -> None: ...


class Map(Encoder):
    def __init__(self, *, sample: SampleShape, scale: float = 1.0) -> None: ...


class Join(Joiner):
    def __init__(self, widths: tuple[Widths, ...], *, axis: Literal["tokens", "features"] = "tokens") -> None: ...


class Film:
    def __init__(
        self, streams: tuple[str, ...], widths: tuple[Widths, ...], *, heads: Positive = 4, gate: float | None = None
    ) -> None: ...

    def tap(self, site: Any) -> None: ...


class Net(Backbone):
    def __init__(
        self,
        mount: Any,
        sample: SampleShape,
        *,
        width: Positive = 32,
        mult: tuple[Positive, ...] = (1, 2),
        depth: Positive | tuple[NonNegative, ...] = 1,
        heads: Positive | None = None,
        dropout: Unit = 0.0,
        wide: bool = False,
        groups: Annotated[int, Ge(8)] = 32,
    ) -> None: ...


@dataclass(frozen=True)
class Ddim:
    eta: Unit = 0.0
    orders: list[int] = field(default_factory=lambda: [1, 2])


@dataclass(frozen=True)
class Cfg(Guider):
    scale: PositiveFloat = 3.0
    interval: tuple[float, float] = (0.0, 1000.0)
    scales: dict[str, float] = field(default_factory=dict)


class Kl(Autoencoder):
    def __init__(self, *, folder: str | None = None) -> None: ...


class Digits(Dataset):
    def __init__(self, *, fold: Literal[0, 1, 2] = 0) -> None: ...


@dataclass(frozen=True)
class Score(Metric):
    pictures: Positive = 100


PARTS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("encoder", "words"): Words,
    ("encoder", "label"): Label,
    ("encoder", "map"): Map,
    ("encoder", "join"): Join,
    ("injector", "film"): Film,
    ("injector", "add"): Film,
    ("backbone", "net"): Net,
    ("sampler", "ddim"): Ddim,
    ("guider", "cfg"): Cfg,
    ("autoencoder", "kl"): Kl,
    ("dataset", "digits"): Digits,
    ("metric", "score"): Score,
}
GOOD = """\
cdkit: 1
name: good
seed: 7
sample: {channels: 1, height: 8, width: 8}
conditions:
  text: {use: words, dim: 16}
  label:
    use: label
    names: [cat, dog]
injectors:
  - {use: film, streams: [text], heads: 2}
  - use: add
    streams: [text, label]
    sites: [down.*, mid]
backbone: {use: net, width: 64, mult: [1, 2, 4]}
diffusion: {schedule: cosine, prediction: v}
guidance: {use: cfg, scale: 2.5}
sampler: {use: ddim, eta: 0.5, steps: 20}
data: {use: digits}
train:
  steps: 100
  lr: 1e-4
evaluate:
  - {use: score}
"""


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry().extended(PARTS)


@pytest.fixture(scope="session")
def parts() -> Mapping[tuple[str, str], Callable[..., Any]]:
    return PARTS


@pytest.fixture
def good() -> str:
    return GOOD


@pytest.fixture
def read(tmp_path: Path, registry: Registry) -> Callable[..., Spec]:
    """read(text, *overrides, name="s.yaml"): writes the spec and reads it; bytes are written as they are."""

    def write_and_read(text: str | bytes, *overrides: str, name: str = "s.yaml", others: Mapping[str, str] | None = None) -> Spec:
        for other, content in (others or {}).items():
            (tmp_path / other).write_text(content, encoding="utf-8")
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_spec(path, overrides=overrides, registry=registry)

    return write_and_read


def said(problems: Sequence[Any], root: Path) -> list[str]:
    return [str(problem).replace(f"{root}/", "") for problem in problems]


@pytest.fixture
def complaints(read: Callable[..., Spec], tmp_path: Path) -> Callable[..., list[str]]:
    """complaints(text, ...): what reading says, a line each, with the folder taken off the file's name; the spec must be bad."""
    from cdkit.spec import SpecErrors

    def told(*args: Any, **options: Any) -> list[str]:
        with pytest.raises(SpecErrors) as caught:
            read(*args, **options)
        return said(caught.value.problems, tmp_path)

    return told
