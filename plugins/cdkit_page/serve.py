"""serve: the page and its one job, on a socket of this machine."""

from __future__ import annotations

import json
import socket as sockets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from importlib.resources import files

import cdkit
import uvicorn
from cdkit.parts import EnvironmentFault, UsageError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from cdkit_page.asked import read
from cdkit_page.drawing import draw
from cdkit_page.gate import Gate
from cdkit_page.job import Desk
from cdkit_page.models import about, chosen

STATIC = {"/page.css": "text/css", "/page.js": "text/javascript", "/words.js": "text/javascript"}
ROUTES = {"/": "GET", **dict.fromkeys(STATIC, "GET"), "/about": "GET", "/draw": "POST"}
LINGER = 2  # seconds that Ctrl-C waits for an answer under way


@contextmanager
def listening(home: str, port: int) -> Generator[sockets.socket]:
    """A socket at an address of this machine; port 0 is any that is free. EnvironmentFault where it is taken."""
    with sockets.socket(sockets.AF_INET, sockets.SOCK_STREAM) as socket:
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        try:
            socket.bind((home, port))
            socket.listen()  # before anybody is told the address
        except OSError as error:
            raise EnvironmentFault(f"{home}:{port}: {error.strerror}", hint="leave --port out: any free one is taken") from error
        yield socket


def serve(models: Mapping[str, cdkit.Model], socket: sockets.socket, token: str) -> None:
    """Answer until somebody presses Ctrl-C."""
    uvicorn.Server(configured(models, socket, token)).run(sockets=[socket])


def configured(models: Mapping[str, cdkit.Model], socket: sockets.socket, token: str) -> uvicorn.Config:
    """The page behind its gate, and a server that speaks plain HTTP/1.1, logs no address and names no program."""
    return uvicorn.Config(
        Gate(page(models, token), ROUTES, socket.getsockname()[1], token),
        http="h11",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=32,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=LINGER,
    )


def page(models: Mapping[str, cdkit.Model], token: str) -> Starlette:
    """The application behind the gate."""
    known, desk = dict(models), Desk()
    facts = about(known)

    async def home(request: Request) -> Response:
        del request
        return Response(static("page.html").replace("{token}", token), media_type="text/html")

    async def asset(request: Request) -> Response:
        return Response(static(request.url.path[1:]), media_type=STATIC[request.url.path])

    async def told(request: Request) -> Response:
        del request
        return JSONResponse(facts)

    async def drawn(request: Request) -> Response:
        try:
            asked = read(await request.body())
            asking = chosen(known, asked.runs)
        except (ValueError, UsageError) as error:
            return PlainTextResponse(str(error), HTTPStatus.BAD_REQUEST)
        events = desk.take(lambda tell: draw(asking, asked, tell))
        if events is None:
            return PlainTextResponse("a picture is being drawn; one at a time", HTTPStatus.TOO_MANY_REQUESTS)
        lines = (json.dumps(event, ensure_ascii=False) + "\n" async for event in events)
        return StreamingResponse(lines, media_type="application/x-ndjson")

    return Starlette(
        routes=[
            Route("/", home),
            *(Route(path, asset) for path in STATIC),
            Route("/about", told),
            Route("/draw", drawn, methods=["POST"]),
        ]
    )


def static(name: str) -> str:
    return files("cdkit_page").joinpath("static", name).read_text(encoding="utf-8")
