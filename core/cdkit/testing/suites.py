"""The checks for pytest: a decorator that runs one function check by check, and a class a kind to derive from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, TypeAlias, TypeVar

from cdkit.hooks import Trial
from cdkit.testing.conformance import judged
from cdkit.testing.joiners import JOINER_CHECKS
from cdkit.testing.kinds import CHECKS, Checks, case_of, checks_of

Test = TypeVar("Test", bound=Callable[..., Any])
Check: TypeAlias = Callable[[], None]
NOTHING: Mapping[str, Any] = {}


def every_check(
    kind: str,
    part: Any,
    *,
    options: Mapping[str, Any] = NOTHING,
    streams: int = 1,
    expected_failures: Mapping[str, str] = NOTHING,
) -> Callable[[Test], Test]:
    """A test for each check of the part's kind; the test calls the `check` that it is given.

        @every_check("encoder", Mine, options={"dim": 32}, expected_failures={"batch": "a reason"})
        def test_mine(check: Check) -> None:
            check()

    expected_failures: check -> the reason why this part need not pass it; shown as xfail, and an error once it passes.
    ValueError for a name that is no check.
    """
    import pytest

    trial = Trial(options, streams, expected_failures)
    checks = known(checks_of(kind, part), expected_failures)
    cases = [pytest.param(partial(put, check, kind, part, trial, name), id=name) for name, check in checks.items()]
    return pytest.mark.parametrize("check", cases)


def put(check: Callable[[Any], None], kind: str, part: Any, trial: Trial, name: str) -> None:
    """One check of one part, in pytest's words: passed, failed, xfailed, skipped."""
    import pytest

    outcome, said = judged(lambda: check(case_of(kind, part, trial)), trial.exceptions.get(name, ""))
    if outcome == "excepted":
        pytest.xfail(said)
    if outcome == "untried":
        pytest.skip(said)
    if outcome == "failed":
        raise AssertionError(said)


def known(checks: Checks, named: Mapping[str, str]) -> Checks:
    if strange := [name for name in named if name not in checks]:
        raise ValueError(f"no check is called {', '.join(map(repr, strange))}; the checks are {', '.join(checks)}")
    return checks


class Suite:
    """The checks of one kind as methods. Derive from the class of your kind, say which part, and change what you must:

    class TestMine(EncoderSuite):
        part = Mine
        options = {"dim": 32}

        def test_batch(self) -> None: ...  # in place of ours
    """

    kind: ClassVar[str]
    part: ClassVar[Any]
    options: ClassVar[Mapping[str, Any]] = NOTHING
    streams: ClassVar[int] = 1
    expected_failures: ClassVar[Mapping[str, str]] = NOTHING

    def ask(self, name: str, checks: Checks) -> None:
        """Put the part to one check."""
        known(checks, self.expected_failures)
        put(checks[name], self.kind, type(self).part, Trial(self.options, self.streams, self.expected_failures), name)


def suite(kind: str, checks: Checks) -> type[Suite]:
    """A Suite whose methods are the checks: `test_word_order` is the check "word order"."""

    def method(name: str) -> Callable[[Suite], None]:
        def test(self: Suite) -> None:
            self.ask(name, checks)

        test.__doc__ = checks[name].__doc__
        return test

    named = {f"test_{name.replace(' ', '_')}": method(name) for name in checks}
    return type(f"{kind.title()}Suite", (Suite,), {"kind": kind, **named})


EncoderSuite = suite("encoder", CHECKS["encoder"])
JoinerSuite = suite("encoder", JOINER_CHECKS)
InjectorSuite = suite("injector", CHECKS["injector"])
BackboneSuite = suite("backbone", CHECKS["backbone"])
SamplerSuite = suite("sampler", CHECKS["sampler"])
GuiderSuite = suite("guider", CHECKS["guider"])
ApproximationSuite = suite("approximation", CHECKS["approximation"])
AutoencoderSuite = suite("autoencoder", CHECKS["autoencoder"])
DatasetSuite = suite("dataset", CHECKS["dataset"])
MetricSuite = suite("metric", CHECKS["metric"])
CallbackSuite = suite("callback", CHECKS["callback"])
