"""conformance: one part put to its kind's checks, check by check, and what came of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Literal, TypeAlias

from cdkit.errors import CdkitError, DataError, EnvironmentFault
from cdkit.hooks import Trial
from cdkit.registry import Record, Registry
from cdkit.registry.load import SLOW
from cdkit.registry.requirements import pins_of
from cdkit.registry.sideeffects import effects, snapshot
from cdkit.testing.kinds import case_of, checks_of

LOAD = "load"
Outcome: TypeAlias = Literal["passed", "failed", "excepted", "untried"]


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one check of one part. said: what was measured where it failed; the reason where it is excepted."""

    part: str  # kind.name
    check: str
    outcome: Outcome
    said: str = ""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def conformance(kind: str, name: str, registry: Registry, begun: Callable[[str], object] = str) -> Iterator[Row]:
    """Every check of an installed part, in turn, as its own trial asks for it. `begun` hears of a check before it runs."""
    part = f"{kind}.{name}"
    begun(LOAD)
    started, before = perf_counter(), snapshot()
    try:
        made, trial = registry.get(kind, name), registry.trial(kind, name)
    except CdkitError as error:
        yield Row(part, LOAD, "failed", str(error), since(started))
        return
    said = beside(registry.record(kind, name), effects(before, snapshot()))
    yield Row(part, LOAD, "failed" if said else "passed", said, since(started))
    yield from tried(part, kind, made, trial, begun)


def beside(record: Record | None, changed: list[str]) -> str:
    """What is wrong with a load that went well: it changed what is not its own, took long, or its metadata pins torch."""
    if record is None:
        return ""
    milliseconds = record.milliseconds or 0
    slow = [f"its import took {milliseconds / 1000:.1f} s, allowed {SLOW:g}"] if milliseconds > SLOW * 1000 else []
    dist = record.entry.dist
    pinned = [f"{dist} requires {pin}, which lets pip replace an installed torch; allowed a lower limit" for pin in pins_of(dist)]
    return "; ".join([*changed, *slow, *pinned])


def tried(part: str, kind: str, made: Any, trial: Trial, begun: Callable[[str], object]) -> Iterator[Row]:
    """Every check of a part that was loaded."""
    checks = checks_of(kind, made)
    if trial.untried:
        yield Row(part, "all", "untried", trial.untried)
        return
    if unknown := [name for name in trial.exceptions if name not in checks]:
        yield Row(part, "trial", "failed", f"no check is called {', '.join(unknown)}; the checks are {', '.join(checks)}")
    case = case_of(kind, made, trial) if checks else None
    for check, run in checks.items():
        begun(check)
        started = perf_counter()
        outcome, said = judged(lambda run=run: run(case), trial.exceptions.get(check, ""))
        yield Row(part, check, outcome, said, since(started))


def judged(run: Callable[[], None], reason: str) -> tuple[Outcome, str]:
    """How a check went. An exception needs its reason, and to be needed."""
    try:
        run()
    except (EnvironmentFault, DataError) as error:  # files or packages that are not on this machine
        return "untried", str(error)
    except (AssertionError, CdkitError) as error:
        return ("excepted", reason) if reason else ("failed", str(error))
    except Exception as error:  # a part may raise what it likes
        return "failed", f"{type(error).__name__}: {error}"
    return ("failed", f"declared an exception ({reason}), but it holds; drop the exception") if reason else ("passed", "")


def since(started: float) -> float:
    return round(perf_counter() - started, 3)
