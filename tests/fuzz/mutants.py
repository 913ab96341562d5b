"""Bent specs by the million, in pieces: `python tests/fuzz/mutants.py --until 1000000` goes on where it stopped.

Each piece runs in a process of its own, whose memory is then its own too. build/fuzz/mutants.json holds what was reached, and
the numbers of those that were not read as they should be: `python tests/fuzz/mutants.py --one NUMBER` shows one.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
from spec_mutator import mutant

STATE = Path(__file__).parents[2] / "build" / "fuzz" / "mutants.json"
PIECE = 5_000
LONGEST = 1.0  # seconds of a core
ROOM = 300_000  # KB above the idle process


class Piece(NamedTuple):
    """What became of some mutants."""

    failures: dict[int, str]  # by number: what cdkit did that it never may
    slowest: float  # seconds
    memory: int  # KB above the process before them


def seconds_of(content: bytes) -> float:
    """What reading it takes, in seconds of a core."""
    from fuzz_targets import spec

    began = process_time()
    spec(content)
    return process_time() - began


def fewest_seconds_of(content: bytes) -> float:
    """What seems slow is read twice more: a machine with other work counts its own waiting for memory as ours."""
    seconds = seconds_of(content)
    return seconds if seconds <= LONGEST else min(seconds, seconds_of(content), seconds_of(content))


def tried(numbers: range) -> Piece:
    """Each of these mutants read. A failure is a traceback, an error without a place, or more than a second."""
    seconds_of(b"cdkit: 1\n")  # what is imported once is no mutant's fault
    failures: dict[int, str] = {}
    slowest, idle = 0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in numbers:
        try:
            seconds = fewest_seconds_of(mutant(number))
        except Exception as error:
            failures[number] = f"{type(error).__name__}: {error}"[:300]
            continue
        if seconds > LONGEST:
            failures[number] = f"took {seconds:.1f} s"
        slowest = max(slowest, seconds)
    return Piece(failures, slowest, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle)


def pieces(first: int, until: int) -> Iterator[range]:
    return (range(start, min(start + PIECE, until)) for start in range(first, until, PIECE))


def go_on(until: int, processes: int) -> dict[str, object]:
    """Everything up to `until` that is not done yet; kept after each piece."""
    state = json.loads(STATE.read_text()) if STATE.is_file() else {"done": 0, "failures": {}, "slowest": 0.0, "memory": 0}
    STATE.parent.mkdir(parents=True, exist_ok=True)
    began, first = perf_counter(), state["done"]
    with ProcessPoolExecutor(processes, max_tasks_per_child=1) as pool:
        for numbers, found in zip(pieces(first, until), pool.map(tried, pieces(first, until)), strict=True):
            state["done"] = numbers.stop
            state["failures"] |= {str(number): why for number, why in found.failures.items()}
            state["slowest"], state["memory"] = max(state["slowest"], found.slowest), max(state["memory"], found.memory)
            STATE.write_text(json.dumps(state, indent=1))
            rate = (numbers.stop - first) / (perf_counter() - began)
            print(f"{numbers.stop:,} of {until:,}, {rate:.0f} a second, {len(state['failures'])} failures", flush=True)
    return state


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--until", type=int, default=1_000_000)
    asked.add_argument("--processes", type=int, default=1)
    asked.add_argument("--one", type=int)
    told = asked.parse_args()
    if told.one is not None:
        sys.stdout.buffer.write(mutant(told.one))
        print(tried(range(told.one, told.one + 1)))
        return 0
    state = go_on(told.until, told.processes)
    print(json.dumps(state, indent=1))
    return 1 if state["failures"] or int(str(state["memory"])) > ROOM else 0


if __name__ == "__main__":
    sys.exit(main())
