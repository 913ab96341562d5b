"""`cdkit demo animals`, what `make page` ends in: from the command to a page that answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request

import pytest

PROGRAM = "from cdkit.cli.app import main; main()"  # as the console script has it
SECONDS = 20


@pytest.mark.slow  # a figure of time, which other tests beside it would spoil
def test_the_page_answers_in_time() -> None:
    begun = time.monotonic()
    command = [sys.executable, "-c", PROGRAM, "demo", "animals", "--no-open", "--device", "cpu"]
    served = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert served.stdout is not None
    try:
        address = next(line.strip() for line in served.stdout if line.startswith("http://127.0.0.1:"))
        with urllib.request.urlopen(address, timeout=SECONDS) as answer:
            page = answer.read()
        took = time.monotonic() - begun
    finally:
        served.terminate()
        served.wait(30)
        served.stdout.close()
    assert b"<form" in page
    assert took < SECONDS
    print(f"{took:.1f} s from the command to the page")
