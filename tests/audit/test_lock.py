"""The locked environment: every package pinned, every file with its hash, no registry named, nothing forgotten."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / ".ci" / "requirements.txt").read_text(encoding="utf-8")
PINNED = re.compile(
    r"^([A-Za-z0-9._-]+)(?:\[[\w,-]+\])?==(\S+?)(?: ;.*?)? \\$((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+)$", re.M
)
OURS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def entries() -> dict[str, set[Version]]:
    """The versions of each package: more than one where platforms differ."""
    found: dict[str, set[Version]] = {}
    for name, version, _ in PINNED.findall(LOCK):
        found.setdefault(canonicalize_name(name), set()).add(Version(version))
    return found


def asked() -> list[Requirement]:
    """What the project asks for with its development extra, extras of its own followed."""
    extras = OURS["optional-dependencies"]
    told = [*OURS["dependencies"], *extras["dev"]]
    whole: list[Requirement] = []
    while told:
        requirement = Requirement(told.pop())
        if requirement.name == OURS["name"]:
            told += [line for extra in requirement.extras for line in extras[extra]]
        else:
            whole.append(requirement)
    return whole


def test_everything_is_pinned_with_hashes() -> None:
    rest = PINNED.sub("", LOCK)
    assert [line for line in rest.splitlines() if line.strip() and not line.lstrip().startswith("#")] == []
    assert len(entries()) > 80


def test_no_registry_is_named() -> None:
    assert "://" not in LOCK
    assert "--index-url" not in LOCK
    assert "--find-links" not in LOCK


def test_it_covers_what_is_asked_for() -> None:
    locked = entries()
    for requirement in asked():
        versions = locked.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement.name} is not locked: make lock"
        for version in versions:
            assert requirement.specifier.contains(version, prereleases=True), f"{requirement} and {version}: make lock"
