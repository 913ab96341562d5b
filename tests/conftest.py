"""One thread: two spinning teams on two cores are slower than one, and sums do not depend on the machine. An ear on every test.

A test that does what tests/audit/allowed.toml does not allow fails; CDKIT_AUDIT=note writes to build/audit what was heard,
a line each, and with CDKIT_AUDIT=off nobody listens.
"""

import json
import os
import sys
from collections.abc import Iterator

import pytest
import torch
from audited import ROOT, Ear, Event, unasked

torch.set_num_threads(1)
AUDIT = os.environ.get("CDKIT_AUDIT", "on")
ear = Ear()
if AUDIT != "off":
    sys.addaudithook(ear.hook)


def listening(item: pytest.Item) -> Iterator[None]:
    """A test may run, start, connect to, unpickle and open what tests/audit/allowed.toml says, and nothing else."""
    ear.heard()  # what others left
    ear.listening = True
    try:
        yield
    finally:
        ear.listening = False
    if events := unasked(item.nodeid, ear.heard()):
        told(item.nodeid, events)


def told(test: str, events: list[Event]) -> None:
    """Of what was heard and is not allowed: a failure, or a note."""
    if AUDIT == "note":
        notes = ROOT / "build" / "audit" / f"{os.getpid()}.jsonl"
        notes.parent.mkdir(parents=True, exist_ok=True)
        with notes.open("a") as file:
            file.writelines(json.dumps([test, *event]) + "\n" for event in events)
        return
    lines = "\n".join(f"  {event.kind} by {event.who}: {event.what}" for event in events[:20])
    pytest.fail(f"heard what tests/audit/allowed.toml does not allow:\n{lines}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    yield from listening(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield from listening(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    yield from listening(item)
