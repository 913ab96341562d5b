"""crashfs: the file-system calls of an operation counted, failed or killed at the n-th, and power cuts played over their log."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

CALLS = ("mkdir", "open", "fsync", "close", "replace", "rename", "unlink", "rmdir", "scandir", "stat", "lstat")
Heard = Callable[[int, str], None]


def unmoved(n: int, call: str) -> None:
    """Lets every call be."""
    del n, call


@dataclass
class Crashfs:
    """While `watched`, every call on what lies in `folder` is numbered from 1, and `before` and `after` hear of it."""

    folder: Path
    before: Heard = unmoved
    after: Heard = unmoved
    count: int = 0
    log: list[tuple[Any, ...]] = field(default_factory=list)
    _paths: dict[int, str] = field(default_factory=dict)  # of descriptors

    @contextmanager
    def watched(self) -> Iterator[Crashfs]:
        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
            patch.setattr(os, "fdopen", self._fdopen(os.fdopen))
            yield self

    def asked(self, call: str, *noted: Any) -> int:
        self.count += 1
        self.before(self.count, call)
        self.log.append((call, *noted))
        return self.count

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            place = self._place(args[0] if args else ".", keywords.get("dir_fd"))
            if place is None:
                return real(*args, **keywords)
            target = str(args[1]) if name in ("replace", "rename") else ""
            number = self.asked(name, place, target)
            try:
                answer = real(*args, **keywords)
            finally:  # one that fails by itself was made too
                self.after(number, name)
            if name == "open":
                self._paths[answer] = place
            elif name == "close":
                self._paths.pop(args[0], None)
            return answer

        return call

    def _place(self, named: Any, folder: int | None) -> str | None:
        """The path within the folder that a call is about; None for calls on anything else."""
        if isinstance(named, int):
            return self._paths.get(named)
        path = os.fspath(named)
        path = path.decode() if isinstance(path, bytes) else path
        if folder is not None:
            return f"{self._paths[folder]}/{path}" if folder in self._paths else None
        return path if path == str(self.folder) or path.startswith(f"{self.folder}/") else None

    def _fdopen(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(descriptor: int, *args: Any, **keywords: Any) -> Any:
            file = real(descriptor, *args, **keywords)
            return Written(self, file, self._paths[descriptor]) if descriptor in self._paths else file

        return opened


class Written:
    """A file whose writes are numbered too, when they leave the process: at a flush, or at the end. Killed at one, half of it is
    there."""

    def __init__(self, fs: Crashfs, file: Any, place: str) -> None:
        self.fs, self.file, self.place, self.held = fs, file, place, b""

    def write(self, content: bytes) -> int:
        self.held += content
        return len(content)

    def flush(self) -> None:
        content, self.held = self.held, b""
        if not content:
            return
        try:
            number = self.fs.asked("write", self.place, content)
        except OSError:
            self.file.write(content[: len(content) // 2])
            raise
        self.file.write(content)
        self.file.flush()
        self.fs.after(number, "write")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> Written:
        return self

    def __exit__(self, *raised: Any) -> None:
        try:
            self.flush()
        finally:
            self.file.close()


def counted(folder: Path, work: Callable[[], object]) -> Crashfs:
    """The calls that a piece of work makes in a folder, once, without a fault."""
    with Crashfs(folder).watched() as fs:
        work()
    return fs


def failing(folder: Path, work: Callable[[], object], at: int, number: int, *, persistently: bool) -> BaseException | None:
    """Do the work with its at-th call failing, and each one after it if `persistently`; what it raised."""

    def fail(n: int, call: str) -> None:
        if n == at or (persistently and n > at):
            raise OSError(number, f"{os.strerror(number)}: {call} {n}")

    with Crashfs(folder, before=fail).watched():
        try:
            work()
        except BaseException as error:  # what any of it may raise is what is asked
            return error
    return None


def killed(folder: Path, work: Callable[[], object], at: int, when: Literal["before", "after"]) -> bool:
    """Do the work in a child that is killed at its at-th call; whether it was."""
    child = os.fork()
    if child == 0:

        def kill(n: int, call: str) -> None:
            del call
            if n == at:
                os.kill(os.getpid(), signal.SIGKILL)

        fs = Crashfs(folder, before=kill) if when == "before" else Crashfs(folder, after=kill)
        try:
            with fs.watched():
                work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


# --------------------------------------------------------------------------- power cuts

Loss = Literal["names and data", "data", "half of the data", "nothing"]
LOSSES: tuple[Loss, ...] = ("names and data", "data", "half of the data", "nothing")


@dataclass
class Node:
    """A file, with what of it is on the disk; or a folder, with the names that are."""

    content: bytes | None = None  # None: a folder
    synced: bytes = b""
    names: dict[str, Node] = field(default_factory=dict)
    durable: dict[str, Node] = field(default_factory=dict)


def as_node(path: Path) -> Node:
    """What lies on the disk, all of it durable."""
    if path.is_file():
        return Node(content=path.read_bytes(), synced=path.read_bytes())
    names = {child.name: as_node(child) for child in path.iterdir()}
    return Node(names=names, durable=dict(names))


class Disk:
    """A folder as a log of calls leaves it, and as a power cut leaves that: what was not synced may be gone."""

    def __init__(self, folder: Path, before: Node) -> None:
        self.folder, self.root = folder, before

    def play(self, log: list[tuple[Any, ...]]) -> None:
        for call, place, *more in log:
            if change := getattr(self, f"_{call}", None):  # the others read, or close
                change(place, *more)

    def _find(self, place: str) -> Node | None:
        node: Node | None = self.root
        for part in Path(place).relative_to(self.folder).parts:
            node = node.names.get(part) if node else None
        return node

    def _parent(self, place: str) -> Node:
        node = self._find(str(Path(place).parent))
        assert node is not None
        return node

    def _mkdir(self, place: str, *_: str) -> None:
        if place != str(self.folder):
            self._parent(place).names.setdefault(Path(place).name, Node())

    def _open(self, place: str, *_: str) -> None:
        if self._find(place) is None:
            self._parent(place).names[Path(place).name] = Node(content=b"")

    def _write(self, place: str, content: bytes) -> None:
        node = self._find(place)
        assert node is not None
        node.content = (node.content or b"") + content

    def _fsync(self, place: str, *_: str) -> None:
        node = self._find(place)
        assert node is not None
        if node.content is None:
            node.durable = dict(node.names)
        else:
            node.synced = node.content

    def _replace(self, place: str, target: str) -> None:
        self._parent(target).names[Path(target).name] = self._parent(place).names.pop(Path(place).name)

    _rename = _replace

    def _unlink(self, place: str, *_: str) -> None:
        self._parent(place).names.pop(Path(place).name, None)

    _rmdir = _unlink

    def cut(self, loss: Loss, onto: Path) -> None:
        """Write what is left after a power cut that takes so much of what was not synced."""
        _left(self.root, loss, onto)


def _left(node: Node, loss: Loss, onto: Path) -> None:
    if node.content is not None:
        kept = {"nothing": node.content, "half of the data": node.content[: max(len(node.synced), len(node.content) // 2)]}
        onto.write_bytes(kept.get(loss, node.synced))
        return
    onto.mkdir(exist_ok=True)
    for name, child in (node.durable if loss == "names and data" else node.names).items():
        _left(child, loss, onto / name)


FAULTS = (errno.EIO, errno.ENOSPC)
