"""explain: what one key of a spec is: what it expects, its default, whose it is, and what its docstring says of it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from cdkit.errors import PluginError, UsageError
from cdkit.hooks import KINDS
from cdkit.registry import Registry
from cdkit.registry.names import did_you_mean
from cdkit.spec.nodes import Node, Table, below, text_of
from cdkit.spec.options import REQUIRED, Option, options_of
from cdkit.spec.roles import KEYS, core_keys, keys_of, role_of
from cdkit.spec.sections import HeadKeys, LoraSection, PartKeys, SampleSection, TrainSection
from cdkit.spec.words import expected

KIND_OF: Mapping[str, str] = {
    "conditions": "encoder",
    "injectors": "injector",
    "backbone": "backbone",
    "autoencoder": "autoencoder",
    "guidance": "guider",
    "approximate": "approximation",
    "sampler": "sampler",
    "data": "dataset",
    "evaluate": "metric",
    "callbacks": "callback",
}  # which part a spec names in which section


AND = "(?:, | or )"  # between keys of which one thing is said
END = r"(?=[.;] [a-z_, ]+: |\. Raises |$)"


class Explained(NamedTuple):
    """A key for a person. `default`: REQUIRED where there is none; `doc`: "" where nobody says more."""

    key: str
    expects: str
    default: Any
    provider: str
    doc: str


def explain(key: str, registry: Registry, root: Table | None = None) -> Explained:
    """A key by its section (`train.lr`) or its part (`backbone.unet.width`, `injectors.use=film.inner`), or a key that every part
    of a kind takes (`injectors.streams`). root: a spec in which the key may be a path (`injectors.0.inner`). UsageError that
    names what there is.
    """
    section, _, rest = key.partition(".")
    found = sections()
    if section in found:
        return of_section(key, rest, found[section])
    if key in options_of(HeadKeys):
        return told(key, options_of(HeadKeys)[key], "cdkit", HeadKeys)
    kind = KIND_OF.get(section, section)
    if kind not in KINDS:
        known = [*found, *options_of(HeadKeys), *KIND_OF]
        raise UsageError(f"{key!r} is no key{did_you_mean(section, known)}", hint=f"sections are {', '.join(known)}")
    core = KEYS.get(kind, PartKeys)
    if rest in options_of(core):
        return told(key, options_of(core)[rest], "cdkit", core)
    return of_part(key, kind, chosen(rest) or at(root, key) or rest, registry)


def chosen(rest: str) -> str:
    """`use=film.inner`, behind whatever: `film.inner`; "" where no `use=` is written."""
    _, use, part = f".{rest}".rpartition(".use=")
    return part if use else ""


def at(root: Table | None, path: str) -> str:
    """`injectors.0.inner` in a spec whose first injector is film: `film.inner`; "" where the path leads to no part."""
    node: Node | None = root
    *steps, name = path.split(".")
    for step in steps:
        node = below(node, step)
    use = text_of(node.get("use")) if isinstance(node, Table) else None
    return f"{use}.{name}" if use else ""


def sections() -> dict[str, Any]:
    """The sections that belong to no part."""
    from cdkit.diffusion.process import Diffusion

    return {"sample": SampleSection, "diffusion": Diffusion, "lora": LoraSection, "train": TrainSection}


def of_section(key: str, name: str, section: Any) -> Explained:
    options = options_of(section)
    if name not in options:
        raise UsageError(f"{key!r} is no key{did_you_mean(name, options)}", hint=f"its keys are {', '.join(options)}")
    return told(key, options[name], "cdkit", section)


def of_part(key: str, kind: str, rest: str, registry: Registry) -> Explained:
    """`rest`: the part's name and its option; part names may hold dots themselves."""
    use, _, name = rest.rpartition(".")
    if not use:
        raise UsageError(f"{key!r} names no option of a part", hint=hinted(kind, rest, registry))
    factory = registry.get(kind, use)
    keys = keys_of(kind, factory).options
    if name not in keys:
        raise UsageError(
            f"{kind} {use!r} has no option {name!r}{did_you_mean(name, keys)}", hint=f"its keys are {', '.join(keys)}"
        )
    role = role_of(kind, factory)
    core = name in core_keys(role)
    return told(key, keys[name], "cdkit" if core else registry.provider(kind, use), KEYS.get(role, PartKeys) if core else factory)


def hinted(kind: str, word: str, registry: Registry) -> str:
    """What a word alone may have meant: a part, whose keys are listed, or an option, with the parts that have it."""
    section = next((section for section, of in KIND_OF.items() if of == kind), kind)
    if word in registry.names(kind):
        return f"its keys are {', '.join(keys_of(kind, registry.get(kind, word)).options)}: write {section}.{word}.KEY"
    owners = [name for name in registry.names(kind) if word in takes(kind, name, registry)]
    examples = [f"{section}.{name}.{word}" for name in owners] or [f"{section}.NAME.KEY"]
    return f"write {' or '.join(examples)}"


def takes(kind: str, name: str, registry: Registry) -> Mapping[str, Option]:
    """The options of a part; none where its plugin cannot be used."""
    try:
        return keys_of(kind, registry.get(kind, name)).options
    except (PluginError, TypeError):
        return {}


def told(key: str, option: Option, provider: str, owner: Any) -> Explained:
    return Explained(key, expected(option.hint) or "a value", option.default, provider, said_of(owner, option.name))


def said_of(owner: Any, name: str) -> str:
    """What the docstring of a class, or of the nearest class above it, says of an option; "" where none does."""
    owners = owner.__mro__[:-1] if inspect.isclass(owner) else (owner,)
    return next((said for one in owners if (said := sentences(docstring(one), name))), "")


def docstring(owner: Any) -> str:
    """What its author wrote; a signature, which is what a dataclass without a docstring is given, is none."""
    doc = inspect.cleandoc(owner.__doc__ or "")
    return "" if doc.startswith(f"{getattr(owner, '__name__', '')}(") else doc


def sentences(doc: str, name: str) -> str:
    """What a docstring says after `name:`, up to the next `other:`, to what is raised, or to the paragraph's end."""
    said = re.compile(rf"(?:^|[.;,] )(?:[a-z_]+{AND})*{re.escape(name)}(?:{AND}[a-z_]+)*: (.*?){END}")
    found = (said.search(" ".join(paragraph.split())) for paragraph in doc.split("\n\n"))
    return next((match[1].rstrip(".") + "." for match in found if match), "")


def lines(found: Explained) -> list[str]:
    """The explanation for a person."""
    default = "required" if found.default is REQUIRED else json.dumps(found.default, ensure_ascii=False, default=str)
    rows = [f"{found.key}  ({found.provider})", f"  expects  {found.expects}", f"  default  {default}"]
    return [*rows, f"  {found.doc}"] if found.doc else rows
