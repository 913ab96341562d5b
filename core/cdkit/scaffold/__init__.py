"""scaffold: a package for a part of your own, that works before you change a line of it. `cdkit plugins new` writes it."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from pathlib import Path
from string import Template

from cdkit.errors import UsageError
from cdkit.scaffold.first import first_prompt, first_spec

TEMPLATES = Path(__file__).parent / "templates"
NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
KINDS = {
    "text_encoder": "encoder",
    "encoder": "encoder",
    "injector": "injector",
    "backbone": "backbone",
    "sampler": "sampler",
    "guider": "guider",
    "approximation": "approximation",
    "autoencoder": "autoencoder",
    "dataset": "dataset",
    "metric": "metric",
    "callback": "callback",
    "command": "command",
}  # what can be asked for -> the kind that its entry point names
UNSAID = ("autoencoder", "command")  # kinds whose first spec would need a training before it, or that no spec names


def scaffold(name: str, what: str, out: Path) -> Path:
    """Write the package `out/name`; its folder. UsageError for a name that no package can have, and for a folder that exists."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UsageError(f"{name!r} is no name for a package", hint="lower-case letters, digits and -, as in my-encoder")
    folder = out / name
    if folder.exists():
        raise UsageError(f"{folder} exists already; nothing was written", hint="take another name, or another --out")
    words = said(name, what)
    for path, text in files(what, words):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def said(name: str, what: str) -> dict[str, str]:
    """What the templates leave open."""
    part = name.removeprefix("cdkit-")
    return {
        "name": name,
        "package": name.replace("-", "_"),
        "part": part,
        "kind": KINDS[what],
        "what": what.replace("_", " "),
        "Class": "".join(word.title() for word in re.split("[-_]", part)),
        "function": part.replace("-", "_"),
        "prompt": first_prompt(what),
    }


def files(what: str, words: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Every file of the package: its path and its text."""

    def filled(template: str) -> str:
        return Template((TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")).substitute(words)

    spec = f"specs/{words['function']}.yaml"
    tests = "test_command" if what == "command" else "test_part" if what in UNSAID else "test_part_and_spec"
    yield "pyproject.toml", filled("pyproject.toml")
    yield "README.md", filled("README_command.md" if what == "command" else "README.md" if what in UNSAID else "README_spec.md")
    yield ".github/workflows/test.yml", filled("test.yml")
    yield f"src/{words['package']}/__init__.py", filled(what)
    yield f"src/{words['package']}/py.typed", ""
    yield f"tests/test_{words['function']}.py", filled(tests)
    if what not in UNSAID:
        yield spec, first_spec(what, words["part"])
