"""What a distribution's metadata requires: a cdkit that is not this one, a library that is missing, one certain torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

from cdkit.registry.names import normal
from cdkit.version import VERSION

if TYPE_CHECKING:
    from packaging.requirements import Requirement

OWN = "cdkit"
NAMED = re.compile(r"\s*([A-Za-z0-9._-]+)")
PINNING = {"==", "===", "~=", "<", "<="}


def excludes(requirements: Iterable[str]) -> str:
    """The versions of cdkit that are asked for where this one is not among them; "" where it is."""
    for requirement in of(OWN, requirements):
        if not requirement.specifier.contains(VERSION, prereleases=True):
            return str(requirement.specifier)
    return ""


def pins(requirements: Iterable[str]) -> list[str]:
    """Requirements that let pip replace an installed torch: an exact version, an upper limit, or a file."""
    found = [*of("torch", requirements), *of("torchvision", requirements)]
    return [str(need) for need in found if need.url or PINNING & {clause.operator for clause in need.specifier}]


def pins_of(dist: str) -> list[str]:
    """The same of an installed distribution."""
    return pins(_requires(dist))


def unmet(dist: str) -> list[str]:
    """What an installed distribution requires and is not here, or not in a version that it can use."""
    return [f"{need.name}{need.specifier}" for need in _parsed(_requires(dist)) if not _met(need)]


def of(project: str, requirements: Iterable[str]) -> Iterator[Requirement]:
    """Those about one project. packaging is imported only for them: most distributions of ours have none."""
    named = ((NAMED.match(text), text) for text in requirements)
    return _parsed(text for match, text in named if match and normal(match[1]) == project)


def _parsed(requirements: Iterable[str]) -> Iterator[Requirement]:
    """Those that apply here, extras left aside; what is no requirement says nothing."""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def _met(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


def _requires(dist: str) -> list[str]:
    try:
        return requires(dist) or []
    except PackageNotFoundError:
        return []
