"""A spec written out: plain values with every default, as YAML, and the digest of what decides its weights' meaning."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import yaml

from cdkit.spec.scalars import resolve

if TYPE_CHECKING:
    from cdkit.spec.model import ConditionSpec, InjectorSpec, PartSpec, Spec

OF_TRAINING = frozenset(
    {"weighting", "gamma", "times", "clip"}
)  # of the diffusion process: no weight means anything else by them


def filled(spec: Spec) -> dict[str, Any]:
    """Plain values, sections in the order of the documentation; what a spec leaves out stays out."""
    whole: dict[str, Any] = {"cdkit": 1, "name": spec.name, "seed": spec.seed, "sample": asdict(spec.sample)}
    if spec.task != "denoise":
        whole["task"] = spec.task
    whole["conditions"] = {name: condition(c) for name, c in spec.conditions.items()}
    whole["injectors"] = [injector(i) for i in spec.injectors]
    whole["backbone"] = part(spec.backbone)
    whole["diffusion"] = plain(spec.diffusion)
    if spec.autoencoder is not None:
        whole["autoencoder"] = {**part(spec.autoencoder.part), "run": spec.autoencoder.run}
    optional = {"guidance": spec.guidance, "data": spec.data}
    whole |= {key: part(value) for key, value in optional.items() if value is not None}
    if spec.sampler is not None:
        sampler = spec.sampler
        core = {"steps": sampler.steps, "spacing": sampler.spacing, "ends": sampler.ends}
        whole["sampler"] = {**part(sampler.part), **core}
    if spec.approximations:
        whole["approximate"] = [part(approximation) for approximation in spec.approximations]
    if spec.lora is not None:
        whole["lora"] = plain(asdict(spec.lora))
    whole["train"] = plain(asdict(spec.train))
    whole["evaluate"] = [part(metric) for metric in spec.evaluate]
    whole["callbacks"] = [part(callback) for callback in spec.callbacks]
    return whole


def condition(spec: ConditionSpec) -> dict[str, Any]:
    core: dict[str, Any] = (
        {"of": list(spec.of)} if spec.of else {"column": spec.column, "dropout": spec.dropout, "trainable": spec.trainable}
    )
    return {**part(spec.part), **core}


def injector(spec: InjectorSpec) -> dict[str, Any]:
    return {**part(spec.part), "name": spec.name, "streams": list(spec.streams), "sites": list(spec.sites)}


def part(spec: PartSpec) -> dict[str, Any]:
    """`here:` written out: a filled spec lies in another folder than what it was filled from."""
    return {"use": spec.use, **plain({key: absolute(value, spec.keywords[key]) for key, value in spec.options.items()})}


def absolute(value: Any, meant: Any) -> Any:
    return value if value is meant else str(Path(meant).resolve())


def plain(value: Any) -> Any:
    """Tuples as lists, mappings as dicts, paths as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, PurePath) else value


def digest(spec: Spec) -> str:
    """Two specs of one digest give every weight the same meaning: shapes, encoders, methods, network, process."""
    process = {key: value for key, value in plain(spec.diffusion).items() if key not in OF_TRAINING}
    meaning = {
        "sample": asdict(spec.sample),
        "conditions": {name: {**meant(c.part), "of": list(c.of)} for name, c in spec.conditions.items()},
        "injectors": [
            {**meant(i.part), "name": i.name, "streams": list(i.streams), "sites": list(i.sites)} for i in spec.injectors
        ],
        "backbone": meant(spec.backbone),
        "autoencoder": meant(spec.autoencoder.part) if spec.autoencoder else None,
        "diffusion": process,
    }
    if spec.lora is not None:
        meaning["lora"] = plain(asdict(spec.lora))
    canonical = json.dumps(meaning, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def meant(spec: PartSpec) -> dict[str, Any]:
    """A part by who provides it, so that `unet` and `cdkit/unet` are one; the version is no part of the meaning."""
    return {**plain(spec.options), "use": f"{spec.provider.partition('==')[0]}/{spec.name}"}


def to_yaml(spec: Spec) -> str:
    """Block style outside, one line for what is innermost."""
    return yaml.dump(filled(spec), Dumper=Plain, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)


class Plain(yaml.SafeDumper):
    """PyYAML's writer for a reader of YAML 1.2: it quotes what would be no text there, and uses no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _text(dumper: Plain, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if _stays_text(text) else '"')


BREAKS = frozenset("\x85\u2028\u2029\ufeff")  # that YAML 1.1 folds into a blank where they stand without quotes


def _stays_text(text: str) -> bool:
    try:
        return isinstance(resolve(text), str) and not BREAKS & set(text)
    except OverflowError:
        return False


Plain.add_representer(str, _text)
