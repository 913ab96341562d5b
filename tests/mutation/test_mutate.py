"""Which tests a change is held to: those that run its line, the quickest first; and who runs what was run once for several."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parent))
import mutate
from trials import Mapped, Watch


def mapping(**seconds: float) -> Mapped:
    lines = {"m.py": {1: [""], 2: ["", "slow", "quick"], 3: ["third"]}, "constants.py": {1: [""]}, "child.py": {}}
    return Mapped(seconds, lines, (), {"m.py": (), "constants.py": (), "child.py": ("slow", "third")})


def test_the_quickest_that_run_the_line() -> None:
    assert mutate.tests_of(mapping(quick=1, slow=5, third=0), "m.py", 2) == ["quick", "slow"]
    assert mutate.tests_of(mapping(quick=1, slow=mutate.ENOUGH_SECONDS, third=0), "m.py", 2) == ["quick"]
    assert mutate.tests_of(mapping(quick=99, slow=100, third=0), "m.py", 2) == ["quick"], "one at least"


def test_what_runs_at_the_import_is_held_to_more() -> None:
    every = mapping(quick=1, slow=mutate.ENOUGH_SECONDS, third=0, other=0.5)
    assert mutate.tests_of(every, "m.py", 1) == ["third", "quick", "slow"]
    assert mutate.tests_of(every, "constants.py", 1) == ["third", "other", "quick", "slow"], "whoever runs, imports it"


def test_what_runs_as_a_process_is_held_to_those_that_start_it() -> None:
    assert mutate.tests_of(mapping(quick=1, slow=mutate.THOROUGH_SECONDS, third=0), "child.py", 7) == ["third", "slow"]


class Contexts:
    """Stands in for coverage."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def switch_context(self, name: str) -> None:
        self.told.append(name)


def test_a_fixture_of_several_tests_is_every_ones() -> None:
    contexts = Contexts()
    watch = Watch(contexts)
    shared = SimpleNamespace(scope="module", argname="shared", baseid="test_x.py")
    own = SimpleNamespace(scope="function", argname="own", baseid="test_x.py")
    for test in ("one", "two", "failing"):
        watch.pytest_runtest_logstart(test)
        watch.pytest_runtest_setup(
            SimpleNamespace(nodeid=test, _fixtureinfo=SimpleNamespace(name2fixturedefs={"shared": [own, shared]}))
        )
    watch.failed.add("failing")
    for fixture in (shared, own):
        made = watch.pytest_fixture_setup(fixture)
        next(made)
        made.close()
    assert contexts.told == ["one", "two", "failing", "fixture shared of test_x.py", "failing", "failing"]
    assert watch.tests(["", "fixture shared of test_x.py"]) == ["one", "two"]
    assert watch.tests(["two", "failing"]) == ["two"]


def test_tests_that_start_a_module_are_noted() -> None:
    watch = Watch(Contexts())
    watch.running = "one"
    watch.heard("subprocess.Popen", ("python", ["python", "-m", "cdkit.registry.child", "x"], None, None))
    watch.heard("subprocess.Popen", ("python", ["python", "-c", "pass"], None, None))
    watch.heard("open", ("-m", "r", 0))
    assert watch.started == {"cdkit.registry.child": {"one"}}
