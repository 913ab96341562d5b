"""read_spec: a spec file -> a Spec, or everything that is wrong in it at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cdkit.registry import Registry
from cdkit.registry.names import letters, quoted
from cdkit.spec.cross import crossed
from cdkit.spec.draft import Draft, Part
from cdkit.spec.keys import section_keys
from cdkit.spec.layers import layered
from cdkit.spec.model import AutoencoderSpec, ConditionSpec, InjectorSpec, SamplerSpec, Spec
from cdkit.spec.nodes import Node, Scalar, Table, is_null, named
from cdkit.spec.problem import Problem, refusal
from cdkit.spec.roles import is_text_encoder
from cdkit.spec.sections import HeadKeys, LoraSection, SampleSection, TrainSection
from cdkit.spec.validate import joined, missing_section, unknown_key, validated
from cdkit.version import VERSION

SCHEMA = 1
A_SPEC = f"a spec (cdkit=={VERSION})"
SECTIONS = (
    "cdkit", "name", "extends", "seed", "task", "sample", "conditions", "injectors", "backbone", "autoencoder", "diffusion",
    "guidance", "sampler", "approximate", "data", "lora", "train", "evaluate", "callbacks",
)  # fmt: skip
IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,63}")
FILE_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9_-]{1,32})*")


def read_spec(source: Path | str, *, overrides: Sequence[str] = (), registry: Registry | None = None) -> Spec:
    """Read and check a spec: a path, or a text of more than one line. overrides: `backbone.width=64`, over all that it says.

    The plugins that it names are imported, and no others. Raises SpecErrors with every problem and its place (BrokenParts if
    all of them are plugins that cannot be used), and UsageError if there is no such file.
    """
    root, problems = layered(source, overrides)
    return read_tree(root, problems, registry or Registry.installed())


def read_tree(root: Table, problems: Sequence[Problem], registry: Registry) -> Spec:
    """A whole tree -> a Spec. problems: what is known to be wrong in it already. SpecErrors holds them and all others."""
    check_schema(root)
    draft = Draft(registry)
    spec = drafted(draft, root)
    draft.problems += crossed(root)
    unread = {problem.place for problem in problems if problem.code in ("range", "characters")}
    draft.problems = [*problems] + [problem for problem in draft.problems if problem.place not in unread]
    if draft.problems or spec is None:
        raise refusal(draft.problems)
    return spec


def check_schema(root: Table) -> None:
    """A spec of a later schema is told so before anything else is held against it."""
    version = root.get("cdkit")
    if isinstance(version, Scalar) and type(version.value) is int and version.value > SCHEMA:
        message = f"written for schema {version.value}; this reads <= {SCHEMA}"
        raise refusal([Problem(version.place, "cdkit", message, "update cdkit", "schema")])


def drafted(draft: Draft, root: Table) -> Spec | None:
    """Every section, in the order of the file; None if one of them is wrong."""
    head = read_head(draft, root)
    sample = read_sample(draft, root)
    conditions = read_conditions(draft, root.get("conditions"))
    injectors = read_injectors(draft, root.get("injectors"))
    backbone = draft.part("backbone", root.get("backbone"), "backbone")
    diffusion = read_diffusion(draft, root.get("diffusion"))
    single = {key: draft.part(kind, root.get(key), key) for key, kind in SINGLE.items()}
    lora = read_lora(draft, root.get("lora"))
    train = draft.section(root.get("train"), TrainSection, "train")
    approximations = [part for _, part in draft.parts("approximation", root.get("approximate"), "approximate")]
    metrics = [part for _, part in draft.parts("metric", root.get("evaluate"), "evaluate")]
    callbacks = [part for _, part in draft.parts("callback", root.get("callbacks"), "callbacks")]
    if draft.problems or head is None or sample is None or backbone is None or diffusion is None or train is None:
        return None
    return Spec(
        name=head["name"],
        seed=head["seed"],
        sample=sample,
        conditions=conditions,
        injectors=injectors,
        backbone=backbone.spec,
        autoencoder=autoencoder_of(single["autoencoder"]),
        diffusion=diffusion,
        guidance=spec_of(single["guidance"]),
        sampler=sampler_of(single["sampler"]),
        data=spec_of(single["data"]),
        train=TrainSection(**train),
        evaluate=[part.spec for part in metrics if part],
        place=root.place,
        places={key: entry.node.place for key, entry in root.entries.items() if not entry.deletes},
        registry=draft.registry,
        lora=lora,
        task=head["task"],
        callbacks=[part.spec for part in callbacks if part],
        approximations=[part.spec for part in approximations if part],
    )


SINGLE = {"autoencoder": "autoencoder", "guidance": "guider", "sampler": "sampler", "data": "dataset"}


def read_head(draft: Draft, root: Table) -> dict[str, Any] | None:
    """`cdkit`, `name`, `seed` and `task`, and the keys at the top that there are not."""
    live = {key: entry for key, entry in root.entries.items() if not entry.deletes}
    draft.problems += [
        unknown_key(key, e.place, "", dict.fromkeys(SECTIONS), A_SPEC) for key, e in live.items() if key not in SECTIONS
    ]
    draft.problems += [missing_section(root, key) for key in ("sample", "backbone") if key not in live or is_null(live[key].node)]
    keys = section_keys(HeadKeys)
    values, problems = validated(Table({k: e for k, e in live.items() if k in keys.options}, root.place), keys, "", A_SPEC)
    draft.problems += problems
    if problems:
        return None
    check_name(draft, root, values["name"])
    return values


def check_name(draft: Draft, root: Table, name: str) -> None:
    """A spec's name is a folder's too."""
    node = root.get("name")
    if node is not None and not FILE_STEM.fullmatch(name):
        message = f"{quoted(name)} is no name{holds(name)}; expected letters, digits, `_` and `-`, for it names a folder too"
        draft.blame(node, "name", message, code="name")


def holds(name: str) -> str:
    odd = letters(name)
    return f": it holds {odd}" if odd else ""


def read_sample(draft: Draft, root: Table) -> SampleSection | None:
    node = root.get("sample")
    values = None if node is None else draft.section(node, SampleSection, "sample")
    return None if values is None else SampleSection(**values)


def read_lora(draft: Draft, node: Node | None) -> LoraSection | None:
    """None where none is written: nothing is adapted unless a spec says so."""
    values = None if node is None or is_null(node) else draft.section(node, LoraSection, "lora")
    return None if values is None else LoraSection(**values)


def read_diffusion(draft: Draft, node: Node | None) -> Mapping[str, Any] | None:
    """The diffusion process; pairs of options that exclude each other are its own to refuse."""
    from cdkit.diffusion.process import Diffusion

    values = draft.section(node, Diffusion, "diffusion")
    if values is None:
        return None
    try:
        Diffusion(**values)
    except ValueError as error:
        assert node is not None, "the defaults of Diffusion exclude each other"
        draft.blame(node, "diffusion", str(error), code="value")
    return values


def read_conditions(draft: Draft, node: Node | None) -> dict[str, ConditionSpec]:
    """Conditions by name, those that are right."""
    if node is None or is_null(node):
        return {}
    if not isinstance(node, Table):
        draft.blame(node, "conditions", f"{named(node)}; expected a mapping of names to encoders", code="type")
        return {}
    read: dict[str, ConditionSpec] = {}
    for name, entry in node.entries.items():
        if entry.deletes:
            continue
        path = joined("conditions", name)
        check_identifier(draft, entry, name, path)
        if is_null(entry.node):
            draft.blame(entry.node, path, "nothing; expected a mapping with `use`", code="type")
        part = draft.part("encoder", entry.node, path)
        if part is not None:
            read[name] = condition_of(name, part)
    return read


def check_identifier(draft: Draft, node: Any, name: str, path: str) -> None:
    """Names of conditions and injectors are names of modules and of files."""
    if not IDENTIFIER.fullmatch(name):
        message = f"{quoted(name)} is no name{holds(name)}; expected lower-case letters, digits and `_`"
        draft.blame(node, path, message, code="name")


def condition_of(name: str, part: Part) -> ConditionSpec:
    core = part.core
    if "of" in core:
        return ConditionSpec(name, part.spec, "", 0.0, None, core["of"], part.spec.place)
    column = core["column"] or ("text" if is_text_encoder(part.factory) else name)
    trainable = part.factory.trainable if core["trainable"] is None else core["trainable"]
    return ConditionSpec(name, part.spec, column, core["dropout"], trainable, (), part.spec.place)


def read_injectors(draft: Draft, node: Node | None) -> list[InjectorSpec]:
    read: list[InjectorSpec] = []
    for index, (item, part) in enumerate(draft.parts("injector", node, "injectors")):
        if part is None:
            continue
        name = part.core["name"] or part.spec.name.replace("-", "_").replace(".", "_")
        check_identifier(draft, item, name, f"injectors.{index}.name")
        read.append(InjectorSpec(name, part.spec, part.core["streams"], part.core["sites"], part.spec.place))
    return read


def autoencoder_of(part: Part | None) -> AutoencoderSpec | None:
    return None if part is None else AutoencoderSpec(part.spec, part.core["run"])


def sampler_of(part: Part | None) -> SamplerSpec | None:
    return None if part is None else SamplerSpec(part.spec, part.core["steps"], part.core["spacing"], part.core["ends"])


def spec_of(part: Part | None) -> Any:
    return None if part is None else part.spec
