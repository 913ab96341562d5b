"""Forty hostile requests, forty refusals; and the page's own requests, which are answered."""

from __future__ import annotations

import http.client
import json
import re
from typing import Any

import pytest

from .conftest import TOKEN, Served

ASKED = json.dumps({"prompt": "seven", "runs": ["one"], "words": False})


def request(
    line: str = "POST /draw HTTP/1.1", body: str | bytes = ASKED, *, drop: tuple[str, ...] = (), extra: str = "", **changed: str
) -> bytes:
    """The page's own request, with something wrong. PORT stands for the port."""
    sent = body.encode() if isinstance(body, str) else body
    headers = {
        "Host": "127.0.0.1:PORT",
        "Origin": "http://127.0.0.1:PORT",
        "X-Cdkit-Token": TOKEN,
        "Content-Type": "application/json",
        "Content-Length": str(len(sent)),
        "Connection": "close",
    }
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if name not in drop]
    return "\r\n".join([line, *lines]).encode() + f"\r\n{extra}\r\n".encode() + sent


def get(path: str, **changed: str) -> bytes:
    return request(f"GET {path} HTTP/1.1", "", drop=("Content-Type", "Content-Length", "X-Cdkit-Token"), **changed)


def asking(**changed: Any) -> bytes:
    return request(body=json.dumps({**json.loads(ASKED), **changed}))


HOSTILE = {
    "another host": request(Host="evil.example"),
    "a rebound name": request(Host="evil.example:PORT"),
    "the right host, another port": request(Host="127.0.0.1:1"),
    "no port": request(Host="127.0.0.1"),
    "another address of this machine": request(Host="127.0.0.2:PORT"),
    "all addresses": request(Host="0.0.0.0:PORT"),
    "a host that begins alike": request(Host="127.0.0.1:PORT.evil.example"),
    "no host": request(drop=("Host",)),
    "two hosts": request(extra="Host: evil.example\r\n"),
    "an absolute address": request("POST http://evil.example/draw HTTP/1.1", Host="evil.example"),
    "another origin": request(Origin="http://evil.example"),
    "an origin of no page": request(Origin="null"),
    "another scheme": request(Origin="https://127.0.0.1:PORT"),
    "an origin of another port": request(Origin="http://127.0.0.1:1"),
    "no origin": request(drop=("Origin",)),
    "two origins": request(extra="Origin: http://127.0.0.1:PORT\r\n"),
    "another site": request(Sec_Fetch_Site="cross-site"),
    "a preflight": request("OPTIONS /draw HTTP/1.1", "", Origin="http://evil.example", Access_Control_Request_Method="POST"),
    "no token": request(drop=("X-Cdkit-Token",)),
    "another token": request(X_Cdkit_Token="guess"),
    "half of the token": request(X_Cdkit_Token=TOKEN[:-1]),
    "an empty token": request(X_Cdkit_Token=""),
    "a token twice": request(f"POST /draw?token={TOKEN} HTTP/1.1"),
    "a token and more": request(f"POST /draw?token={TOKEN}&redirect=http://evil.example HTTP/1.1", drop=("X-Cdkit-Token",)),
    "the page without a token": get("/"),
    "the page with another token": get("/?token=guess"),
    "a long address": get(f"/?token={'a' * 2000}"),
    "a file": get(f"/../../etc/passwd?token={TOKEN}"),
    "an encoded file": get(f"/%2e%2e/%2e%2e/etc/passwd?token={TOKEN}"),
    "a path that is encoded": request("POST /%64raw HTTP/1.1"),
    "a path with more behind it": request("POST /draw/animals HTTP/1.1"),
    "asked by GET": request("GET /draw HTTP/1.1", ""),
    "deleted": request("DELETE /draw HTTP/1.1"),
    "a form": request(Content_Type="application/x-www-form-urlencoded"),
    "text that is JSON": request(Content_Type="text/plain"),
    "compressed": request(Content_Encoding="gzip"),
    "64 KB and one": request(body=b" " * (64 * 1024 + 1)),
    "in pieces, of any size": request(drop=("Content-Length",), Transfer_Encoding="chunked", body=b"0\r\n\r\n"),
    "a length that is none": request(Content_Length="-5"),
    "more than it says": request(Content_Length="5"),
    "a websocket": get(f"/?token={TOKEN}", Upgrade="websocket", Connection="Upgrade", Origin="http://evil.example"),
    "heads without end": request(extra="".join(f"X-{n}: {'a' * 1000}\r\n" for n in range(100))),
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "half of a request": request(Content_Length="500"),
    "no JSON": request(body="{"),
    "nested JSON": request(body="[" * 30_000),
    "no object": request(body="[]"),
    "another key": asking(cmd="ls"),
    "a run by its path": asking(runs=["/etc"]),
    "a run of another folder": asking(runs=["../one"]),
    "no run": asking(runs=[]),
    "a hundred runs": asking(runs=["one"] * 100),
    "a million steps": asking(steps=1_000_000),
    "steps as text": asking(steps="4"),
    "guidance without end": request(body=ASKED.replace("}", ', "guidance": Infinity}')),
    "a seed below zero": asking(seed=-1),
    "a prompt without end": asking(prompt="a" * 1001),
    "half a character": request(body=ASKED.replace("seven", "\\ud800")),
}


def test_there_are_forty() -> None:
    assert len(HOSTILE) >= 40


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_request_is_refused(name: str, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(type(served.models["one"]), "sample", lambda *_, **__: asked.append(1))
    answer = served.raw(HOSTILE[name].replace(b"PORT", str(served.port).encode()))
    assert re.match(rb"HTTP/1.1 4\d\d ", answer) or not answer, answer[:200]
    assert not asked
    assert b"access-control-allow" not in answer.lower()
    assert b"Traceback" not in answer
    assert TOKEN.encode() not in answer


def test_the_page_itself_is_answered(served: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    for path in ("/", "/page.css", "/page.js", "/words.js", "/about"):
        connection.request("GET", f"{path}?token={TOKEN}")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, path
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "server" not in answer.headers
    connection.close()


def test_only_this_machine_is_listened_to(served: Served) -> None:
    import psutil

    heard = {row.laddr.ip for row in psutil.Process().net_connections("tcp") if row.laddr and row.laddr.port == served.port}
    assert heard == {"127.0.0.1"}
