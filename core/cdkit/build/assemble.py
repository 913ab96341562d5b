"""assemble: a spec's parts -> a Model. On the meta device it costs no memory and no weights; it finds every mistake."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from cdkit.build.adapt import adapt
from cdkit.build.bounded import bounded
from cdkit.build.mount import Mounted, Mounting
from cdkit.build.undrawn import Undrawn
from cdkit.diffusion.process import Diffusion
from cdkit.diffusion.random import derive
from cdkit.errors import CdkitError, EnvironmentFault, SpecError
from cdkit.model import Model, Reader
from cdkit.parts import Approximation, Autoencoder, Backbone, Encoder, Joiner, SampleShape, Widths

if TYPE_CHECKING:
    from cdkit.spec import ConditionSpec, InjectorSpec, PartSpec, Spec
    from cdkit.spec.model import Place


def assemble(
    spec: Spec, *, device: str | torch.device = "cpu", readers: Mapping[str, Reader] | None = None, drawn: bool = True
) -> Model:
    """Make every part of a spec and mount its injectors. Weights are drawn on the CPU, keyed by (spec.seed, part).

    device="meta" makes shapes only. readers: encoders that are already made, by condition. drawn: False leaves the weights
    of encoders and backbone unset, for whoever fills them all at once. Raises SpecError with the place of a part that cannot
    be made, of an injector that finds no site, and of a site pattern that matches none.
    """
    target = torch.device(device)
    with torch.device("meta" if target.type == "meta" else "cpu"):
        with nullcontext() if drawn and target.type != "meta" else Undrawn():
            readers = make_readers(spec, readers or {})
            widths = {name: reader.encoder.widths for name, reader in readers.items()}
            made = {injector.name: make_injector(injector, spec, widths) for injector in spec.injectors}
            mounting = Mounting(made, spec.seed)
            backbone = make_backbone(spec, mounting)
            autoencoder = make_autoencoder(spec)
        diffusion = make_diffusion(spec)
    check_sites(spec, mounting)
    make_approximations(spec, spec.approximations, backbone)
    whole = Model(
        spec,
        readers=readers,
        backbone=backbone,
        slots=tuple(mounting.slots.values()),
        streams={injector.name: injector.streams for injector in spec.injectors},
        diffusion=diffusion,
        autoencoder=autoencoder,
    )
    model = learning(whole, drawn=drawn and target.type != "meta")
    return model if target.type in {"meta", "cpu"} else model.to(target)


def learning(model: Model, *, drawn: bool) -> Model:
    """With those weights frozen that its spec's task does not train, and the LoRA that it asks for."""
    if model.autoencoder is not None and model.spec.task == "denoise":
        freeze(model.autoencoder)
    if model.spec.task == "autoencoder":
        freeze(model.backbone)
        freeze(model.encoders)
    if model.spec.lora is not None:
        with nullcontext() if drawn else Undrawn():
            adapt(model, model.spec)
    return model


@contextmanager
def blamed(place: Place, what: str) -> Generator[None]:
    """A part's ValueError becomes a SpecError at the place that asked for it, a tensor beyond 64 bits an EnvironmentFault."""
    try:
        with bounded():
            yield
    except CdkitError:
        raise
    except (ValueError, TypeError) as error:
        raise SpecError(f"{place}: {what}: {error}") from error
    except RuntimeError as error:
        if "overflow" not in str(error).lower():
            raise
        raise EnvironmentFault(
            f"{place}: {what}: one of its tensors needs more bytes than 64 bits can count", hint="make it narrower"
        ) from error


@contextmanager
def state_of(seed: int, *key: str) -> Generator[None]:
    """Random state of its own for one part, so that no part's weights depend on what was made before it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, *key))
        yield


def make_readers(spec: Spec, made: Mapping[str, Reader]) -> dict[str, Reader]:
    """Encoders first, then joiners in an order in which their parts come before them."""
    encoders = {name: condition for name, condition in spec.conditions.items() if not condition.of}
    readers = {name: made.get(name) or make_encoder(condition, spec) for name, condition in encoders.items()}
    waiting = {name: condition for name, condition in spec.conditions.items() if condition.of}
    while waiting:
        ready = [name for name, condition in waiting.items() if all(part in readers for part in condition.of)]
        if not ready:
            first = next(iter(waiting.values()))
            raise SpecError(f"{first.place}: conditions join each other in a circle: {', '.join(waiting)}")
        for name in ready:
            readers[name] = make_joiner(waiting.pop(name), spec, readers)
    return readers


def make_encoder(condition: ConditionSpec, spec: Spec) -> Reader:
    """One condition's encoder, its weights frozen where the spec or the encoder says so."""
    cls = condition.part.factory()
    options = condition.part.keywords
    if "sample" in signature(cls).parameters:
        options["sample"] = sample_shape(spec)
    with blamed(condition.place, f"conditions.{condition.name}"), state_of(spec.seed, "encoder", condition.name):
        encoder: Encoder = cls(**options)
    trainable = cls.trainable if condition.trainable is None else condition.trainable
    if not trainable:
        freeze(encoder)
    return Reader(encoder, column=condition.column)


def make_joiner(condition: ConditionSpec, spec: Spec, readers: Mapping[str, Reader]) -> Reader:
    widths = tuple(readers[part].encoder.widths for part in condition.of)
    with blamed(condition.place, f"conditions.{condition.name}"), state_of(spec.seed, "encoder", condition.name):
        joiner: Joiner = condition.part.factory()(widths, **condition.part.keywords)
    return Reader(joiner, of=condition.of)


def freeze(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.requires_grad_(False)


def make_injector(injector: InjectorSpec, spec: Spec, widths: Mapping[str, Widths]) -> Mounted:
    """One injector, told the names and widths of its streams; what it cannot use is blamed on both lines."""
    sources = "; ".join(
        f"{name!r} comes from {spec.conditions[name].part.use} at {spec.conditions[name].place}, which offers "
        f"{offers(widths[name])}"
        for name in injector.streams
    )
    try:
        with blamed(injector.place, f"injectors.{injector.name}"):
            made = injector.part.factory()(
                injector.streams, tuple(widths[name] for name in injector.streams), **injector.part.keywords
            )
    except SpecError as error:
        raise SpecError(f"{error}; {sources}", hint=error.hint) from error
    return Mounted(made, injector.sites, injector.place)


def offers(widths: Widths) -> str:
    """Widths in words: "tokens of width 768, pooled of width 768"."""
    forms = [f"{form} of width {width}" for form, width in widths._asdict().items() if width]
    return ", ".join(forms) or "nothing"


def make_backbone(spec: Spec, mounting: Mounting) -> Backbone:
    with blamed(spec.backbone.place, "backbone"), state_of(spec.seed, "backbone"):
        backbone: Backbone = spec.backbone.factory()(mounting, sample_shape(spec), **spec.backbone.keywords)
    check_multiple(spec, backbone)
    return backbone


def check_multiple(spec: Spec, backbone: Backbone) -> None:
    """H and W must suit the network's strides; the nearest sizes that do are named."""
    step = backbone.multiple
    for side in ("height", "width"):
        length: int = getattr(spec.sample, side)
        if length % step:
            below, above = length // step * step, (length // step + 1) * step
            raise SpecError(
                f"{spec.backbone.place}: backbone: sample.{side} is {length}, which is no multiple of {step}",
                hint=f"take {' or '.join(str(size) for size in (below, above) if size)}",
            )


def make_autoencoder(spec: Spec) -> Autoencoder | None:
    if spec.autoencoder is None:
        return None
    part = spec.autoencoder.part
    with blamed(part.place, "autoencoder"), state_of(spec.seed, "autoencoder"):
        autoencoder: Autoencoder = part.factory()(**part.keywords)
    if spec.task == "autoencoder" and not autoencoder.trainable:
        raise SpecError(
            f"{part.place}: autoencoder: {part.use} comes with its weights and cannot be trained", hint="take {use: tiny}"
        )
    if autoencoder.channels != spec.sample.channels:
        raise SpecError(
            f"{part.place}: autoencoder: its latents have {autoencoder.channels} channels, but sample.channels "
            f"is {spec.sample.channels}"
        )
    return autoencoder


def make_diffusion(spec: Spec) -> Diffusion:
    options: dict[str, Any] = dict(spec.diffusion)
    # Tables are numbers, not weights: they are needed on the meta device too.
    with blamed(spec.place, "diffusion"), torch.device("cpu"):
        return Diffusion(**options)


def make_approximations(spec: Spec, parts: Sequence[PartSpec], network: nn.Module) -> tuple[Approximation, ...]:
    """Each of them, which has found its places in the network; one that finds none would be silently ignored."""
    made: list[Approximation] = []
    for part in parts:
        with blamed(part.place, f"approximate: {part.use}"):
            made.append(part.factory()(**part.keywords))
            made[-1].detours(network, sample_shape(spec))
    return tuple(made)


def sample_shape(spec: Spec) -> SampleShape:
    return SampleShape(spec.sample.channels, spec.sample.height, spec.sample.width)


def check_sites(spec: Spec, mounting: Mounting) -> None:
    """An injector that fills no place, or a pattern that matches none, would be silently ignored: refuse it."""
    kinds = ", ".join(dict.fromkeys(site.kind for site in mounting.sites)) or "none"
    for injector in spec.injectors:
        place = injector.part.places.get("sites", injector.place)
        for pattern in injector.sites:
            if not any(Mounted(mounting.injectors[injector.name].injector, (pattern,)).wants(s) for s in mounting.sites):
                raise SpecError(
                    f"{place}: injectors.{injector.name}.sites: {pattern!r} matches no site of {spec.backbone.use}",
                    hint=f"its sites are {', '.join(site.name for site in mounting.sites)}",
                )
        if not mounting.sites_of(injector.name):
            raise SpecError(
                f"{injector.place}: injectors.{injector.name}: {injector.part.use} finds no site in {spec.backbone.use} "
                f"({spec.backbone.place}), so it would be silently ignored",
                hint=f"the kinds of site there are {kinds}",
            )
