"""fingerprint: a digest of what a comparison found, whoever computes it and in however many pieces."""

from __future__ import annotations

import hashlib
import json
from typing import Any

CLOCKS = frozenset({"date", "machine", "seconds", "speed", "fingerprint", "command"})  # at any depth


def fingerprint(result: dict[str, Any]) -> str:
    """sha256, in hex, of all of a result but dates, machines, what a clock says and the command."""
    return hashlib.sha256(json.dumps(timeless(result), sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def timeless(value: Any) -> Any:
    """A JSON value without the keys that a clock or a machine writes."""
    if isinstance(value, dict):
        return {str(key): timeless(kept) for key, kept in value.items() if key not in CLOCKS}
    return [timeless(kept) for kept in value] if isinstance(value, list | tuple) else value
