"""python -m cdkit.testing KIND.NAME...: a line of JSON before each check and after it. `cdkit plugins check` reads them."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from cdkit.registry import Registry
from cdkit.testing.conformance import conformance


def main(parts: list[str]) -> None:
    """What parts print goes to stderr: the lines alone go to stdout."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(values: dict[str, Any]) -> None:
        lines.write(json.dumps(values) + "\n")
        lines.flush()

    registry = Registry.installed()
    for part in parts:
        kind, _, name = part.partition(".")
        for row in conformance(kind, name, registry, lambda check, part=part: tell({"part": part, "begun": check})):
            tell(row.to_json())
        tell({"part": part, "done": True})


if __name__ == "__main__":
    main(sys.argv[1:])
