"""audited: everything that a test runs, starts, connects to, unpickles or opens, heard through Python's own audit events.

An audit hook cannot be taken off again, and hears what no import can hide. What is heard goes to a file without a name, which the
processes that a test forks have open too. What a test may do besides what everybody may is in tests/audit/allowed.toml.
"""

from __future__ import annotations

import fnmatch
import json
import os
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
ALLOWED = ROOT / "tests" / "audit" / "allowed.toml"
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "pty.spawn")
REACHES = ("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request")
# What stands between who wants something and the event.
BETWEEN = {
    "subprocess",
    "os",
    "pickle",
    "socket",
    "io",
    "pathlib",
    "tempfile",
    "shutil",
    "importlib",
    "runpy",
    "codecs",
    "tokenize",
    "contextlib",
    "http",
    "urllib",
}


class Event(NamedTuple):
    """One thing that happened: its kind, who wanted it (a module), and what it was about."""

    kind: str
    who: str
    what: str


class Allowed(NamedTuple):
    """Events that a test may cause, and why. Each field but the reason is a pattern of fnmatch."""

    test: str
    kind: str
    who: str
    what: str
    reason: str

    def covers(self, test: str, event: Event) -> bool:
        pairs = ((test, self.test), (event.kind, self.kind), (event.who, self.who), (event.what, self.what))
        return all(fnmatch.fnmatchcase(value, pattern) for value, pattern in pairs)


@cache
def allowed() -> tuple[Allowed, ...]:
    """The list of exceptions."""
    entries = tomllib.loads(ALLOWED.read_text(encoding="utf-8"))["allow"]
    return tuple(Allowed(one["test"], one["event"], one.get("who", "*"), one.get("what", "*"), one["reason"]) for one in entries)


@cache
def code_roots() -> tuple[str, ...]:
    """Where code may come from: Python itself, what is installed, and this repository."""
    paths = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= {Path(place) for place in sys.path if place.endswith("site-packages")}
    paths |= {Path(sys.prefix), Path(sys.base_prefix), ROOT / "core", ROOT / "plugins", ROOT / "tests", ROOT / "docs"}
    return tuple(sorted(f"{path}{os.sep}" for path in {*paths, *(path.resolve() for path in paths)}))


@cache
def read_roots() -> tuple[str, ...]:
    """Where files may be read: code, this repository, temporary folders, caches, and what the system tells of itself."""
    system = ("/dev/", "/proc/", "/sys/", "/etc/", "/usr/", "/lib/", "/bin/", "/opt/", "/var/lib/", "/run/")
    return (*code_roots(), f"{ROOT}{os.sep}", *system, *write_roots())


@cache
def write_roots() -> tuple[str, ...]:
    """Where files may be written: temporary folders, caches, and what pytest and Hypothesis leave in the repository."""
    cache_home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    own = (ROOT / "build", ROOT / ".hypothesis", ROOT / ".pytest_cache", ROOT / "runs")
    places = (tempfile.gettempdir(), cache_home, os.environ.get("CDKIT_CACHE", cache_home), *map(str, own))
    devices = ("/dev/null/", "/dev/tty/", "/dev/urandom/", "/dev/full/", "/dev/shm/", "/proc/self/", "/dev/pts/")
    return (*(f"{Path(place)}{os.sep}" for place in places), *devices)


def of_module(frame: FrameType | None) -> str:
    """The module that wants something: the first in the stack that is not a go-between."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", "?"))
        if name.partition(".")[0] not in BETWEEN and name != __name__:
            return name
        frame = frame.f_back
    return "?"


def ran(code: object) -> str | None:
    """What was run, unless it is a module that lies where code may come from."""
    if not isinstance(code, CodeType):
        return None
    file = code.co_filename
    if file.startswith(("<frozen", *code_roots())):
        return None
    return file


def reached(address: object) -> str | None:
    """An address in a network; a socket in the file system connects processes of one machine."""
    return None if isinstance(address, (str, bytes)) else str(address)


def opened(path: object, mode: object, flags: object) -> str | None:
    """A file outside of the declared roots, with how it was opened."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        return None
    name = os.path.abspath(os.fsdecode(path))
    numbered = flags if isinstance(flags, int) else 0
    writes = bool(numbered & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or any(letter in str(mode or "") for letter in "wax+")
    if f"{name}{os.sep}".startswith(write_roots() if writes else read_roots()) or (not writes and not os.path.exists(name)):
        return None
    if writes and "__pycache__" in name and name.startswith(code_roots()):
        return None
    return f"{'write' if writes else 'read'} {name}"


WHAT: Mapping[str, Callable[[tuple[Any, ...]], str | None]] = {
    "exec": lambda args: ran(args[0]),
    "pickle.find_class": lambda args: f"{args[0]}.{args[1]}",
    "open": lambda args: opened(*args),
    **dict.fromkeys(STARTS, lambda args: str(args[0])[-120:]),
    "socket.connect": lambda args: reached(args[1]),
    "socket.sendto": lambda args: reached(args[1]),
    "socket.getaddrinfo": lambda args: str(args[0]),
    "urllib.Request": lambda args: str(args[0]),
}


class Ear:
    """Hears events for as long as it listens; `heard` tells of them, once."""

    def __init__(self) -> None:
        self.listening = False
        self._kept, path = tempfile.mkstemp()
        os.unlink(path)

    def hook(self, kind: str, args: tuple[Any, ...]) -> None:
        """What `sys.addaudithook` calls. It raises nothing: an event is told of, not prevented."""
        if not self.listening or (about := WHAT.get(kind)) is None:
            return
        what = about(args)
        if what is not None:
            with suppress(OSError):  # a process that closed all its files
                os.write(self._kept, json.dumps(Event(kind, of_module(sys._getframe(1)), what)).encode() + b"\n")

    def heard(self) -> list[Event]:
        """What happened since it was asked last, in this process and in those that it forked."""
        size = os.lseek(self._kept, 0, os.SEEK_END)
        lines = os.pread(self._kept, size, 0).splitlines()
        os.ftruncate(self._kept, 0)
        os.lseek(self._kept, 0, os.SEEK_SET)
        return [Event(*json.loads(line)) for line in lines]


def unasked(test: str, events: Iterable[Event]) -> list[Event]:
    """Those that nothing allows to the test."""
    return [event for event in dict.fromkeys(events) if not any(one.covers(test, event) for one in allowed())]
