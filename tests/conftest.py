"""One thread: two spinning teams on two cores are slower than one, and sums do not depend on the machine. And an ear on all tests."""

import sys
from collections.abc import Iterator

import pytest
import torch
from audited import Ear, unasked

torch.set_num_threads(1)
ear = Ear()
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
