"""docs/outside.md proves what it says: where what was said is not handed on, its last lines see it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "outside.md"
HEARD = "told = self.taps[name](tokens, self.signals[name], tokens.new_zeros(len(h), 128))"


def test_a_network_that_does_not_hear_is_found_out() -> None:
    """The mutant: taps are mounted, and never called. (That the page itself runs is test_pages' affair.)"""
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))
    assert HEARD in code
    assert "range(150)" in code
    deaf = code.replace(HEARD, "told = tokens").replace("range(150)", "range(3)")
    space: dict[str, Any] = {"__name__": "deaf"}
    with pytest.raises(AssertionError):
        exec(compile(deaf, str(PAGE), "exec"), space)
    assert space["truth"] == space["lie"]
