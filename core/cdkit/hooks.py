"""The door: one hook a kind. A plugin is a module that implements one of these and an entry point that names it.

    [project.entry-points.cdkit]
    "encoder.mine" = "cdkit_mine.encoder"

The entry point's name is `kind.name`; its module is imported only when a spec names the part.
A hook returns the class (or function) that makes the part; the type hints of its constructor are its keys in a spec.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import click

    from cdkit.parts import (
        Approximation,
        Autoencoder,
        Backbone,
        Callback,
        ConditioningInjector,
        Dataset,
        Encoder,
        Format,
        Guider,
        Joiner,
        Metric,
        Sampler,
    )

GROUP = "cdkit"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

# A specification has no body: pluggy reads its signature alone. mypy is told so, hook by hook.


@hookspec
def cdkit_encoder() -> type[Encoder] | type[Joiner]:  # type: ignore[empty-body]
    """Raw values of a condition -> a stream (`encoder.NAME`).

    Takes nothing. A class, made as cls(**options); a Joiner as cls(widths, **options).
    """


@hookspec
def cdkit_injector() -> Callable[..., ConditioningInjector]:  # type: ignore[empty-body]
    """A conditioning method (`injector.NAME`).

    Takes nothing. Called as made(streams, widths, **options) with the names and Widths of the streams that it reads.
    """


@hookspec
def cdkit_backbone() -> type[Backbone]:  # type: ignore[empty-body]
    """A denoising network (`backbone.NAME`).

    Takes nothing. A class, made as cls(mount, sample, **options).
    """


@hookspec
def cdkit_sampler() -> Callable[..., Sampler]:  # type: ignore[empty-body]
    """Noise and a denoiser -> a picture (`sampler.NAME`).

    Takes nothing. Called as made(**options); a frozen dataclass whose fields are its options.
    """


@hookspec
def cdkit_guider() -> Callable[..., Guider]:  # type: ignore[empty-body]
    """Combines what is drawn with and without the conditions (`guider.NAME`).

    Takes nothing. Called as made(**options).
    """


@hookspec
def cdkit_approximation() -> Callable[..., Approximation]:  # type: ignore[empty-body]
    """A cheaper way through a network while it draws (`approximation.NAME`).

    Takes nothing. Called as made(**options); a frozen dataclass whose fields are its options.
    """


@hookspec
def cdkit_autoencoder() -> type[Autoencoder]:  # type: ignore[empty-body]
    """Pixels <-> latents (`autoencoder.NAME`).

    Takes nothing. A class, made as cls(**options).
    """


@hookspec
def cdkit_dataset() -> type[Dataset]:  # type: ignore[empty-body]
    """Pictures with what is said of them (`dataset.NAME`).

    Takes nothing. A class, made as cls(**options).
    """


@hookspec
def cdkit_metric() -> Callable[..., Metric]:  # type: ignore[empty-body]
    """A score (`metric.NAME`).

    Takes nothing. Called as made(**options); a frozen dataclass whose fields are its options.
    """


@hookspec
def cdkit_callback() -> Callable[..., Callback]:  # type: ignore[empty-body]
    """Hears how a training goes (`callback.NAME`).

    Takes nothing. Called as made(**options); a frozen dataclass whose fields are its options.
    """


@hookspec
def cdkit_command() -> click.Command:  # type: ignore[empty-body]
    """A verb of the command line (`command.NAME`): `cdkit NAME`.

    Takes nothing. A click.Command, imported when it is called; its name is none that cdkit has a verb of.
    """


@hookspec
def cdkit_format() -> type[Format]:  # type: ignore[empty-body]
    """How others keep the same models on disk (`format.NAME`).

    Takes nothing. A class, made as cls().
    """


@hookspec
def cdkit_run() -> Path:  # type: ignore[empty-body]
    """The folder of a trained run that ships in a package (`run.NAME`).

    Takes nothing. A path, not a class: what lies there is data.
    """


@hookspec
def cdkit_claim() -> Path:  # type: ignore[empty-body]
    """The file of a published finding that can be tried (`claim.NAME`).

    Takes nothing. A path, not a class: what lies there is data.
    """


@dataclass(frozen=True, slots=True)
class Trial:
    """How a part is tried by `cdkit plugins check`, where its own defaults will not do.

    options: what it is made with; small networks are tried fast. streams: how many an injector reads. exceptions: checks that it
    need not pass, each with its reason; one that it passes all the same is an error. untried: why it cannot be tried at all.
    """

    options: Mapping[str, Any] = field(default_factory=dict[str, "Any"])
    streams: int = 1
    exceptions: Mapping[str, str] = field(default_factory=dict[str, str])
    untried: str = ""


@hookspec
def cdkit_trial() -> Trial:  # type: ignore[empty-body]
    """How `cdkit plugins check` tries the part whose hook stands beside this one; without it, with its own defaults.

    Takes nothing. Returns a Trial.
    """


KINDS = (
    "encoder",
    "injector",
    "backbone",
    "sampler",
    "guider",
    "approximation",
    "autoencoder",
    "dataset",
    "metric",
    "callback",
    "command",
    "format",
    "run",
    "claim",
)
