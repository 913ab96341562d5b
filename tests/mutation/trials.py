"""Tests run in a forked child, on a copy of the tree: once to see which test runs which line, then once for each change.

The parent has at first imported what is heavy (torch and the like) and nothing of cdkit, so that a child sees the changed module
like any other; processes that a test starts see it too. Then it imports cdkit and the tests, so that a child begins at once, and
puts the change into what is imported. What runs at the import is tried from there on.
"""

from __future__ import annotations

import ast
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from changes import changes, tree_of
from inplace import Collected, Functions, exchanged, memories
from pluggy import HookimplMarker

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "mutation"
TREE = BUILD / "tree"
HEAVY = (
    "torch", "torchvision", "numpy", "scipy.stats", "yaml", "PIL.Image", "click", "rich.progress", "pydantic", "pluggy", "einops",
    "safetensors.torch", "hypothesis", "hypothesis.strategies", "pytest", "_pytest.assertion.rewrite", "coverage",
)  # fmt: skip
hookimpl = HookimplMarker("pytest")
TOO_LATE = "too late"  # what is changed has run already
LOUD = "LOUD" in os.environ  # to see what a child says
QUIET = (
    "-q",
    "-x",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:randomly",
    "-p",
    "no:xdist",
    "--no-header",
    "-m",
    "not slow",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)


class Mapped(NamedTuple):
    """What the tests are without a change: seconds of a core, which run each line, and what they import of others."""

    seconds: Mapping[str, float]
    lines: Mapping[str, Mapping[int, Sequence[str]]]  # by module, then by line: tests; "" stands for the import
    imported: Sequence[str]
    apart: Mapping[str, Sequence[str]]  # by module, the tests that start it as a process of its own


class Way(NamedTuple):
    """One change to a module, by its number; and the changed source."""

    module: str
    number: int
    line: int
    what: str
    source: str

    @property
    def key(self) -> str:
        return f"{self.module}#{self.number}"


def copy_tree() -> None:
    """What git tracks and what is new, to where it may be changed."""
    shutil.rmtree(TREE, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (TREE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, TREE / name)


def begin() -> None:
    """Make this process one to fork from."""
    places = [str(TREE / "core"), str(TREE / "plugins")]
    os.environ |= {
        "PYTHONPATH": os.pathsep.join(places),
        "OMP_NUM_THREADS": "1",
        "CDKIT_AUDIT": "off",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(BUILD / "hypothesis"),
    }
    sys.path[:0] = places
    for name in HEAVY:
        __import__(name)
    sys.modules["torch"].set_num_threads(1)


def forked(work: Callable[[], int], longest: float, *, loud: bool = LOUD) -> int | None:
    """The exit code of work in a child; None if it took more seconds of a core than that, or ten times as many to wait for."""
    child = os.fork()
    if child == 0:
        os.setsid()
        code = 99
        try:
            if not loud:
                silence()
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    deadline = time.monotonic() + 10 * longest
    while time.monotonic() < deadline and worked(child) < longest:
        if (ended := os.waitpid(child, os.WNOHANG)) != (0, 0):
            return os.waitstatus_to_exitcode(ended[1])
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def worked(child: int) -> float:
    """The seconds of a core that a process and those that it waited for have taken: how busy others are is not in them."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def silence() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def without_shrinking() -> None:
    """A failure is enough; its smallest example is nobody's question here."""
    from hypothesis import Phase, settings

    settings.register_profile("mutation", phases=(Phase.explicit, Phase.generate), database=None, derandomize=True)
    settings.load_profile("mutation")


def imported() -> list[str]:
    """The modules of other distributions that are here: what the parent had better import once than every child again."""
    return sorted(name for name, module in sys.modules.items() if "site-packages" in str(getattr(module, "__file__", "")))


class Watch:
    """A plugin of pytest that notes how long each test takes, which fail and what they start with `python -m`, and tells coverage
    whose lines these are: what the first of several tests runs for all of them, in a fixture or in a function that remembers, is
    every one's.
    """

    def __init__(self, coverage: Any) -> None:
        self.coverage = coverage
        self.remembering = memories()
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.started: dict[str, set[str]] = {}  # by dotted name: the tests
        self.sharing: dict[str, set[str]] = {}  # by fixture: the tests
        self.running = ""

    def heard(self, event: str, args: tuple[Any, ...]) -> None:
        """An audit event."""
        if event == "subprocess.Popen" and self.running and "-m" in (line := list(args[1])):
            self.started.setdefault(line[line.index("-m") + 1], set()).add(self.running)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        for memory in self.remembering:
            memory.cache_clear()
        self.running = nodeid
        self.coverage.switch_context(nodeid)
        self.seconds[nodeid] = -taken()

    def pytest_runtest_setup(self, item: Any) -> None:
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            self.sharing.setdefault(named(definitions[-1]), set()).add(item.nodeid)

    @hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, Any]:
        """Made once for several tests."""
        if fixturedef.scope != "function":
            self.coverage.switch_context(named(fixturedef))
        try:
            return (yield)
        finally:
            self.coverage.switch_context(self.running)

    def tests(self, contexts: Sequence[str]) -> list[str]:
        """Those behind the names that coverage was told."""
        found = {test for context in contexts for test in self.sharing.get(context, {context})}
        return sorted(found & self.seconds.keys() - self.failed)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.seconds[nodeid] += taken()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed.add(report.nodeid)


def named(fixture: Any) -> str:
    return f"fixture {fixture.argname} of {fixture.baseid}"


def taken() -> float:
    """The seconds of a core that this process and those that it waited for have taken."""
    return sum(os.times()[:4])


def warmly(tests: Sequence[str], work: Callable[[Collected], None], longest: float = 30_000) -> None:
    """Work in a child that has imported these tests, and with them cdkit. RuntimeError if it came to no end."""

    def collected() -> int:
        os.chdir(TREE)
        without_shrinking()
        return int(pytest.main([*QUIET, *tests], plugins=[Collected(work)]))

    import pytest

    if (code := forked(collected, longest, loud=True)) != 0:
        raise RuntimeError(f"the tests in {', '.join(tests)} could not be tried: {code}")


def mapped(collected: Collected, modules: Sequence[str], file: Path, longest: float = 3000) -> None:
    """All tests run on the tree as it is. What fails then is left out, and told of: nothing could be said of changes by it."""

    def work() -> int:
        import coverage

        watched = coverage.Coverage(data_file=None, include=[str(TREE / module) for module in modules])
        watch = Watch(watched)
        sys.addaudithook(watch.heard)
        collected.session.config.pluginmanager.register(watch)
        collected.session.config.option.maxfail = 0
        watched.start()
        collected.run([item.nodeid for item in collected.session.items], through=True)
        watched.stop()
        data = watched.get_data()
        lines = {
            module: {line: watch.tests(names) for line, names in data.contexts_by_lineno(str(TREE / module)).items()}
            for module in modules
        }
        apart = {module: sorted(watch.started.get(dotted(module), set()) - watch.failed) for module in modules}
        told = {
            "seconds": watch.seconds,
            "lines": lines,
            "imported": imported(),
            "apart": apart,
            "failed": sorted(watch.failed),
        }
        file.write_text(json.dumps(told))
        return 0

    if (code := forked(work, longest)) != 0:
        raise RuntimeError(f"the tests of {', '.join(modules[:3])} … end with {code} without any change")


def dotted(module: str) -> str:
    """`core/cdkit/registry/child.py` as it is imported."""
    return module.removeprefix("core/").removesuffix(".py").replace("/", ".")


def read_map(file: Path) -> Mapped:
    told = json.loads(file.read_text())
    if told["failed"]:
        print(f"left out, since they fail without any change: {told['failed']}", flush=True)
    lines = {module: {int(line): names for line, names in by.items()} for module, by in told["lines"].items()}
    return Mapped(told["seconds"], lines, told["imported"], told["apart"])


def prepare(names: Sequence[str]) -> None:
    """Import what the tests import of others."""
    for name in names:
        with suppress(Exception):
            import_module(name)
    gc.freeze()


def noticed_in_place(collected: Collected, known: Functions, way: Way, tests: Sequence[str], longest: float) -> str:
    """As `noticed`, of a change to what is imported; TOO_LATE where that cannot be."""
    file = str(TREE / way.module)
    tree = tree_of(Path(file).read_text(encoding="utf-8"), file)
    plain = compile(tree, file, "exec", dont_inherit=True)
    changes(tree)[way.number].make()
    try:
        other = compile(ast.fix_missing_locations(tree), file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return TOO_LATE

    def work() -> int:
        return collected.run(tests) if exchanged(plain, other, known) else 70

    return outcome_of(way, work, longest)


def noticed(way: Way, tests: Sequence[str], longest: float) -> str:
    """What tells of a module's other source: "failed", "timeout", "crashed"; or "survived"."""

    def work() -> int:
        import pytest

        os.chdir(TREE)
        without_shrinking()
        return int(pytest.main([*QUIET, *tests]))

    return outcome_of(way, work, longest)


def outcome_of(way: Way, work: Callable[[], int], longest: float) -> str:
    """Of work in a child while the module's file is changed: processes that a test starts import it anew."""
    path = TREE / way.module
    original = path.read_text(encoding="utf-8")
    for cached in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        cached.unlink()

    def unwritten() -> int:
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        return work()

    try:
        path.write_text(way.source, encoding="utf-8")
        code = forked(unwritten, longest)
    finally:
        path.write_text(original, encoding="utf-8")
    if code is None:
        return "timeout"
    return {0: "survived", 1: "failed", 2: "failed", 70: TOO_LATE}.get(code, "crashed")
