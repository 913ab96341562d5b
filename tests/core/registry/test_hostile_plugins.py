"""A corpus of hostile plugins, each a distribution of its own: one named error each, and no other command broken by any of them.

An error says what is wrong, who it is (distribution and version), where (the last line of the plugin's own) and how to mend it.
"""

# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest
from cdkit.registry import BrokenPlugin, Registry, UnknownPart
from cdkit.registry import load as loading
from cdkit.registry.probe import probe
from cdkit.registry.requirements import pins_of
from cdkit.version import VERSION
from click.testing import CliRunner

Distribution = Callable[..., Path]
SPECS = Path(__file__).parents[3] / "specs"
GOOD = """from dataclasses import dataclass
from cdkit.hooks import hookimpl

@dataclass(frozen=True)
class Mine:
    eta: float = 0.0

    def __call__(self, denoise, x, grid, generators):
        return x

@hookimpl
def cdkit_sampler():
    return Mine
"""
TWIN = "from cdkit import parts\nfrom cdkit.hooks import hookimpl\n"  # what parts of other kinds begin with
SELF = r"mend, update or uninstall cdkit-{id}"
AUTHOR = r"`pip install --upgrade cdkit-{id}`, or tell its author"
ANEW = r"`pip install --force-reinstall cdkit-{id}`"


@dataclass(frozen=True)
class Hostile:
    """One of the corpus. source: its module; error, mend: expressions that match; line: of the module, 0: the module alone, None: unknown."""

    id: str
    source: str
    error: str
    line: int | None = None
    mend: str = SELF
    kind: str = "sampler"
    entry: str = ""  # as it stands in entry_points.txt, where that is the fault
    metadata: str = ""  # lines that METADATA has more
    others: dict[str, str] = field(default_factory=dict)  # more modules

    def install(self, distribution: Distribution) -> Path:
        entries = dict([self.entry.split(" = ")]) if self.entry else {f"{self.kind}.{self.id}": f"{self.id}_module"}
        return distribution(
            f"cdkit-{self.id}", entries, metadata=self.metadata, **{f"{self.id}_module": self.source}, **self.others
        )

    def hint(self) -> str:
        return self.mend.replace("{id}", self.id)


# Found out when a spec names the part: the module is imported, and what it does becomes one error.
LOADED = [
    Hostile("raises", "import json\nraise RuntimeError('no luck')\n", r"RuntimeError: no luck", 2),
    Hostile("syntax", "x = 1\ny = = 2\n", r"SyntaxError: invalid syntax", 2, r"another Python than \d.*`pip install --upgrade cdkit-syntax`"),
    Hostile("evalled", "x = 1\neval('1 +')\n", r"SyntaxError: invalid syntax", 2, r"another Python"),
    Hostile("tabs", "if True:\n\tx = 1\n        y = 2\n", r"TabError: inconsistent use of tabs", 3, r"another Python"),
    Hostile("nul", "x = 1\0\n", r"(SyntaxError|ValueError): source code string cannot contain null bytes", None, ""),
    Hostile("lacking", "import nowhere_to_be_found\n", r"ModuleNotFoundError: No module named 'nowhere_to_be_found'", 1, r"`pip install nowhere-to-be-found`", metadata="Requires-Dist: nowhere-to-be-found\n"),
    Hostile("secretly", "import nowhere_to_be_found\n", r"ModuleNotFoundError", 1, r"tell its author that its metadata does not require 'nowhere_to_be_found'"),
    Hostile("gone", "", r"ModuleNotFoundError: No module named 'gone_nowhere'", None, ANEW, entry="sampler.gone = gone_nowhere"),
    Hostile("attribute", GOOD, r"AttributeError: module 'attribute_module' has no attribute 'plugin'", 0, entry="sampler.attribute = attribute_module:plugin"),
    Hostile("exits", "import sys\nsys.exit(0)\n", r"it called sys\.exit\(0\) while it was being imported", 2),
    Hostile("base", "class Odd(BaseException): pass\nraise Odd('odd')\n", r"Odd: odd", 2),
    Hostile("mute", "class Mute(Exception):\n    def __str__(self): raise OSError\nraise Mute\n", r"Mute, whose text cannot be had: its __str__ raises OSError", 3),
    Hostile("giant", "raise ValueError('x' * 10_000_000)\n", r"ValueError: x{387}…", 1),
    Hostile("escapes", "raise ValueError('\\x1b[2J\\u202egnp.exe')\n", r"ValueError: \\x1b\[2J\\u202egnp\.exe", 1),
    Hostile("group", "raise ExceptionGroup('all of it', [ValueError('a'), OSError('b')])\n", r"ExceptionGroup: all of it \(2 sub-exceptions\)", 1),
    Hostile("depth", "def f(): f()\nf()\n", r"RecursionError: maximum recursion depth exceeded", 1),
    Hostile("circular", "from circular_other import x\ny = 1\n", r"ImportError: cannot import name 'y' from partially initialized module 'circular_module'", 1, others={"circular_other": "from circular_module import y\nx = 1\n"}),
    Hostile("reaper", "import sys\nfor name in ('json', 'cdkit.hooks', 'cdkit.errors', 'torch'):\n    sys.modules.pop(name, None)\n", r"took away or replaced modules of others: .*; they were put back", 0),
    Hostile("imposter", "import sys, types\nsys.modules['json'] = types.ModuleType('json')\n" + GOOD, r"took away or replaced modules of others: json; they were put back", 0),
    Hostile("clearing", "import sys\nfor name in set(sys.modules) - set(sys.builtin_module_names):\n    del sys.modules[name]\nimport json\n", r"", None, ""),
    Hostile("misspelt", GOOD.replace("cdkit_sampler", "cdkit_samplr"), r"unknown hook 'cdkit_samplr'; .*; did you mean 'cdkit_sampler'\?", 11),
    Hostile("hookless", "x = 1\n", r"it does not implement cdkit_sampler", 0),
    Hostile("otherwise", GOOD.replace("cdkit_sampler", "cdkit_guider"), r"it does not implement cdkit_sampler, only cdkit_guider", 0),
    Hostile("arguments", GOOD.replace("cdkit_sampler()", "cdkit_sampler(config)"), r"= arguments_module: hookimpl definition: cdkit_sampler\(config\) Argument\(s\) \{'config'\} are declared in the hookimpl", 0),
    Hostile("bursting", GOOD.replace("return Mine", "return 1 / 0"), r"ZeroDivisionError: division by zero", 13),
    Hostile("nothing", GOOD.replace("return Mine", "return None"), r"cdkit_sampler returned None; expected the part", 11),
    Hostile("three", GOOD.replace("return Mine", "return 3"), r"cdkit_sampler returned 3; expected a class or a function that makes the part", 0),
    Hostile("grumbling", GOOD.replace("return Mine", "return R()") + "class R:\n    def __repr__(self): raise OSError('no repr')\n", r"OSError: no repr", 15),
    Hostile("uncallable", GOOD.replace("__call__", "call"), r"Mine does not define __call__, which every sampler must", 4),
    Hostile("short", GOOD.replace("(self, denoise, x, grid, generators)", "(self, denoise, x)"), r"Mine\.__call__\(self, denoise, x\) cannot be called as \(self, denoise, x, grid, generators\): too many positional arguments", 8),
    Hostile("greedy", GOOD.replace("grid, generators", "grid, generators, strength"), r"Mine\.__call__\(.*\) cannot be called as .*: missing a required argument: 'strength'", 8),
    Hostile("wrongkind", TWIN + "class P(parts.Guider): pass\n@hookimpl\ndef cdkit_encoder(): return P\n", r"P is no encoder; expected a subclass of Encoder or Joiner of cdkit\.parts", 3, kind="encoder"),
    Hostile("halfway", TWIN + "class P(parts.TextEncoder): pass\n@hookimpl\ndef cdkit_encoder(): return P\n", r"P does not define forward, which every encoder must", 3, kind="encoder"),
    Hostile("overridden", TWIN + "class P(parts.TextEncoder):\n    null = 3\n    def forward(self, raw): ...\n@hookimpl\ndef cdkit_encoder(): return P\n", r"P\.null is 3; expected a method null\(self, n: 'int'\)", 3, kind="encoder"),
    Hostile("argless", TWIN + "class P(parts.TextEncoder):\n    def forward(self): ...\n    def null(self, n): ...\n@hookimpl\ndef cdkit_encoder(): return P\n", r"P\.forward\(self\) cannot be called as \(self, raw\)", 4, kind="encoder"),
    Hostile("uncalled", TWIN + "class P(parts.Metric):\n    def __init__(self, *, n=1): ...\n    def __call__(self): ...\n@hookimpl\ndef cdkit_metric(): return P\n", r"P\.__call__\(self\) cannot be called as \(self, examinee\)", 5, kind="metric"),
    Hostile("siteless", TWIN + "class P:\n    def tap(self): ...\n@hookimpl\ndef cdkit_injector(): return P\n", r"P\.tap\(self\) cannot be called as \(self, site\)", 4, kind="injector"),
    Hostile("pathless", TWIN + "@hookimpl\ndef cdkit_run(): return 'runs/x'\n", r"cdkit_run returned 'runs/x'; expected a pathlib\.Path", 0, kind="run"),
    Hostile("future", "cdkit_api = 2\n" + GOOD, r"the plugin needs API 2, cdkit has 1", 0, r"`pip install --upgrade cdkit`"),
    Hostile("past", "cdkit_api = 0\n" + GOOD, r"the plugin needs API 0, cdkit has 1", 0, r"`pip install --upgrade cdkit-past`"),
    Hostile("builtin", "", r"it does not implement cdkit_sampler", None, entry="sampler.builtin = os:system"),
]  # fmt: skip

# Found out from metadata alone: no module is imported.
READ = [
    Hostile("newer", "raise SystemExit\n", rf"it needs cdkit<0\.1,>=0\.0\.1, this is {re.escape(VERSION)}", mend=r"`pip install --upgrade cdkit-newer` may bring one that fits; it asks for `pip install 'cdkit<0\.1,>=0\.0\.1'`", metadata="Requires-Dist: cdkit<0.1,>=0.0.1\n"),
    Hostile("unkind", GOOD, r"there is no kind 'samplr'; the kinds are encoder, .*; did you mean 'sampler'\?", mend=AUTHOR, entry="samplr.unkind = unkind_module"),
    Hostile("capital", GOOD, r"'Mine' is no name; expected lower-case letters", mend=AUTHOR, entry="sampler.Mine = capital_module"),
    Hostile("nameless", GOOD, r"'' is no name", mend=AUTHOR, entry="sampler = nameless_module"),
    Hostile("lookalike", GOOD, r"'ddіm' is no name", mend=AUTHOR, entry="sampler.ddіm = lookalike_module"),
    Hostile("bidi", GOOD, r"'unet\\u202e' is no name", mend=AUTHOR, entry="backbone.unet\u202e = bidi_module"),
    Hostile("longname", GOOD, r"'a{59}…' is no name", mend=AUTHOR, entry=f"sampler.{'a' * 5000} = longname_module"),
    Hostile("valueless", GOOD, r"'' is no module; expected `package\.module` or `package\.module:object`", mend=AUTHOR, entry="sampler.valueless = "),
    Hostile("badvalue", GOOD, r"'not a module!' is no module", mend=AUTHOR, entry="sampler.badvalue = not a module!"),
    Hostile("traversal", GOOD, r"'\.\./etc/passwd' is no module", mend=AUTHOR, entry="sampler.traversal = ../etc/passwd"),
    Hostile("keyword", GOOD, r"'a\.\.b' is no module", mend=AUTHOR, entry="sampler.keyword = a..b"),
    Hostile("thief", GOOD, r"cdkit has a command 'train' of its own", mend=AUTHOR, entry="command.train = thief_module"),
]  # fmt: skip


TABLE = re.search(
    r"<!-- troubleshooting -->(.*)<!-- /troubleshooting -->",
    (SPECS.parent / "docs/plugins.md").read_text(encoding="utf-8"),
    re.DOTALL,
)
PHRASES = [phrase for row in TABLE[1].splitlines()[3:] for phrase in re.findall(r"`([^`]+)`", row.split("|")[1])] if TABLE else []


def is_documented(error: str) -> bool:
    """Is it in the table of docs/plugins.md? An exception of the plugin's own (`OSError: …`) is, as `any other exception`."""
    own = re.match(r"[A-Z]\w+: ", error) is not None and not error.startswith("ModuleNotFoundError")
    return own or any(all(piece in error for piece in phrase.split("…")) for phrase in PHRASES)


@pytest.mark.parametrize("case", LOADED, ids=lambda case: case.id)
def test_one_named_error_for_one_that_fails_when_it_is_named(case: Hostile, distribution: Distribution) -> None:
    folder = case.install(distribution)
    before = dict(sys.modules)
    registry = Registry.installed()
    with pytest.raises(BrokenPlugin) as raised:
        registry.get(case.kind, case.id)
    said, record = str(raised.value), registry.record(case.kind, case.id)
    assert said.startswith(f"{case.kind} '{case.id}' cannot be used: cdkit-{case.id} 1.0, entry point {case.kind}.{case.id} = ")
    assert re.search(case.error, said), said
    assert re.search(case.hint(), raised.value.hint), raised.value.hint
    assert f"`cdkit plugins show {case.kind}.cdkit-{case.id}/{case.id}`" in raised.value.hint
    if case.line is not None:
        assert record.where == f"{folder / f'{case.id}_module.py'}{f':{case.line}' if case.line else ''}"
        assert said.endswith(f"({record.where})")
    assert is_documented(record.error)
    assert len(said) < 1000
    assert said.isprintable()
    assert record.status == ("incompatible" if "API" in case.error else "failed")
    assert "Traceback" in record.trace or "SyntaxError" in record.trace
    assert len(record.trace) < 21_000
    assert {name: sys.modules.get(name) for name in before} == before, "modules of others are what they were"
    assert registry.get("sampler", "ddim")


@pytest.mark.parametrize("case", READ, ids=lambda case: case.id)
def test_one_named_error_for_one_whose_metadata_tells_it(case: Hostile, distribution: Distribution) -> None:
    case.install(distribution)
    (record,) = [record for record in Registry.installed().records() if record.entry.dist == f"cdkit-{case.id}"]
    assert record.status == ("incompatible" if case.metadata else "refused")
    assert re.search(case.error, record.error), record.error
    assert re.search(case.hint(), record.mend), record.mend
    assert is_documented(record.error)
    assert str(record).startswith(f"cdkit-{case.id} 1.0, entry point ")
    assert str(record).isprintable()
    assert f"{case.id}_module" not in sys.modules


def test_a_name_that_an_incompatible_distribution_offers_is_told_so(distribution: Distribution) -> None:
    next(case for case in READ if case.id == "newer").install(distribution)
    for name in ("newer", "cdkit-newer/newer"):
        with pytest.raises(
            UnknownPart, match=rf"there is no sampler '{name}'; cdkit-newer==1\.0 offers it, but it needs cdkit<0\.1"
        ) as raised:
            Registry.installed().get("sampler", name)
        assert "`pip install --upgrade cdkit-newer`" in raised.value.hint
    assert "newer" not in Registry.installed().names("sampler")


METADATA = {
    "empty": ("", "its METADATA states no name"),
    "versionless": ("Name: cdkit-versionless\n", "its METADATA states no version"),
    "bytes": (b"\xff\xfe\x00N\x00a", "its METADATA cannot be read"),
    "prose": ("This is a distribution.\n\nName: x\n", "its METADATA states no name"),
    "shell": ("Name: x; rm -rf ~\nVersion: 1\n", "its METADATA says 'x; rm -rf ~' '1': no name and version of a distribution"),
}


@pytest.mark.parametrize("name", METADATA)
def test_damaged_metadata_is_named_after_its_folder(name: str, distribution: Distribution) -> None:
    written, error = METADATA[name]
    folder = distribution(f"cdkit-{name}", {f"sampler.{name}": "damaged_module"}, damaged_module=GOOD)
    content = written if isinstance(written, bytes) else written.encode()
    (folder / f"cdkit_{name}-1.0.dist-info" / "METADATA").write_bytes(content)
    (record,) = [record for record in Registry.installed().records() if record.entry.value == "damaged_module"]
    assert (record.status, record.entry.dist, record.entry.version) == ("refused", f"cdkit-{name}", "1.0")
    assert record.error.startswith(error)
    assert record.mend == f"`pip install --force-reinstall cdkit-{name}` writes it anew, or uninstall it"


def test_entry_points_that_are_no_text_are_named_and_hide_nobody(distribution: Distribution) -> None:
    distribution("cdkit-fine", {"sampler.fine": "fine_module"}, fine_module=GOOD)
    folder = distribution("cdkit-binary", {"sampler.binary": "binary_module"})
    (folder / "cdkit_binary-1.0.dist-info" / "entry_points.txt").write_bytes(b"[cdkit]\nsampler.\xff\xfe = x\n")
    other = distribution("other-binary", {})
    (other / "other_binary-1.0.dist-info" / "entry_points.txt").write_bytes(b"[console_scripts]\n\xff = x\n")
    registry = Registry.installed()
    (record,) = [record for record in registry.records() if record.entry.dist == "cdkit-binary"]
    assert str(record) == (
        "cdkit-binary 1.0, entry point entry_points.txt: its entry_points.txt is not UTF-8, so nobody knows what it offers"
    )
    assert not [record for record in registry.records() if record.entry.dist == "other-binary"], "it is no plugin of ours"
    assert "fine" in registry.names("sampler")


def test_a_line_without_a_value_hides_no_other(distribution: Distribution) -> None:
    folder = distribution("cdkit-torn", {"sampler.whole": "whole_module"}, whole_module=GOOD)
    points = folder / "cdkit_torn-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text() + "sampler.torn\n[other]\nx = y\n")
    rows = {record.entry.name: record for record in Registry.installed().records() if record.entry.dist == "cdkit-torn"}
    assert rows["torn"].error.startswith("'' is no module")
    assert rows["whole"].status == "installed"
    assert set(rows) == {"torn", "whole"}


def test_a_line_before_every_section_is_nobodys(distribution: Distribution) -> None:
    folder = distribution("cdkit-early", {"sampler.inside": "inside_module"})
    points = folder / "cdkit_early-1.0.dist-info" / "entry_points.txt"
    points.write_text("sampler.early = early_module\n" + points.read_text())
    assert [record.entry.name for record in Registry.installed().records() if record.entry.dist == "cdkit-early"] == ["inside"]


def test_entry_points_that_no_disk_gives_offer_nothing_and_hide_nothing(distribution: Distribution) -> None:
    folder = distribution("cdkit-looping", {"sampler.looping": "looping_module"})
    points = folder / "cdkit_looping-1.0.dist-info" / "entry_points.txt"
    points.unlink()
    points.symlink_to(points)
    distribution("cdkit-sound", {"sampler.sound": "sound_module"})
    names = Registry.installed().names("sampler")
    assert "sound" in names
    assert "looping" not in names


def test_a_folders_name_is_told_as_far_as_it_is_one(distribution: Distribution) -> None:
    folder = distribution("cdkit-endless", {"sampler.endless": "endless_module"}) / "cdkit_endless-1.0.dist-info"
    (folder / "METADATA").write_text("")
    folder.rename(folder.with_name(f"{'x' * 100}-{'9' * 50}.dist-info"))
    (record,) = [record for record in Registry.installed().records() if record.entry.value == "endless_module"]
    assert record.entry.provider == f"{'x' * 59}…=={'9' * 19}…"


def test_what_an_interrupted_pip_left_behind_is_no_plugin(distribution: Distribution) -> None:
    folder = distribution("cdkit-left", {"sampler.left": "left_module"}, left_module=GOOD)
    (folder / "cdkit_left-1.0.dist-info").rename(folder / "~dkit_left-1.0.dist-info")
    assert "left" not in Registry.installed().names("sampler")


def test_one_distribution_that_claims_a_name_twice(distribution: Distribution) -> None:
    folder = distribution("cdkit-double", {"sampler.double": "double_a"}, double_a=GOOD, double_b=GOOD)
    points = folder / "cdkit_double-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text() + "sampler.double = double_b\n")
    records = [record for record in Registry.installed().records() if record.entry.dist == "cdkit-double"]
    assert [record.error for record in records] == ["it claims the name 'double' 2 times, for as many modules"] * 2


def test_an_editable_installation_listed_twice_is_no_conflict(
    distribution: Distribution, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An egg-info beside the source, and a dist-info in site-packages, of another version."""
    distribution("cdkit-editable", {"sampler.edited": "edited_module"}, edited_module=GOOD)
    source = tmp_path_factory.mktemp("source")
    egg = source / "CDKit_Editable.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: CDKit_Editable\nVersion: 0.9\n")
    (egg / "entry_points.txt").write_text("[cdkit]\nsampler.edited = edited_module\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(source)])
    assert [record.entry.version for record in Registry.installed().records() if record.entry.dist == "cdkit-editable"] == ["1.0"]
    assert Registry.installed().get("sampler", "edited")


def test_a_name_of_three_is_refused_at_use_alone(distribution: Distribution) -> None:
    for letter in "abc":
        distribution(f"cdkit-{letter}", {"sampler.shared": f"shared_{letter}"}, **{f"shared_{letter}": GOOD})
    registry = Registry.installed()
    with pytest.raises(
        UnknownPart, match=r"^sampler 'shared' is offered by cdkit-a==1\.0 and cdkit-b==1\.0 and cdkit-c==1\.0, so"
    ):
        registry.get("sampler", "shared")
    assert registry.get("sampler", "cdkit-b/shared").__module__ == "shared_b"
    assert {"shared_a", "shared_c"}.isdisjoint(sys.modules)
    out = CliRunner().invoke(_command("plugins"), ["list"]).output
    assert (
        "sampler.shared = shared_a (installed: as `cdkit-a/shared`, since cdkit-b==1.0 and cdkit-c==1.0 have the name too)" in out
    )


def _command(verb: str):
    from importlib import import_module

    return import_module(f"cdkit.cli.{verb}").command


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "source", "error", "line"),
    [
        ("instantly", "import os\nos._exit(0)\n", r"it called os\._exit\(0\) while it was being imported", 2),
        ("violently", "import ctypes\nx = 1\nctypes.string_at(0)\n", r"its import killed the process with SIGSEGV", 3),
        ("aborting", "import os\nos.abort()\n", r"its import killed the process with SIGABRT", 2),
        ("endless", "x = 1\nwhile True:\n    pass\n", r"its import took more than 1 s and was ended", None),
        ("waiting", "import time\ntime.sleep(1000)\n", r"its import took more than 1 s and was ended", 2),
        ("forking", "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(1000)'])\n", r"was ended", 2),
        ("masked", "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\ntime.sleep(1000)\n", r"was ended", 3),
        ("politely", "raise SystemExit('bye')\n", r"it called sys\.exit\('bye'\) while it was being imported", 1),
    ],
)  # fmt: skip
def test_a_probe_outlives_what_ends_a_process(
    name: str, source: str, error: str, line: int | None, distribution: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = distribution(f"cdkit-{name}", {f"sampler.{name}": f"{name}_module"}, **{f"{name}_module": source})
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    found = probe("sampler", name, longest=1 if "was ended" in error else 60)
    assert not found["ok"]
    assert found["error"].startswith(f"cdkit-{name} 1.0, entry point sampler.{name} = {name}_module: ")
    assert re.search(error, found["error"]), found["error"]
    place = re.escape(str(folder / f"{name}_module.py"))
    assert re.search(rf"\({place}:{line or '[23]'}\)$", found["error"]), found["error"]
    assert found["mend"] == f"mend, update or uninstall cdkit-{name}"


def test_a_probe_outlives_the_loss_of_every_module(distribution: Distribution, monkeypatch: pytest.MonkeyPatch) -> None:
    # in a process of its own: made anew, Python's `_io` has other exceptions than those that everyone caught before
    source = "import sys\nsys.modules.clear()\nimport json\n"
    folder = distribution("cdkit-emptying", {"sampler.emptying": "emptying_module"}, emptying_module=source)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    found = probe("sampler", "emptying")
    assert found["error"] == "cdkit-emptying 1.0, entry point sampler.emptying = emptying_module: KeyError: 'emptying_module'"


PATCHES = {
    "torch.nn.functional.relu was replaced by": "import torch, functools\nold = torch.nn.functional.relu\n@functools.wraps(old)\ndef new(*a, **k): return old(*a, **k)\ntorch.nn.functional.relu = new\n",
    "torch.Tensor.backward was replaced by": "import torch\ntorch.Tensor.backward = lambda self: None\n",
    "torch.nn.modules.module.Module.__call__ was replaced by": "import torch\ntorch.nn.Module.__call__ = lambda self, *a: None\n",
    "torch.einsum was taken away": "import torch\ndel torch.einsum\n",
    "torch.mine was added: ": "import torch\ntorch.mine = lambda: 0\n",
    "cdkit.errors.CdkitError.__init__ was replaced by": "import cdkit.errors\ncdkit.errors.CdkitError.__init__ = lambda self, *a: None\n",
    "builtins.sorted was replaced by": "import builtins\nbuiltins.sorted = lambda x: list(x)\n",
    "the random state of `random` changed": "import random\nrandom.seed(0)\n",
    "the random state of numpy changed": "import numpy\nnumpy.random.seed(0)\n",
    "the random state of torch changed": "import torch\ntorch.manual_seed(0)\n",
    "torch's default dtype changed": "import torch\ntorch.set_default_dtype(torch.float64)\n",
    "torch's number of threads changed": "import torch\ntorch.set_num_threads(3)\n",
    "the warnings filters changed": "import warnings\nwarnings.simplefilter('ignore')\n",
    "the working directory changed": "import os\nos.chdir('/')\n",
    "the environment variable HOSTILE_SECRET was set": "import os\nos.environ['HOSTILE_SECRET'] = 'xyzzy'\n",
    "the handlers of signals changed": "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n",
    "sys.path changed": "import sys\nsys.path.insert(0, '/nowhere')\n",
    "the threads that run changed": "import threading, time\nthreading.Thread(target=time.sleep, args=(20,), daemon=True, name='left').start()\n",
    "it printed 2 lines: [cdkit-effects 1.0] hello": "print('hello')\nprint('again')\n",
}  # fmt: skip


def test_side_effects_of_an_import_are_reported_each_and_no_other(
    distribution: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them in one process, so that the test is short; that none of ours has any, the next test says."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder = distribution("cdkit-effects", {"sampler.effects": "effects_module"}, effects_module="".join(PATCHES.values()) + GOOD)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    found = probe("sampler", "effects")
    assert found["ok"], found
    told = [effect for effect in found["effects"] if not any(effect.startswith(expected) for expected in PATCHES)]
    missing = [expected for expected in PATCHES if not any(effect.startswith(expected) for effect in found["effects"])]
    assert (told, missing) == ([], [])
    assert "xyzzy" not in json.dumps(found), "values of the environment may be secrets"
    assert str(folder / "effects_module.py") in next(effect for effect in found["effects"] if "relu" in effect)


def test_a_module_that_needs_torch_may_import_it(distribution: Distribution, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own time is counted, torch's is not; using torch is no side effect, and neither is a library that torch loads late."""
    folder = distribution(
        "cdkit-honest",
        {"sampler.honest": "honest_module"},
        honest_module="import torch\nimport torch.fx\nimport torch.nn.utils.parametrize\n" + GOOD,
    )
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    found = probe("sampler", "honest")
    assert (found["ok"], found["error"], found["effects"]) == (True, "", [])


def test_half_a_line_is_printed_too_and_the_end_of_the_process_is_not_waited_for(
    distribution: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    source = "import atexit, sys\nfrom pathlib import Path\natexit.register(Path(__file__).with_suffix('.end').touch)\nsys.stderr.write('half a line')\n"
    folder = distribution("cdkit-half", {"sampler.half": "half_module"}, half_module=source + GOOD)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    found = probe("sampler", "half")
    assert (found["ok"], found["error"]) == (True, "")
    assert [effect for effect in found["effects"] if "printed" in effect] == ["it printed 1 line: half a line"]
    assert not (folder / "half_module.end").exists()


def test_torch_itself_is_no_side_effect_of_a_verb_that_needs_it(
    distribution: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verbs are loaded without torch; it is there before anything is compared."""
    source = "import click\nimport torch\nfrom cdkit.hooks import hookimpl\n@hookimpl\ndef cdkit_command():\n    return click.Command('verb')\n"
    folder = distribution("cdkit-verb", {"command.verb": "verb_module"}, verb_module=source)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    found = probe("command", "verb")
    assert (found["ok"], found["error"], found["effects"]) == (True, "", [])


def test_pins_of_torch_are_found_in_metadata(distribution: Distribution) -> None:
    needs = [
        "torch==2.10.0",
        "torch>=2.10",
        "torchvision~=0.25",
        "Torch<3; python_version >= '3.8'",
        "torch!=2.11",
        "torch==1; extra == 'old'",
        "torchmetrics==1.0",
        "not a requirement ==",
    ]
    distribution("cdkit-pinning", {}, metadata="".join(f"Requires-Dist: {need}\n" for need in needs))
    assert pins_of("cdkit-pinning") == ["torch==2.10.0", 'Torch<3; python_version >= "3.8"', "torchvision~=0.25"]
    assert pins_of("cdkit") == []


@pytest.mark.parametrize(
    ("seconds", "milliseconds", "told"),
    [(0.0, 0.0, ""), (5.0, 5000.0, ""), (5.00126, 5001.3, "5.0 s"), (61.26, 61260.0, "61.3 s")],
)
def test_a_slow_import_is_told_of(
    distribution: Distribution,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    seconds: float,
    milliseconds: float,
    told: str,
) -> None:
    distribution("cdkit-slow", {"sampler.slow": "slow_module"}, slow_module=GOOD)
    registry = Registry.installed()
    monkeypatch.setattr(loading, "perf_counter", iter((1000.0, 1000.0 + seconds)).__next__)
    assert registry.get("sampler", "slow")
    assert registry.record("sampler", "slow").milliseconds == milliseconds
    warning = f"warning: cdkit-slow 1.0, entry point sampler.slow = slow_module: its import took {told}\n"
    assert capsys.readouterr().err == (told and warning)


@pytest.mark.parametrize(("kind", "before"), [("sampler", ["cdkit.parts"]), ("command", [])])
def test_what_torch_takes_to_be_imported_is_no_plugins_time(
    kind: str, before: list[str], distribution: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is imported before the clock starts; and not at all for what needs none."""
    distribution("cdkit-timed", {f"{kind}.timed": "timed_module"}, timed_module="raise OSError\n")
    registry = Registry.installed()
    done: list[str] = []
    monkeypatch.setattr(loading, "import_module", done.append)
    monkeypatch.setattr(loading, "perf_counter", lambda: 100.0 * len(done))
    with pytest.raises(BrokenPlugin):
        registry.get(kind, "timed")
    assert done == before
    assert registry.record(kind, "timed").milliseconds == 0


@pytest.mark.parametrize(
    ("count", "names"),
    [(1, "taken_0"), (3, "taken_0, taken_1, taken_2"), (4, "taken_0, taken_1, taken_2 and 1 more"), (9, "taken_0, taken_1, taken_2 and 6 more")],
)  # fmt: skip
def test_three_modules_that_were_taken_away_are_named_and_the_rest_counted(
    count: int, names: str, distribution: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(count):
        monkeypatch.setitem(sys.modules, f"taken_{number}", ModuleType("taken"))
    source = f"import sys\nfor number in range({count}):\n    del sys.modules[f'taken_{{number}}']\n"
    distribution("cdkit-taking", {"sampler.taking": "taking_module"}, taking_module=source)
    with pytest.raises(BrokenPlugin, match=f"took away or replaced modules of others: {names}; they were put back"):
        Registry.installed().get("sampler", "taking")


@pytest.mark.parametrize(("length", "is_cut"), [(15_000, False), (20_000, False), (20_001, True), (50_000, True)])
def test_a_long_traceback_keeps_both_ends(
    length: int, is_cut: bool, distribution: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution("cdkit-wordy", {"sampler.wordy": "wordy_module"}, wordy_module="import os\nraise OSError(os.environ['WORDS'])\n")

    def trace(words: str) -> str:
        monkeypatch.setenv("WORDS", words)
        sys.modules.pop("wordy_module", None)
        registry = Registry.installed()
        with pytest.raises(BrokenPlugin):
            registry.get("sampler", "wordy")
        return registry.record("sampler", "wordy").trace

    rest = len(trace("begin-end")) - len("begin-end")
    found = trace(f"begin-{'x' * (length - rest - len('begin-end'))}end")
    assert found.startswith("Traceback")
    assert "OSError: begin-" in found
    assert found.endswith("end\n")
    assert ("\n…\n" in found, len(found)) == (is_cut, 20_003 if is_cut else length)


def test_ctrl_c_while_an_error_is_put_into_words_is_not_swallowed(distribution: Distribution) -> None:
    source = "class Odd(Exception):\n    def __str__(self): raise KeyboardInterrupt\nraise Odd\n"
    distribution("cdkit-worded", {"sampler.worded": "worded_module"}, worded_module=source)
    with pytest.raises(KeyboardInterrupt):
        Registry.installed().get("sampler", "worded")


LOUD = "import os, sys\nprint('aloud')\nsys.__stdout__.write('behind your back\\n')\nos.write(1, b'by descriptor\\n')\nos.system('echo by child')\n"


def test_what_it_prints_stays_out_of_stdout_by_whatever_way(distribution: Distribution) -> None:
    folder = distribution("cdkit-loud", {"sampler.loud": "loud_module"}, loud_module=LOUD + GOOD)
    done = cdkit(folder, "plugins", "show", "sampler.loud", "--json")
    assert json.loads(done.stdout)["name"] == "loud"
    lines = done.stderr.splitlines()
    assert "[cdkit-loud 1.0] aloud" in lines
    assert {"behind your back", "by descriptor", "by child"} <= set(lines)


def cdkit(folder: Path, *line: str) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it, with the corpus on the path."""
    paths = filter(None, (str(folder), os.environ.get("PYTHONPATH")))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    code = "import sys; from cdkit.cli.app import main; sys.argv[0] = 'cdkit'\ntry:\n    main()\nfinally:\n    print(*sorted(sys.modules), file=open('modules.txt', 'w'))"
    return subprocess.run(
        [sys.executable, "-c", code, *line], capture_output=True, text=True, env=environment, cwd=folder, check=False
    )


@pytest.fixture
def all_of_them(distribution: Distribution) -> Path:
    """Every hostile plugin at once, those too that take our names and that end a process; and verbs that cannot be had."""
    for case in [*LOADED, *READ]:
        case.install(distribution)
    ending = "import os\nos._exit(9)\n"
    folder = distribution(
        "cdkit-steals",
        {"backbone.unet": "steals", "sampler.ddim": "steals", "dataset.digits": "steals", "encoder.label": "steals"},
        steals=ending,
    )
    distribution(
        "cdkit-verbs",
        {"command.app.x": "verbs", "command.greet": "verbs", "command.doctor": "verbs", "format.odd": "verbs"},
        verbs=ending,
    )
    for letter in "pq":
        distribution(f"cdkit-{letter}", {"sampler.shared": "shared_ending"}, shared_ending=ending)
    for name, (written, _) in METADATA.items():
        path = distribution(f"cdkit-{name}", {f"sampler.{name}": "damaged_module"}) / f"cdkit_{name}-1.0.dist-info" / "METADATA"
        path.write_bytes(written if isinstance(written, bytes) else written.encode())
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        (["--help"], 0, r"Commands of plugins:.*greet +Comes with cdkit-verbs==1\.0"),
        (["list"], 0, r"backbone\n.*cdkit-steals/unet +cdkit-steals==1\.0.*  unet +cdkit=="),
        (["list", "--json"], 0, r"^\[\{.*\}\]\n$"),
        (["plugins", "list"], 0, r"cdkit-unkind 1\.0\n  samplr\.unkind = unkind_module \(refused: there is no kind 'samplr'; .*\)\n    `pip install --upgrade"),
        (["plugins", "list", "--json"], 0, r"^\[\{.*\}\]\n$"),
        (["plugins", "show", "unet"], 0, r"^backbone\.unet  cdkit==.*in a spec:\n  backbone: \{use: unet\}"),
        (["doctor"], 7, r"problem: plugin cdkit-newer==1\.0 sampler\.newer = newer_module: it needs cdkit<0\.1"),
        (["build", str(SPECS / "digits.yaml")], 0, r"condition .* reaches the output"),
        (["--no-plugins", "schema"], 0, r"\"\$schema\""),
        (["data", "list"], 0, r"digits "),
        (["claim", "list"], 0, r"adagn_over_addition"),
        (["deps", str(SPECS / "digits.yaml")], 0, r"cdkit"),
        (["spec", "explain", "train.lr"], 0, r"lr"),
    ],
    ids=lambda value: "-".join(value[:2]).replace(str(SPECS), "") if isinstance(value, list) else "",
)  # fmt: skip
def test_other_commands_are_unbroken_with_all_of_them_installed(
    line: list[str], status: int, said: str, all_of_them: Path
) -> None:
    done = cdkit(all_of_them, *line)
    assert done.returncode == status, done.stdout[-2000:] + done.stderr[-2000:]
    assert re.search(said, done.stdout, re.DOTALL), done.stdout[-3000:]
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout
    theirs = {path.stem for path in all_of_them.glob("*.py")}
    assert not theirs & set((all_of_them / "modules.txt").read_text().split()), "what no spec names is not imported"


def test_a_corpus_of_thirty_at_least() -> None:
    assert len(LOADED) + len(READ) + len(METADATA) >= 30
    assert len({case.id for case in [*LOADED, *READ]}) == len(LOADED) + len(READ)


def test_a_broken_format_is_left_out_of_a_question_to_all(distribution: Distribution, capsys: pytest.CaptureFixture[str]) -> None:
    distribution("cdkit-layout", {"format.layout": "layout_module"}, layout_module="raise OSError('torn')\n")
    found = Registry.installed().each("format")
    assert "diffusers" in found
    assert "layout" not in found
    assert capsys.readouterr().err.startswith("warning: format 'layout' cannot be used: cdkit-layout 1.0, ")
