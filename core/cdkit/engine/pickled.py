"""The one place where a pickle is read: on explicit demand, tensors alone, in a child process that leaves safetensors."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from cdkit.errors import CheckpointError, UsageError

MINUTES = 30
PROGRAM = """
import sys
import torch
from safetensors.torch import save_file
found = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
found = found.get("state_dict", found)
tensors = {name: value.contiguous().clone() for name, value in found.items() if isinstance(value, torch.Tensor)}
print(len(tensors), len(found) - len(tensors))
save_file(tensors, sys.argv[2], metadata={"format": "pt"})
"""


@contextmanager
def unpickled(source: Path, say: Callable[[str], None]) -> Generator[Path]:
    """The tensors of a pickled checkpoint, for as long as the context lasts, as a safetensors file of the same stem.

    torch's `weights_only` makes tensors and plain containers and nothing else; the child process has no plugin of ours, no
    input, and an isolated interpreter. CheckpointError for a file that wants anything else.
    """
    if not source.is_file():
        raise UsageError(f"{source}: no such file")
    with tempfile.TemporaryDirectory(prefix="cdkit-") as folder:
        target = Path(folder) / f"{source.stem}.safetensors"
        command = [sys.executable, "-I", "-c", PROGRAM, str(source.resolve()), str(target)]
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60 * MINUTES, check=False
        )
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or [f"the process ended with {done.returncode}"]
            raise CheckpointError(
                f"{source}: cannot be read as tensors alone: {reason[0][:300]}",
                hint="a pickle that needs more than tensors would run code; ask its publisher for safetensors",
            )
        tensors, rest = done.stdout.split()[:2]
        say(f"unpickled {source} in a process of its own: {tensors} tensors; {rest} other values were dropped")
        yield target
