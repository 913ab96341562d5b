"""Distributions that offer something to cdkit, read so that one with damaged metadata hides no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions

from cdkit.hooks import GROUP
from cdkit.registry.names import brief, normal, quoted

POINTS = "entry_points.txt"
PROJECT = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
LEFT_BEHIND = "~"  # what an interrupted pip renames a distribution to


@dataclass(frozen=True, slots=True)
class Offer:
    """A distribution's entry points for cdkit, in the order of the file, and what it requires. Nothing of it was imported."""

    dist: str
    version: str
    points: tuple[tuple[str, str], ...] = ()  # what stands before and behind `=`
    requires: tuple[str, ...] = ()
    fault: str = ""  # why nothing of it can be used


def offers() -> Iterator[Offer]:
    """Every distribution with entry points of the group. Of two copies of one distribution the first on sys.path counts."""
    seen: set[str] = set()
    for distribution in distributions():
        offer = _read(distribution)
        if offer is not None and offer.dist not in seen:
            seen.add(offer.dist)
            yield offer


def _read(distribution: Distribution) -> Offer | None:
    """None for one that offers nothing, or is only what an interrupted uninstallation left."""
    folder = _folder(distribution)
    if folder.startswith(LEFT_BEHIND):
        return None
    try:
        points = tuple(_section(distribution.read_text(POINTS) or ""))
    except UnicodeDecodeError as error:
        points, fault = (), f"its {POINTS} is not UTF-8, so nobody knows what it offers"
        return _said(folder, fault) if f"[{GROUP}]".encode() in error.object else None
    except OSError:
        return None
    return _described(distribution, folder, points) if points else None


def _described(distribution: Distribution, folder: str, points: tuple[tuple[str, str], ...]) -> Offer:
    """With name, version and requirements out of METADATA; what is wrong with those is the offer's fault."""
    try:
        head = distribution.metadata
        name, version = ((head.get_all(key) or [""])[0] for key in ("Name", "Version"))
        requires = tuple(head.get_all("Requires-Dist") or ())
    except Exception as error:  # whatever email's parser makes of bytes that are no text
        return _said(folder, f"its METADATA cannot be read ({type(error).__name__})", points)
    if not name or not version:
        return _said(folder, f"its METADATA states no {'version' if name else 'name'}", points)
    if not PROJECT.fullmatch(name) or not VERSION.fullmatch(version):
        return _said(folder, f"its METADATA says {quoted(name)} {quoted(version)}: no name and version of a distribution", points)
    return Offer(normal(name), version, points, requires)


def _said(folder: str, fault: str, points: tuple[tuple[str, str], ...] = ()) -> Offer:
    """Named after its folder, since it does not name itself."""
    name, _, version = folder.rpartition(".")[0].partition("-")
    return Offer(normal(brief(name, 60)), brief(version, 20) or "?", points, fault=fault)


def _section(text: str) -> Iterator[tuple[str, str]]:
    """`name = value` of the group's section; a line without `=` is a name without a value."""
    inside = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            inside = line == f"[{GROUP}]"
        elif inside and line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()


def _folder(distribution: Distribution) -> str:
    """`name-version.dist-info`; "" where a finder keeps its metadata elsewhere than in a folder."""
    path = getattr(distribution, "_path", None)
    return str(getattr(path, "name", ""))
