"""Build the site: python docs/site/build.py FOLDER. The pages are laid out as in the repository, so that their links hold."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import build_main

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGES = ("README.md", "README.zh-CN.md", "CHANGELOG.md", "LICENSE")
LINK = re.compile(r"\]\(([^)#\s]+)")
TREE = """

```{toctree}
:hidden:
:maxdepth: 1

docs/tutorial
docs/course/index
docs/specs
docs/parts
docs/api
docs/methods/index
docs/drawings
docs/comparing
docs/gallery/README
docs/why
CHANGELOG
```
"""


def laid_out(place: Path) -> None:
    """Pages, what they show, and what else they link to, where their links look for them."""
    for name in PAGES:
        shutil.copy(ROOT / name, place / name)
    shutil.copytree(ROOT / "docs", place / "docs", ignore=shutil.ignore_patterns("site", "*.py", "outcomes"))
    for page in list(place.rglob("*.md")):
        bring(page, place)
    with (place / "README.md").open("a", encoding="utf-8") as file:
        file.write(TREE)


def bring(page: Path, place: Path) -> None:
    """The files of the repository that a page links to and that are not there yet. A folder is linked to by its name alone."""
    text = page.read_text(encoding="utf-8")
    for target in set(LINK.findall(text)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        wanted = (page.parent / target).resolve()
        source = ROOT / wanted.relative_to(place.resolve())
        if source.is_file() and not wanted.exists():
            wanted.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, wanted)
        elif source.is_dir():
            text = re.sub(rf"\[([^\]]+)\]\({re.escape(target)}\)", r"\1", text)
    page.write_text(text, encoding="utf-8")


def main(out: str) -> int:
    """Warnings are errors: a page whose link leads nowhere is not published."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        laid_out(place)
        return build_main(["-W", "--keep-going", "-q", "-c", str(HERE), "-b", "html", str(place), out])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
