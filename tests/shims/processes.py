"""Processes that train one run together, as torchrun would start them; and what two runs have in common."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from cdkit.cli.failures import handled
from cdkit.engine.ranks import Ranks, joined
from cdkit.engine.run import Run


def quiet(line: str) -> None:
    del line


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def begun(world: int, work: Callable[[Ranks], object], port: int | None = None) -> list[int]:
    """Processes that join and work, as torchrun would start them; their ids. port: where they meet."""
    port = port or free_port()
    children: list[int] = []
    for rank in range(world):
        told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}

        def joining(told: dict[str, int] = told) -> int:
            os.environ.update({name: str(value) for name, value in told.items()}, MASTER_ADDR="127.0.0.1")

            def joint() -> None:
                with joined("cpu") as ranks:
                    work(ranks)

            return handled(joint, debug=False)

        children.append(forked(joining))
    return children


def forked(work: Callable[[], int], said: Path | None = None) -> int:
    """Work in a process of its own; its id. It ends with what the work returns, and with 70 and a traceback for whatever it
    raises: a fork of pytest that goes on is a second pytest. said: a file that its stderr goes to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads, of which torch has some
        child = os.fork()
    if child == 0:
        code = 70
        try:
            if said is not None:
                sys.stderr = said.open("w", buffering=1)
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def ended(children: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def together(world: int, work: Callable[[Ranks], object], port: int | None = None) -> None:
    assert ended(begun(world, work, port)) == [0] * world


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def apart(one: list[float], other: list[float]) -> float:
    assert len(one) == len(other) > 0
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def wait_for(file: Path, seconds: float = 60) -> None:
    """Until something has been written there."""
    end = time.monotonic() + seconds
    while not (file.is_file() and file.stat().st_size) and time.monotonic() < end:
        time.sleep(0.05)


def digests(run: Path) -> dict[str, str]:
    """Of every tensor of the latest checkpoint, however it is kept."""
    checkpoint = Run(run).latest()
    assert checkpoint is not None
    return {
        f"{name}|{key}": hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
        for name in checkpoint.names
        for key, value in checkpoint.tensors(name).items()
    }
