"""job: one cell's work, which any process can do that sees the comparison's folder, and what it answers, a failure included."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from cdkit.errors import CdkitError


class Unfinished(Exception):
    """The minutes are over; the same command goes on."""


class Workplace(Protocol):
    """Where jobs are done: a comparison's folder, the device, and who hears of it. What can be asked there are its methods."""

    folder: Path
    device: str | None
    say: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Job:
    """A method of a workplace and what it is called with. name: whose job it is. journal: where its steps can be counted."""

    name: str
    method: str
    arguments: tuple[Any, ...]
    journal: Path | None = None
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job: a value, or that the time was over, or what went wrong (`problem`, `hint`). said: lines for people."""

    value: Any = None
    unfinished: bool = False
    problem: str = ""
    hint: str = ""
    said: tuple[str, ...] = ()


Answers: TypeAlias = Iterator[tuple[int, Outcome]]
Ask: TypeAlias = Callable[[Sequence[Job]], Answers]
"""Jobs -> the place of each among them and what came of it, in the order in which they end."""


@dataclass(frozen=True, slots=True)
class Crew:
    """Who does the jobs: this process, several on this machine, or those of a Ray cluster. about: that, in words, if any.

    opened: for a workplace, what answers its jobs for as long as the crew is there.
    """

    opened: Callable[[Workplace], AbstractContextManager[Ask]]
    about: str = ""


class Failed(CdkitError):
    """What went wrong, and for whom; everybody else's work was done first."""


def attempt(workplace: Workplace, job: Job) -> Outcome:
    """Do a job. An error that is meant for people is an outcome; a defect is raised."""
    try:
        return Outcome(getattr(workplace, job.method)(*job.arguments))
    except Unfinished:
        return Outcome(unfinished=True)
    except CdkitError as error:
        return Outcome(problem=str(error), hint=error.hint)


def gathered(jobs: Sequence[Job], answers: Answers, say: Callable[[str], None]) -> list[Any]:
    """The values of all jobs, in their order. Failed where some went wrong, else Unfinished where some were not done."""
    outcomes: dict[int, Outcome] = {}
    for place, outcome in answers:
        for line in outcome.said:
            say(line)
        outcomes[place] = outcome
    check([(jobs[place].name, outcome) for place, outcome in sorted(outcomes.items()) if outcome.problem])
    if len(outcomes) < len(jobs) or any(outcome.unfinished for outcome in outcomes.values()):
        raise Unfinished
    return [outcomes[place].value for place in range(len(jobs))]


def check(failures: Iterable[tuple[str, Outcome]]) -> None:
    """Failed if there are any: each problem once, with all whom it befell."""
    whose: dict[tuple[str, str], list[str]] = {}
    for name, outcome in failures:
        whose.setdefault((outcome.problem, outcome.hint), []).append(name)
    if whose:
        told = "\n".join(f"{'; '.join(names)}: {problem}" for (problem, _), names in whose.items())
        raise Failed(told, hint="; ".join(dict.fromkeys(hint for _, hint in whose if hint)))
