"""A headless Chromium, driven through chromedriver by the W3C's WebDriver protocol; nothing but the standard library."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"enter": "\ue007", "tab": "\ue004", "space": "\ue00d", "left": "\ue012", "right": "\ue014"}


def missing() -> str:
    """Which program is not on this machine; "" where both are."""
    return next((name for name in ("chromium", "chromedriver") if shutil.which(name) is None), "")


@contextmanager
def browser(
    profile: Path, *, width: int = 1100, height: int = 1000, reduced: bool = False, dark: bool = False
) -> Generator[Browser]:
    """A browser with a new profile. reduced, dark: what its user prefers."""
    driver = subprocess.Popen([str(shutil.which("chromedriver")), "--port=0"], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    try:
        port = next(int(line.split()[-1].rstrip(".")) for line in driver.stdout if "started successfully on port" in line)
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--lang=en",
            f"--user-data-dir={profile}",
        ]
        flags += [
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "about:blank",
        ]
        options = {"args": flags, "prefs": {"download.default_directory": str(profile / "saved")}}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        opened = Browser(f"http://127.0.0.1:{port}")
        opened.begin(wanted)
        opened.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        told = {"prefers-reduced-motion": "reduce" if reduced else "", "prefers-color-scheme": "dark" if dark else "light"}
        opened.command("Emulation.setEmulatedMedia", features=[{"name": name, "value": value} for name, value in told.items()])
        try:
            yield opened
        finally:
            opened.ask("DELETE", "")  # a driver that ends leaves its browser behind
    finally:
        driver.terminate()
        driver.wait(20)
        driver.stdout.close()


class Browser:
    """One window. Selectors are CSS."""

    def __init__(self, driver: str) -> None:
        self.driver = driver
        self.session = ""
        self.requested: list[str] = []

    def begin(self, wanted: dict[str, Any]) -> None:
        made = self._sent("POST", f"{self.driver}/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = made["sessionId"]

    def ask(self, method: str, path: str, **body: Any) -> Any:
        return self._sent(method, f"{self.driver}/session/{self.session}{path}", body)

    def command(self, name: str, **parameters: Any) -> Any:
        """Of Chromium's own protocol."""
        return self.ask("POST", "/goog/cdp/execute", cmd=name, params=parameters)

    def open(self, address: str) -> None:
        self.ask("POST", "/url", url=address)

    def run(self, script: str, *given: Any) -> Any:
        """What a function body in the page returns; a promise is waited for."""
        return self.ask("POST", "/execute/sync", script=script, args=list(given))

    def find(self, selector: str) -> str:
        return self.ask("POST", "/element", using="css selector", value=selector)[ELEMENT]

    def click(self, selector: str) -> None:
        self.ask("POST", f"/element/{self.find(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        self.ask("POST", f"/element/{self.find(selector)}/clear")
        self.ask("POST", f"/element/{self.find(selector)}/value", text=text)

    def press(self, *keys: str) -> None:
        """Keys, wherever the focus is."""
        strokes = [{"type": kind, "value": KEYS[key]} for key in keys for kind in ("keyDown", "keyUp")]
        self.ask("POST", "/actions", actions=[{"type": "key", "id": "keyboard", "actions": strokes}])

    def text(self, selector: str) -> str:
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def wait(self, script: str, *given: Any, seconds: float = 60) -> Any:
        """Until a function body returns something true."""
        return waited(lambda: self.run(script, *given), script, seconds)

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.ask("GET", "/screenshot")))

    def complaints(self) -> list[str]:
        """What was written to the console since it was last asked."""
        return [line["message"] for line in self.ask("POST", "/se/log", type="browser")]

    def addresses(self) -> list[str]:
        """Every address that was requested, since the window was opened."""
        events = [json.loads(line["message"])["message"] for line in self.ask("POST", "/se/log", type="performance")]
        sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        self.requested += sent
        return self.requested

    def _sent(self, method: str, address: str, body: Any) -> Any:
        data = None if method in ("GET", "DELETE") else json.dumps(body).encode()
        request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from error


def waited(answer: Callable[[], Any], what: str, seconds: float) -> Any:
    """The first true answer. AssertionError where none comes in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := answer():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:g} s: {what}")
