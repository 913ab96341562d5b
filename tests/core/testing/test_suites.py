"""every_check, the suites and the registry fixture, as an author uses them: in a pytest of their own."""

from __future__ import annotations

from typing import ClassVar

import pytest
from cdkit.registry import Registry
from cdkit.registry.registry import UnknownPart
from cdkit.testing import Check, GuiderSuite, SamplerSuite, every_check
from cdkit.testing.fixtures import IsolatedRegistry, cdkit_registry
from cdkit_guiders.cfg import Cfg
from cdkit_samplers.ddim import Ddim
from cdkit_samplers.lcm import Lcm

__all__ = ["cdkit_registry"]
KEEPS = {"lands": "its boundary condition keeps a trace of x"}


@every_check("sampler", Lcm, expected_failures=KEEPS)
def test_every_check(check: Check) -> None:
    check()


class TestDdim(SamplerSuite):
    part = Ddim
    options: ClassVar[dict[str, float]] = {"eta": 1.0}


class TestCfg(GuiderSuite):
    part = Cfg
    ran: ClassVar[list[str]] = []

    def test_batch(self) -> None:
        self.ran.append("ours")


def outcomes(test: object, checks: str) -> list[str]:
    """What became of the checks named: run one after the other, as the decorator lays them out."""
    [mark] = test.pytestmark  # pyright: ignore[reportAttributeAccessIssue]  # a decorated function has it
    found = []
    for case in mark.args[1]:
        if case.id in checks.split(","):
            try:
                case.values[0]()
                found.append("passed")
            except pytest.xfail.Exception:
                found.append("xfailed")
            except AssertionError as error:
                found.append(f"failed {error}")
    return found


def test_an_expected_failure_is_shown_as_one_and_an_error_once_it_passes() -> None:
    assert outcomes(test_every_check, "lands,pure") == ["passed", "xfailed"]

    @every_check("sampler", Ddim, expected_failures=KEEPS)
    def test_mistaken(check: Check) -> None: ...

    [said] = outcomes(test_mistaken, "lands")
    assert said == f"failed declared an exception ({KEEPS['lands']}), but it holds; drop the exception"


def test_an_expected_failure_of_no_check_is_refused() -> None:
    with pytest.raises(ValueError, match="no check is called 'land'; the checks are finite, pure, batch, lands, calls, copies"):
        every_check("sampler", Ddim, expected_failures={"land": "a slip"})


def test_a_suite_has_a_method_a_check_that_can_be_replaced() -> None:
    assert {name for name in dir(GuiderSuite) if name.startswith("test_")} == {
        "test_branches",
        "test_agreement",
        "test_batch",
        "test_copies",
    }
    TestCfg().test_batch()
    assert TestCfg.ran[-1] == "ours"


def test_the_fixture_finds_our_parts_and_those_added_and_nothing_else(
    cdkit_registry: IsolatedRegistry,
) -> None:
    assert "ddim" in Registry.installed().names("sampler")
    with pytest.raises(UnknownPart):
        Registry.installed().get("sampler", "mine")
    cdkit_registry.add("sampler", "mine", Ddim)
    assert Registry.installed().get("sampler", "mine") is Ddim
    providers = {Registry.installed().provider("sampler", name) for name in Registry.installed().names("sampler")}
    assert {provider.split("==")[0] for provider in providers} == {"cdkit", "in-memory"}


def test_after_the_fixture_it_is_gone() -> None:
    with pytest.raises(UnknownPart):
        Registry.installed().get("sampler", "mine")
