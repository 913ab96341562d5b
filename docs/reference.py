"""The tables of docs/specs.md and docs/parts.md, made from the signatures and docstrings of what is installed.

    python docs/reference.py            # print every table
    python docs/reference.py --write    # put them between the markers of the two pages

A marker is `<!-- reference: NAME -->`; what follows it up to `<!-- /reference -->` is replaced.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from cdkit import testing
from cdkit.diffusion.process import Diffusion
from cdkit.hooks import KINDS
from cdkit.registry import Registry
from cdkit.spec.options import REQUIRED, Option, options_of
from cdkit.spec.roles import role_of
from cdkit.spec.sections import (
    AutoencoderKeys,
    EncoderKeys,
    HeadKeys,
    InjectorKeys,
    JoinerKeys,
    LoraSection,
    PartKeys,
    SamplerKeys,
    SampleSection,
    TrainSection,
)
from cdkit.spec.words import expected

DOCS = Path(__file__).parent
PAGES = ("specs.md", "parts.md")
BLOCK = re.compile(r"(<!-- reference: (\S+) -->\n).*?(<!-- /reference -->)", re.DOTALL)
SECTIONS: Mapping[str, Any] = {
    "head": HeadKeys,
    "sample": SampleSection,
    "condition": EncoderKeys,
    "joiner": JoinerKeys,
    "injector-keys": InjectorKeys,
    "sampler-keys": SamplerKeys,
    "autoencoder-keys": AutoencoderKeys,
    "other-keys": PartKeys,
    "diffusion": Diffusion,
    "lora": LoraSection,
    "train": TrainSection,
}
PARTLESS = ("command", "run", "claim")  # kinds whose parts have no keys
OURS = "cdkit"  # parts of other distributions are documented by those


def tables() -> dict[str, str]:
    """Markdown by marker: a table for every section, and for every kind its parts one by one."""
    registry = Registry.installed()
    made = {name: table(options_of(section).values()) for name, section in SECTIONS.items()}
    made |= {kind: "\n".join(parts(registry, kind)) for kind in KINDS if kind not in PARTLESS}
    return made | {"checks": checks()}


def checks() -> str:
    """What cdkit.testing holds each kind of part to."""
    groups = {name: getattr(testing, name) for name in testing.__all__ if name.endswith("_CHECKS")}
    rows = [
        f"| `{group}` | {name} | {cell(first_words(check))} |"
        for group, checks in groups.items()
        for name, check in checks.items()
    ]
    return "\n".join(["| of | check | what it holds |", "|---|---|---|", *rows, ""])


def first_words(documented: Any) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(documented) or "").split("\n\n")[0].split())


def table(options: Iterable[Option]) -> str:
    """One row a key: what it expects, in the words of our errors, and its default."""
    rows = [f"| `{option.name}` | {cell(expected(option.hint))} | {default(option)} |" for option in options]
    return "\n".join(["| key | expects | default |", "|---|---|---|", *rows, ""])


def default(option: Option) -> str:
    return "required" if option.default is REQUIRED else f"`{cell(written(option.default))}`"


def written(value: Any) -> str:
    """A default as a spec would have it."""
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=1000)
    return text.removesuffix("\n").removesuffix("\n...")


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def parts(registry: Registry, kind: str) -> Iterator[str]:
    """Every part of ours of a kind: what it is, in its own words, and its keys."""
    for name in registry.names(kind):
        if registry.provider(kind, name).partition("==")[0] == OURS:
            yield from part(name, kind, registry.get(kind, name))


def part(name: str, kind: str, factory: Any) -> Iterator[str]:
    """The first words of the part's module, the docstring of the part, its options."""
    module = inspect.getdoc(inspect.getmodule(factory)) or ""
    yield f"#### `{name}`\n"
    yield sentence(name, module.split("\n\n")[0]) + "\n"
    yield (inspect.getdoc(factory) or "").strip() + "\n"
    options = options_of(factory, role_of(kind, factory))
    yield table(options.values()) if options else "It has no keys of its own.\n"


def sentence(name: str, text: str) -> str:
    """`film`: the condition scales …  ->  The condition scales …"""
    words = re.sub(rf"^`?{re.escape(name)}`?: ", "", text)
    return words[:1].upper() + words[1:]


def filled(page: str, made: Mapping[str, str]) -> str:
    """The page with what stands between its markers made anew."""
    return BLOCK.sub(lambda found: f"{found[1]}{made[found[2]]}\n{found[3]}", page)


def main(arguments: list[str]) -> None:
    made = tables()
    if "--write" not in arguments:
        print("\n".join(f"<!-- reference: {name} -->\n{text}\n<!-- /reference -->\n" for name, text in made.items()))
        return
    for name in PAGES:
        path = DOCS / name
        path.write_text(filled(path.read_text(encoding="utf-8"), made), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
