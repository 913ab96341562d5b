"""Draw every spec that ships, and the page that shows them: python docs/drawings.py --write"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from cdkit.build import assemble
from cdkit.build.drawing import opened
from cdkit.spec import read_spec
from cdkit.spec.drawing import Drawing
from cdkit.spec.drawing_svg import svg

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "drawings"
PAGE = ROOT / "docs" / "drawings.md"
HEAD = """# Every spec, drawn

What is told, by which method, and where that enters the network. Each is one command, without weights and without other programs:

```console
$ cdkit build specs/sd_like.yaml --draw model.svg
$ cdkit build specs/sd_like.yaml --draw mermaid
```

In a notebook, a spec or a model alone in a cell draws itself.
"""


def names() -> list[str]:
    return sorted(path.stem for path in (ROOT / "specs").glob("*.yaml"))


def drawing(name: str) -> Drawing:
    """Of a model of shapes alone: the networks of Stable Diffusion need no memory here."""
    return opened(assemble(read_spec(ROOT / "specs" / f"{name}.yaml"), device="meta"))


def page(drawings: dict[str, Drawing]) -> str:
    return HEAD + "".join(section(name, made) for name, made in drawings.items())


def section(name: str, made: Drawing) -> str:
    told = made.summary.replace("[", "(").replace("]", ")")
    return f"\n## `{name}`\n\nOf [the spec](../specs/{name}.yaml) of that name.\n\n![{told}](drawings/{name}.svg)\n"


def drawn() -> Iterator[tuple[str, Drawing]]:
    for name in names():
        made = drawing(name)
        (FOLDER / f"{name}.svg").write_text(svg(made), encoding="utf-8")
        print(name, flush=True)
        yield name, made


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    PAGE.write_text(page(dict(drawn())), encoding="utf-8")
