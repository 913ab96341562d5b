"""gate: who may speak to the page. Whatever is not plainly the page itself, on this machine, is refused before it is read.

Against DNS rebinding the Host is checked, against other pages in the same browser the Origin and a secret, against floods the
size, the time and the kind of what is sent. Paths are a fixed list and carry no parameters.
"""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import parse_qsl

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 64 * 1024  # bytes of a body
HEAVIEST = 16 * 1024  # bytes of all headers
LONGEST = 512  # bytes of a query
PATIENCE = 10.0  # seconds for a body to arrive
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
Routes: TypeAlias = dict[str, str]  # the one method of every path


@dataclass(frozen=True, slots=True)
class Refused(Exception):
    """status: of the answer. why: a sentence, which quotes nothing that was sent."""

    status: HTTPStatus
    why: str


@dataclass(frozen=True)
class Gate:
    """An ASGI application in front of another: what it lets through is the page's own.

    routes: the method of every path that there is. port: that this is served at. token: what the page's address holds.
    """

    app: ASGIApp
    routes: Routes
    port: int
    token: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("only HTTP is spoken here")  # uvicorn is told ws="none" and lifespan="off"
        answer = guarded(send)
        try:
            self.check(scope)
            body = await read(scope, receive)
        except Refused as refused:
            await PlainTextResponse(refused.why, refused.status)(scope, receive, answer)
            return
        await self.app(scope, replayed(body, receive), answer)

    def check(self, scope: Scope) -> None:
        """Refused for everything but a request of the page's own, by what its head says."""
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEAVIEST:
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too much is said of the request")
        self._host(headers)
        self._origin(scope["method"], headers)
        self._path(scope)
        self._token(scope, headers)
        if scope["method"] == "POST":
            sized(headers)

    def _host(self, headers: dict[bytes, list[bytes]]) -> None:
        if headers.get(b"host", []) not in [[f"{home}:{self.port}".encode()] for home in ("127.0.0.1", "localhost")]:
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "this page is served as 127.0.0.1 alone")

    def _origin(self, method: str, headers: dict[bytes, list[bytes]]) -> None:
        ours = [f"http://{home}:{self.port}".encode() for home in ("127.0.0.1", "localhost")]
        origins = headers.get(b"origin", [])
        if any(origin not in ours for origin in origins) or len(origins) > 1 or (method == "POST" and not origins):
            raise Refused(HTTPStatus.FORBIDDEN, "asked from elsewhere than the page")
        if any(site not in (b"same-origin", b"none") for site in headers.get(b"sec-fetch-site", [])):
            raise Refused(HTTPStatus.FORBIDDEN, "asked from another site")

    def _path(self, scope: Scope) -> None:
        path = scope["path"]
        if path not in self.routes or scope.get("raw_path", path.encode()) != path.encode():
            raise Refused(HTTPStatus.NOT_FOUND, "there is nothing here")
        if scope["method"] != self.routes[path]:
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"this is asked by {self.routes[path]}")

    def _token(self, scope: Scope, headers: dict[bytes, list[bytes]]) -> None:
        """In the query of what the browser asks by itself, in a header of what the page's program does; never both or twice."""
        query = scope["query_string"]
        if len(query) > LONGEST:
            raise Refused(HTTPStatus.REQUEST_URI_TOO_LONG, "the address is too long")
        asked = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        told = [value for _, value in asked] + [value.decode("latin-1") for value in headers.get(b"x-cdkit-token", [])]
        if any(name != "token" for name, _ in asked) or len(told) != 1:
            raise Refused(HTTPStatus.FORBIDDEN, "the address that cdkit printed has a token; this request has not that alone")
        if not hmac.compare_digest(told[0].encode("utf-8", "surrogatepass"), self.token.encode()):
            raise Refused(HTTPStatus.FORBIDDEN, "another token than that of the address that cdkit printed")


def sized(headers: dict[bytes, list[bytes]]) -> None:
    """Refused unless a POST says that it is JSON, as it is, of a size that is read."""
    if headers.get(b"content-type") not in ([b"application/json"], [b"application/json; charset=utf-8"]):
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
    if headers.get(b"content-encoding"):
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "nothing compressed is read")
    lengths = headers.get(b"content-length", [])
    if len(lengths) != 1 or not lengths[0].isdigit():
        raise Refused(HTTPStatus.LENGTH_REQUIRED, "expected one Content-Length")
    if len(lengths[0]) > len(str(LARGEST)) or int(lengths[0]) > LARGEST:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {LARGEST} bytes are read")


async def read(scope: Scope, receive: Receive) -> bytes:
    """The whole body, while it comes in time and is not too large."""
    if scope["method"] != "POST":
        return b""
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(HTTPStatus.BAD_REQUEST, "it broke off")
                parts.append(message.get("body", b""))
                if sum(map(len, parts)) > LARGEST:
                    raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {LARGEST} bytes are read")
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, "it came too slowly") from None


def replayed(body: bytes, receive: Receive) -> Receive:
    """The body that was read, once, and then whatever follows: that the page was closed."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


def guarded(send: Send) -> Send:
    """Every answer with the headers that keep a browser from doing more than showing it."""

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message["headers"], *extra]}
        await send(message)

    return told
