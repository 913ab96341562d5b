"""A page that is really served: a small model of random weights, on a free port of this machine."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cdkit
import pytest
import uvicorn
from cdkit.conditions import Count
from cdkit_page.serve import configured, listening

DIGITS = Path(__file__).parents[3] / "specs" / "digits.yaml"
TOKEN = "a-secret-of-this-test"


@dataclass(frozen=True)
class Served:
    """A page, and what it draws with."""

    port: int
    models: dict[str, cdkit.Model]
    token: str = TOKEN

    @contextmanager
    def asked(self, wanted: Any) -> Generator[http.client.HTTPResponse]:
        """The answer to a request as the page itself makes it; at the end the page is closed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        told = {"Content-Type": "application/json", "Origin": f"http://127.0.0.1:{self.port}", "X-Cdkit-Token": self.token}
        connection.request("POST", "/draw", json.dumps(wanted), told)
        answer = connection.getresponse()
        try:
            yield answer
        finally:
            answer.close()
            connection.close()

    def events(self, wanted: Any) -> list[dict[str, Any]]:
        with self.asked(wanted) as answer:
            assert answer.status == 200, answer.read()
            return [json.loads(line) for line in answer]

    def raw(self, request: bytes) -> bytes:
        """What is answered to these very bytes, until the other side hangs up."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as line:
            line.sendall(request)
            line.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: line.recv(65536), b""))


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    spec = cdkit.read_spec(DIGITS, overrides=["sampler.steps=4", "backbone.width=16", "conditions.text.dim=16"])
    model, other = (built(spec), built(spec))
    with listening("127.0.0.1", 0) as line:
        page = Served(line.getsockname()[1], {"one": model, "two": other})
        server = uvicorn.Server(configured(page.models, line, TOKEN))
        thread = threading.Thread(target=lambda: server.run(sockets=[line]))
        thread.start()
        yield page
        server.should_exit = True
        thread.join(20)


def built(spec: cdkit.Spec) -> cdkit.Model:
    from cdkit.build import assemble

    model = assemble(spec).eval()
    model.ledger.counts["text"] = Count(told=9, silent=1)
    return model
