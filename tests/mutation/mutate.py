"""Mutation testing of what must not be wrong: small changes to spec, registry, checkpoint, random and schedules.

`python tests/mutation/mutate.py` makes one change at a time, and runs the tests that run its line until one fails. What was tried is in
build/mutation/results.json, and not tried again while module and tests are what they were. Of those that no test can notice,
tests/mutation/survivors.json says why not.
"""
# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
from changes import changes, tree_of
from trials import BUILD, ROOT, TREE, Mapped, begin, copy_tree, mapped, noticed

RESULTS = BUILD / "results.json"
EXPLAINED = Path(__file__).parent / "survivors.json"
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
         "tests/core/engine/test_runs.py", "tests/hostile/test_hostile_checkpoints.py"),
    ),
    "spec": Part(
        tuple(sorted(str(path.relative_to(ROOT)) for path in (ROOT / "core/cdkit/spec").glob("*.py"))),
        ("tests/core/spec", "tests/hostile/test_hostile_specs.py", "tests/fuzz/test_fuzz_replay.py", "tests/core/cli/test_init_command.py"),
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


def ways(module: str) -> Iterator[tuple[int, int, str, str]]:
    """Number, line, what, and the changed source, of each change to a module."""
    text = (TREE / module).read_text(encoding="utf-8")
    for number, change in enumerate(changes(tree_of(text, module))):
        tree = tree_of(text, module)
        changes(tree)[number].make()
        yield number, change.line, change.what, ast.unparse(ast.fix_missing_locations(tree))


def tests_of(known: Mapped, module: str, line: int) -> list[str]:
    """The tests that run a line, the quickest first; of a line that is run by the import, all that run the module."""
    by = known.lines[module]
    names = {name for name in by.get(line, ()) if name}
    if not names:
        names = {name for running in by.values() for name in running if name}
    return sorted(names, key=lambda name: known.seconds.get(name, 0.0))


def state_of(part: Part) -> str:
    """Changes with every byte of the modules and tests."""
    told = hashlib.sha256()
    for name in (*part.modules, *part.tests):
        path = ROOT / name
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            told.update(file.read_bytes())
    return told.hexdigest()[:16]


def try_part(name: str, part: Part, kept: dict[str, list[str]], again: bool, every: int) -> list[Tried]:
    """Every change of a part, or each n-th. What was killed stays killed; what survived is tried anew with other tests, or `again`."""
    state, found = state_of(part), list[Tried]()
    known: Mapped | None = None
    began = perf_counter()
    for module in part.modules:
        for number, line, what, source in ways(module):
            key = f"{module}#{number}"
            if number % every:
                continue
            before = kept.get(key)
            if before and before[0] == hashlib.sha256(source.encode()).hexdigest()[:16] and (
                before[1] != "survived" or (before[2] == state and not again)
            ):  # fmt: skip
                found.append(Tried(module, number, line, what, before[1]))
                continue
            known = known or mapped(part.tests, part.modules)
            tests = tests_of(known, module, line)
            outcome = (
                noticed(module, source, tests, 20 + 5 * sum(known.seconds.get(test, 0) for test in tests))
                if tests
                else "survived"
            )
            kept[key] = [hashlib.sha256(source.encode()).hexdigest()[:16], outcome, state]
            found.append(Tried(module, number, line, what, outcome))
            RESULTS.write_text(json.dumps(kept, indent=0))
            print(f"{perf_counter() - began:7.0f} s  {key} line {line}: {what}: {outcome} ({len(tests)} tests)", flush=True)
    print(summary(name, found), flush=True)
    return found


def summary(name: str, found: Sequence[Tried]) -> str:
    survived = [tried for tried in found if tried.outcome == "survived"]
    share = 1 - len(survived) / max(1, len(found))
    return f"{name}: {len(found) - len(survived)} of {len(found)} killed, {share:.1%}"


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--part", choices=PARTS, action="append")
    asked.add_argument("--again", action="store_true", help="try survivors again")
    asked.add_argument("--every", type=int, default=1, help="each n-th change alone: a sample")
    told = asked.parse_args()
    copy_tree()
    begin()
    kept: dict[str, list[str]] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    explained = json.loads(EXPLAINED.read_text(encoding="utf-8")) if EXPLAINED.is_file() else {}
    good = True
    for name in told.part or PARTS:
        found = try_part(name, PARTS[name], kept, told.again, told.every)
        survived = [tried for tried in found if tried.outcome == "survived"]
        good &= len(survived) <= (1 - ENOUGH) * len(found)
        for tried in survived:
            if tried.key not in explained:
                good = False
                print(f"  {tried.module}:{tried.line}: {tried.what}\n      {tried.code}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
