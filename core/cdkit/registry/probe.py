"""probe: load a part in a process of its own, which a plugin may crash or hang without taking this one along."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

LONGEST = 60.0  # seconds that an import may take
SLOW = 5.0
CHILD = """
import sys
import cdkit.parts
from cdkit.errors import CdkitError
from cdkit.registry import Registry
registry = Registry.installed()
try:
    registry.get(sys.argv[1], sys.argv[2])
except CdkitError as error:
    sys.exit(str(error))
print(registry.record(sys.argv[1], sys.argv[2]).milliseconds)
"""  # cdkit.parts first: torch's own import is nobody's fault


def probe(kind: str, name: str, *, longest: float = LONGEST) -> dict[str, Any]:
    """How loading goes: `ok`, `seconds`, and the `error` in a sentence where it does not."""
    command = [sys.executable, "-c", CHILD, kind, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=longest, check=False)
    except subprocess.TimeoutExpired:
        return {"ok": False, "seconds": longest, "error": f"its import took more than {longest:g} s and was ended"}
    seconds = float(done.stdout) / 1000 if done.returncode == 0 and done.stdout else None
    return {"ok": done.returncode == 0 and seconds is not None, "seconds": seconds, "error": fate(done, seconds)}


def fate(done: subprocess.CompletedProcess[str], seconds: float | None) -> str:
    """What became of the process, in a sentence; "" for a load that went well and fast."""
    if done.returncode < 0:
        return f"its import killed the process with {signal.Signals(-done.returncode).name}"
    if done.returncode or seconds is None:
        return (done.stderr.strip().splitlines() or [f"it ended the process with status {done.returncode}"])[-1]
    return f"its import took {seconds:.1f} s" if seconds > SLOW else ""
