"""Mutation testing of what must not be wrong: small changes to spec, registry, checkpoint, random and schedules.

`python tests/mutation/mutate.py` makes one change at a time, and runs the tests that run its line until one fails. What was tried is in
build/mutation/results.json, and not tried again while module and tests are what they were. Of those that no test can notice,
tests/mutation/survivors.json says why not.
"""
# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

import argparse
import ast
import gc
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
from changes import changes, tree_of
from inplace import Collected, functions, memories
from trials import (
    BUILD,
    ROOT,
    TOO_LATE,
    TREE,
    Mapped,
    Way,
    begin,
    copy_tree,
    mapped,
    noticed,
    noticed_in_place,
    prepare,
    read_map,
    warmly,
)

RESULTS = BUILD / "results.json"
EXPLAINED = Path(__file__).parent / "survivors.json"
ENOUGH_SECONDS = 10.0  # of tests for each change
THOROUGH_SECONDS = 40.0  # where tests start a process, which takes seconds to begin; and of what runs at the import alone
ENOUGH = 0.9  # the share of changes that has to be killed in each part


class Part(NamedTuple):
    """Modules, and the tests that are meant to hold them."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


PARTS = {
    "schedule": Part(("core/cdkit/diffusion/schedule.py",), ("tests/core/diffusion",)),
    "random": Part(("core/cdkit/diffusion/random.py",), ("tests/core/diffusion",)),
    "checkpoint": Part(
        ("core/cdkit/engine/checkpoint.py",),
        ("tests/core/engine/test_checkpoint.py", "tests/core/engine/test_crash.py", "tests/core/engine/test_compatibility.py",
         "tests/core/engine/test_runs.py", "tests/core/engine/test_divided.py", "tests/hostile/test_hostile_checkpoints.py"),
    ),
    "spec": Part(
        tuple(sorted(str(path.relative_to(ROOT)) for path in (ROOT / "core/cdkit/spec").glob("*.py"))),
        ("tests/core/spec", "tests/core/build/test_drawing.py", "tests/hostile/test_hostile_specs.py", "tests/fuzz/test_fuzz_replay.py",
         "tests/core/cli/test_init_command.py"),
    ),
    "registry": Part(
        tuple(sorted(str(path.relative_to(ROOT)) for path in (ROOT / "core/cdkit/registry").glob("*.py"))),
        ("tests/core/registry", "tests/core/test_hooks.py", "tests/core/testing/test_inspection.py", "tests/core/spec/test_deps.py"),
    ),
}  # fmt: skip


class Tried(NamedTuple):
    """One change and what became of it."""

    module: str
    number: int
    line: int
    what: str
    outcome: str

    @property
    def key(self) -> str:
        """Its name in survivors.json: no line number, which other changes move."""
        return f"{self.module}: {self.code}: {self.what}"

    @property
    def code(self) -> str:
        return (ROOT / self.module).read_text(encoding="utf-8").splitlines()[self.line - 1].strip()


def ways(module: str) -> Iterator[Way]:
    """Every change to a module."""
    text = (TREE / module).read_text(encoding="utf-8")
    for number, change in enumerate(changes(tree_of(text, module))):
        tree = tree_of(text, module)
        changes(tree)[number].make()
        yield Way(module, number, change.line, change.what, ast.unparse(ast.fix_missing_locations(tree)))


def tests_of(known: Mapped, module: str, line: int) -> list[str]:
    """The tests that run a line, the quickest first; of a line that is run by the import, all that run the module, or all that
    there are. As many as take ENOUGH_SECONDS in all: what survives those might have been noticed by others. What they start is
    not looked into, so that all that start the module as a process count for each of its lines."""
    by, apart = known.lines[module], known.apart[module]
    names = {*by.get(line, ()), *apart} - {""}
    enough = THOROUGH_SECONDS if apart or not names else ENOUGH_SECONDS
    if not names:
        names = {name for running in by.values() for name in running} - {""} or {*known.seconds}
    quickest = sorted(names, key=lambda name: known.seconds.get(name, 0.0))
    until = accumulate(known.seconds.get(name, 0.0) for name in quickest)
    return [name for name, seconds in zip(quickest, until, strict=True) if seconds <= enough] or quickest[:1]


def state_of(part: Part) -> str:
    """Changes with every byte of the modules and tests."""
    told = hashlib.sha256()
    for name in (*part.modules, *part.tests):
        path = ROOT / name
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            told.update(file.read_bytes())
    return told.hexdigest()[:16]


class Kept:
    """What was tried, in build/mutation/results.json: of each change a digest of its source, the outcome, and the state of the tests."""

    def __init__(self, state: str, again: bool) -> None:
        self.by: dict[str, list[str]] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        self.state, self.again = state, again
        self.began = perf_counter()

    def outcome(self, way: Way) -> str | None:
        """What was killed stays killed; what survived is tried anew with other tests, or `again`."""
        before = self.by.get(way.key)
        if before is None or before[0] != digest(way.source.encode()):
            return None
        return before[1] if before[1] != "survived" or (before[2] == self.state and not self.again) else None

    def forget(self, ways: Sequence[Way]) -> None:
        """They are to be tried anew."""
        for way in ways:
            self.by.pop(way.key, None)
        RESULTS.write_text(json.dumps(self.by, indent=0))

    def tell(self, way: Way, outcome: str, tests: Sequence[str]) -> None:
        self.by[way.key] = [digest(way.source.encode()), outcome, self.state]
        RESULTS.write_text(json.dumps(self.by, indent=0))
        seconds = perf_counter() - self.began
        print(f"{seconds:7.0f} s  {way.key} line {way.line}: {way.what}: {outcome} ({len(tests)} tests)", flush=True)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def try_part(name: str, part: Part, again: bool, wanted: Callable[[Way], bool]) -> list[Tried]:
    """The changes of a part that are wanted: in place, and where that is too late, from the import on."""
    state = state_of(part)
    kept, file = Kept(state, again), BUILD / f"map-{state}.json"
    asked = [way for module in part.modules for way in ways(module) if wanted(way)]
    todo = [way for way in asked if kept.outcome(way) is None]
    if todo:
        kept.forget(todo)
        warmly(part.tests, lambda collected: in_place(collected, part, todo, kept, file))
        kept = Kept(state, again=False)  # what the child told
        known = read_map(file)
        prepare(known.imported)
        for way in todo:
            if kept.outcome(way) is None:
                tests = tests_of(known, way.module, way.line)
                kept.tell(way, noticed(way, tests, longest(known, tests)) if tests else "survived", tests)
    found = [Tried(way.module, way.number, way.line, way.what, kept.outcome(way) or "survived") for way in asked]
    print(summary(name, found), flush=True)
    return found


def in_place(collected: Collected, part: Part, todo: Sequence[Way], kept: Kept, file: Path) -> None:
    """What can be noticed without a new import."""
    for memory in memories():  # of what was asked while tests were found
        memory.cache_clear()
    if not file.is_file():
        mapped(collected, part.modules, file)
    known, imported = read_map(file), functions()
    gc.freeze()
    for way in todo:
        if not any(known.lines[way.module].get(way.line, ())):
            continue  # where it runs, it runs at the import
        tests = tests_of(known, way.module, way.line)
        outcome = noticed_in_place(collected, imported, way, tests, longest(known, tests))
        if outcome != TOO_LATE:
            kept.tell(way, outcome, tests)


def longest(known: Mapped, tests: Sequence[str]) -> float:
    """The seconds of a core after which nothing more is expected of tests."""
    return 10 + 5 * sum(known.seconds.get(test, 0) for test in tests)


def summary(name: str, found: Sequence[Tried]) -> str:
    survived = [tried for tried in found if tried.outcome == "survived"]
    share = 1 - len(survived) / max(1, len(found))
    return f"{name}: {len(found) - len(survived)} of {len(found)} killed, {share:.1%}"


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--part", choices=PARTS, action="append")
    asked.add_argument("--again", action="store_true", help="try survivors again")
    asked.add_argument("--every", type=int, default=1, help="each n-th change alone: a sample")
    asked.add_argument("--only", metavar="MODULE#NUMBER", action="append", help="this change alone")
    told = asked.parse_args()
    only, every = told.only, told.every
    copy_tree()
    begin()
    explained = json.loads(EXPLAINED.read_text(encoding="utf-8")) if EXPLAINED.is_file() else {}
    good = True
    for name in told.part or PARTS:
        found = try_part(name, PARTS[name], told.again, lambda way: way.key in only if only else way.number % every == 0)
        survived = [tried for tried in found if tried.outcome == "survived"]
        good &= len(survived) <= (1 - ENOUGH) * len(found)
        for tried in survived:
            if tried.key not in explained:
                good = False
                print(f"  {tried.module}:{tried.line}: {tried.what}\n      {tried.code}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
