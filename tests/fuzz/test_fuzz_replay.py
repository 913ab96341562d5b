"""What fuzzing sets out from, what it found, and some thousands of bent specs: read again without a fuzzer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import process_time

import pytest
from cdkit.errors import DataError, PromptError
from fuzz_targets import TARGETS, refusing
from mutants import ROOM, tried
from spec_mutator import mutant

HERE = Path(__file__).parent
OFTEN = 2_500  # mutants in the normal run; .ci/run reads 50,000, `make fuzz` a million


def kept() -> Iterator[tuple[str, Path]]:
    for place in ("seeds", "regressions"):
        for target in TARGETS:
            yield from ((target, path) for path in sorted((HERE / place / target).glob("*")) if path.name != ".gitkeep")


@pytest.mark.parametrize(("target", "path"), list(kept()), ids=lambda value: value.name if isinstance(value, Path) else value)
def test_what_is_kept_is_read_or_refused(target: str, path: Path) -> None:
    content, began = path.read_bytes(), process_time()
    TARGETS[target](content)
    assert process_time() - began < 1


@pytest.mark.parametrize("first", range(0, OFTEN, 500))
def test_bent_specs(first: int) -> None:
    """0 tracebacks, every error at a place, none longer than a second, none larger than 300 MB."""
    found = tried(range(first, first + 500))
    assert found.failures == {}
    assert found.memory < ROOM


def test_a_number_is_always_the_same_mutant() -> None:
    assert [mutant(number) for number in range(50)] == [mutant(number) for number in range(50)]
    assert len({mutant(number) for number in range(500)}) > 490


def test_the_mutator_reaches_deep() -> None:
    """Not all of them end at the first comma: some are read, many are refused for what they say."""
    from cdkit.spec import SpecErrors, read_spec
    from cdkit.spec.source import decoded
    from fuzz_targets import registry

    codes: set[str] = set()
    for number in range(300):
        try:
            read_spec(decoded(mutant(number), "s.yaml") + "\n", registry=registry())
            codes.add("read")
        except SpecErrors as error:
            codes |= {problem.code for problem in error.problems}
    assert codes >= {"read", "syntax", "unknown-key", "missing-key", "value", "type", "duplicate-key", "encoding", "anchor"}


def fall(kind: type[Exception]) -> None:
    raise kind("as it never may")


def test_another_error_than_the_expected_is_heard() -> None:
    refusing(DataError, lambda: fall(PromptError))
    for kind in (KeyError, RecursionError, MemoryError, DataError):
        with pytest.raises(kind):
            refusing(PromptError, lambda kind=kind: fall(kind))
