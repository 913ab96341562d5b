"""job: one picture at a time, drawn by a thread of its own, whose events the page hears as they come."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any

from cdkit_page.drawing import Stopped, Tell

Event = dict[str, Any]


class Desk:
    """There is one chair: who comes while it is taken is sent away."""

    def __init__(self) -> None:
        self._chair = threading.Lock()

    def take(self, work: Callable[[Tell], None]) -> AsyncGenerator[Event] | None:
        """The events of `work`, which begins now; None while another is at it. It is stopped where nobody listens on."""
        if not self._chair.acquire(blocking=False):
            return None
        heard: asyncio.Queue[Event | None] = asyncio.Queue()
        gone, loop = threading.Event(), asyncio.get_running_loop()

        def tell(event: Event | None) -> None:
            if gone.is_set() and event is not None:
                raise Stopped
            with suppress(RuntimeError):  # the loop is closed: the page is no longer served
                loop.call_soon_threadsafe(heard.put_nowait, event)

        def worked() -> None:
            try:
                with suppress(Stopped):
                    work(tell)
            finally:
                self._chair.release()
                tell(None)

        threading.Thread(target=worked, name="cdkit draws", daemon=True).start()
        return listened(heard, gone)


async def listened(heard: asyncio.Queue[Event | None], gone: threading.Event) -> AsyncGenerator[Event]:
    """What is heard until there is no more; once nobody asks for it any longer, `gone` is set."""
    try:
        while (event := await heard.get()) is not None:
            yield event
    finally:
        gone.set()
