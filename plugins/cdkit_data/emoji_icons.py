"""Pictures of emoji as a style's package holds them: Iconify's JSON of SVG icons, or files named after code points."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from cdkit_data.emoji_names import plain, slug
from cdkit_data.npm import members

ICONS, CHARS, ASSETS = "icons.json", "chars.json", "assets/"
BOX = (("left", 0), ("top", 0), ("width", 16), ("height", 16))  # with Iconify's defaults


def read_chars(path: Path, codes: Collection[str]) -> dict[str, str]:
    """Icons' names by code, where a set tells the codes of its icons; nothing where it does not."""
    told: dict[str, str] = json.loads(members(path, lambda name: name == CHARS).get(CHARS, b"{}"))
    found: dict[str, str] = {}
    for code, icon in told.items():
        if plain(code) in codes:
            found.setdefault(plain(code), icon)
    return found


def read_svgs(path: Path, chars: Mapping[str, str], slugs: Mapping[str, str]) -> dict[str, bytes]:
    """SVG documents by code. chars: as the set tells it; where it tells nothing, icons are known by their names (slugs)."""
    icons = json.loads(members(path, lambda name: name == ICONS)[ICONS])
    told = chars.items() or ((slugs.get(slug(name), ""), name) for name in _every_name(icons))
    found: dict[str, bytes] = {}
    for code, name in told:
        icon = _icon(icons, name)
        if code and icon is not None:
            found.setdefault(code, _document(icons, icon))
    return dict(sorted(found.items()))


def read_files(path: Path, codes: Collection[str]) -> dict[str, bytes]:
    """Picture files by code, of a package whose files are named after code points; skin tones are no codes that we know."""
    found: dict[str, bytes] = {}
    for name, content in sorted(members(path, lambda name: name.startswith(ASSETS)).items()):
        if plain(Path(name).stem) in codes:
            found.setdefault(plain(Path(name).stem), content)
    return found


def _every_name(icons: Mapping[str, Any]) -> Iterator[str]:
    yield from icons["icons"]
    yield from icons.get("aliases", {})


def _icon(icons: Mapping[str, Any], name: str, seen: frozenset[str] = frozenset()) -> Mapping[str, Any] | None:
    """An icon by its name or an alias; None if it is not there, or is another one turned or mirrored."""
    if name in icons["icons"]:
        return icons["icons"][name]
    alias = icons.get("aliases", {}).get(name)
    if alias is None or name in seen or set(alias) - {"parent", "hidden"}:
        return None
    return _icon(icons, alias["parent"], seen | {name})


def _document(icons: Mapping[str, Any], icon: Mapping[str, Any]) -> bytes:
    left, top, width, height = (icon.get(key, icons.get(key, default)) for key, default in BOX)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}">{icon["body"]}</svg>'
    ).encode()
