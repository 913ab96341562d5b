"""Tests run in a forked child, on a copy of the tree: once to see which test runs which line, then once for each change.

The parent has imported what is heavy (torch and the like) and nothing of cdkit, so that a child begins in a tenth of a second
and sees the changed module like any other; processes that a test starts see it too.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "mutation"
TREE = BUILD / "tree"
HEAVY = (
    "torch", "torchvision", "numpy", "scipy.stats", "yaml", "PIL.Image", "click", "rich.progress", "pydantic", "pluggy", "einops",
    "safetensors.torch", "hypothesis", "hypothesis.strategies", "pytest", "_pytest.assertion.rewrite", "coverage",
)  # fmt: skip
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
    """What the tests are without a change: how long each takes, and which run each line."""

    seconds: Mapping[str, float]
    lines: Mapping[str, Mapping[int, Sequence[str]]]  # by module, then by line: tests; "" stands for the import


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
        "HYPOTHESIS_STORAGE_DIRECTORY": str(BUILD / "hypothesis"),
    }
    sys.path[:0] = places
    for name in HEAVY:
        __import__(name)
    sys.modules["torch"].set_num_threads(1)


def forked(work: Callable[[], int], longest: float) -> int | None:
    """The exit code of some work in a child; None if it took longer than so many seconds."""
    child = os.fork()
    if child == 0:
        os.setsid()
        code = 99
        try:
            if not LOUD:
                silence()
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    deadline = time.monotonic() + longest
    while time.monotonic() < deadline:
        if (ended := os.waitpid(child, os.WNOHANG)) != (0, 0):
            return os.waitstatus_to_exitcode(ended[1])
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


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
    """A plugin of pytest that notes how long each test takes, and tells coverage whose lines these are."""

    def __init__(self, coverage: Any) -> None:
        self.coverage = coverage
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration


def mapped(tests: Sequence[str], modules: Sequence[str], longest: float = 3000) -> Mapped:
    """Run the tests on the tree as it is. RuntimeError if one fails: nothing could be said of changes then."""
    found = BUILD / "map.json"
    found.unlink(missing_ok=True)

    def work() -> int:
        import coverage
        import pytest

        os.chdir(TREE)
        without_shrinking()
        watched = coverage.Coverage(data_file=None, include=[str(TREE / module) for module in modules])
        watch = Watch(watched)
        watched.start()
        code = int(pytest.main([*QUIET, *tests], plugins=[watch]))
        watched.stop()
        data = watched.get_data()
        lines = {module: data.contexts_by_lineno(str(TREE / module)) for module in modules}
        found.write_text(json.dumps({"seconds": watch.seconds, "lines": lines, "imported": imported()}))
        return code

    code = forked(work, longest)
    if code != 0:
        raise RuntimeError(f"the tests of {', '.join(modules[:3])} … end with {code} without any change")
    told = json.loads(found.read_text())
    for name in told["imported"]:
        with suppress(Exception):
            import_module(name)
    gc.freeze()
    lines = {module: {int(line): names for line, names in by.items()} for module, by in told["lines"].items()}
    return Mapped(told["seconds"], lines)


def noticed(module: str, source: str, tests: Sequence[str], longest: float) -> str:
    """What tells of a module's other source: "failed", "timeout", "crashed"; or "survived"."""
    path = TREE / module
    original = path.read_text(encoding="utf-8")
    for cached in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        cached.unlink()

    def work() -> int:
        import pytest

        os.chdir(TREE)
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        without_shrinking()
        return int(pytest.main([*QUIET, *tests]))

    try:
        path.write_text(source, encoding="utf-8")
        code = forked(work, longest)
    finally:
        path.write_text(original, encoding="utf-8")
    if code is None:
        return "timeout"
    return {0: "survived", 1: "failed", 2: "failed"}.get(code, "crashed")
