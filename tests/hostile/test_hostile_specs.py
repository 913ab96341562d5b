"""Bad inputs 1 to 36: specs. Each through the command line; refused at the mark `»`, or read as what it says."""
# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

import os
import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import pytest
from cdkit.version import VERSION

SPECS = Path(__file__).parents[2] / "specs"
DIGITS = (SPECS / "digits.yaml").read_text(encoding="utf-8")
MARK = "»"
HEAD = "cdkit: 1\nname: digits\n"
NET = "backbone: {use: unet, width: 24, mult: [1, 2], blocks: 1, attention: [1], heads: 2}\n"
FILM = "  - {use: film, streams: [text]}\n"
CROSS = "  - {use: cross_attention, streams: [text], heads: 2}\n"
LAUGHS = "a: »&a [x, x]\n" + "".join(
    f"{b}: &{b} [{'*' + a}, {'*' + a}]\n" for a, b in zip("abcdefghijklmnopqrs", "bcdefghijklmnopqrst", strict=True)
)

# A whole file, marked; what is said there.
FILES: dict[str, tuple[str | bytes, str]] = {
    "1 empty": ("»", "empty spec; expected a mapping"),
    "1 comments alone": ("»# nothing\n", "empty spec; expected a mapping"),
    "2 a list": ("»- a\n", "the top level is a list; expected a mapping"),
    "2 a scalar": ("»5\n", "the top level is an integer; expected a mapping"),
    "3 two documents": (DIGITS + "»---\ncdkit: 1\n", "a second document begins here; expected one spec a file"),
    "4 NUL": ("cdkit: 1\nname: x»\0y\n", "NUL at byte 16; expected text"),
    "5 no UTF-8": (b"cdkit: 1\nname: \xc2\xbb\xff\n", "byte 15 (0xff) is not UTF-8"),
    "6 UTF-16": ("»".encode() + DIGITS.encode("utf-16"), "UTF-16; expected UTF-8"),
    "15 an empty integer": (HEAD + "seed: »!!int ''\n", "a tag ('tag:yaml.org,2002:int'); a spec is plain data"),
    "15 a truth value": (HEAD + "seed: »!!bool x\n", "a tag ('tag:yaml.org,2002:bool'); a spec is plain data"),
    "21 a python object": (HEAD + "seed: »!!python/object/apply:os.system [id]\n", "a tag ('tag:yaml.org,2002:python/object/apply:os.system'); a spec is plain data"),
    "22 an anchor": (HEAD + "seed: »&a 1\n", "an anchor (&a); a spec is plain data"),
    "22 an alias": (HEAD + "seed: »*a\n", "an alias (*a); a spec is plain data"),
    "22 of itself": ("»&a [*a]\n", "an anchor (&a); a spec is plain data"),
    "22 merge": (HEAD + "»<<: {seed: 1}\n", "`<<` merges mappings; a spec is plain data"),
    "23 billion laughs": (LAUGHS, "an anchor (&a); a spec is plain data"),
    "24 deep": ("a: " + "[" * 31 + "»" + "[" * 99_969 + "\n", "nested more than 32 deep"),
    "25 ten megabytes": ("»a: " + "x" * (10 << 20), "larger than 1 MiB; expected a spec"),
    "25 a million keys": ("»" + "".join(f"k{i}: 1\n" for i in range(1_000_000)), "larger than 1 MiB; expected a spec"),
    "25 many keys": ("".join(f"k{i}: 1\n" for i in range(4_999)) + "k4999: »1\n", "more than 10,000 values"),
}  # fmt: skip

# What is replaced in specs/digits.yaml, by what, marked; what is said there; the hint.
BENT: dict[str, tuple[str, str, str, str]] = {
    "7 tab": ("  batch: 64", "»\tbatch: 64", "a tab; YAML is indented with spaces: use spaces", ""),
    "8 duplicate key": (HEAD, HEAD + "»name: again\n", "name: the key 'name' is written twice, first at bent.yaml:4:1", "keep one of them"),
    "9 unknown key": ("width: 24", "»widht: 24", "backbone.widht: unknown key 'widht'; did you mean 'width'?", "unet (cdkit=="),
    "10 missing key": (FILM, "  - »{use: film}\n", "injectors.1: missing key 'streams'; expected a list of texts", ""),
    "11 wrong type": ("  steps: 800", "  steps: »fifty", "train.steps: 'fifty' is text; expected an integer greater than 0", ""),
    "14 sixty-based": ("  steps: 800", "  steps: »12:30:45", "train.steps: '12:30:45' is text; expected an integer greater than 0", ""),
    "14 octal": ("  steps: 800", "  steps: »010", "train.steps: '010' is text; expected an integer greater than 0", ""),
    "14 a version": ("[zero, one,", "[zero, »1.10,", "train.prompts.1: 1.10 is a number; expected text", 'put it in quotes to make it text: "1.10"'),
    "15 a date": ("  steps: 800", "  steps: »2024-13-45", "train.steps: '2024-13-45' is text; expected an integer greater than 0", ""),
    "16 nan": ("lr: 2.0e-3", "lr: ».nan", "train.lr: .nan is no finite number; expected a number greater than 0", ""),
    "16 infinity": ("scale: 1.5", "scale: »-.inf", "guidance.scale: -.inf is no finite number; expected a number", ""),
    "17 5,000 digits": ("  steps: 800", "  steps: »" + "9" * 5000, "train.steps: '99999999999999999999999…': integer out of 64-bit range", ""),
    "17 100 KB of hex": ("  steps: 800", "  steps: »0x" + "f" * 100_000, "train.steps: '0xfffffffffffffffffffff…': integer out of 64-bit range", ""),
    "18 negative width": ("width: 24", "width: »-24", "backbone.width: -24 is out of range; expected an integer greater than 0", ""),
    "18 no steps": ("  steps: 800", "  steps: »0", "train.steps: 0 is out of range; expected an integer greater than 0", ""),
    "18 no batch": ("batch: 64", "batch: »0", "train.batch: 0 is out of range; expected an integer greater than 0", ""),
    "18 no channels": ("channels: 1", "channels: »0", "sample.channels: 0 is out of range; expected an integer from 1 to 65536", ""),
    "18 p above 1": ("dropout: 0.1", "dropout: »1.1", "conditions.text.dropout: 1.1 is out of range; expected a number from 0 to 1", ""),
    "20 unknown part": ("use: unet", "use: »unte", f"backbone.use: there is no backbone 'unte'; did you mean 'unet' (cdkit=={VERSION})?", "installed for backbone:"),
    "21 dotted path": ("use: unet", "use: »torch.nn:Linear", "backbone.use: 'torch.nn:Linear' is no name of a backbone; components are names, not imports", "expected one of"),
    "21 _target_": ("{use: unet, width: 24", "»{_target_: os.system, width: 24", "backbone: missing key 'use'; expected the name of a backbone:", ""),
    "26 of itself": (HEAD, HEAD + "extends: »bent.yaml\n", "extends: specs extend each other in a circle: bent.yaml -> bent.yaml", ""),
    "26 in a circle": (HEAD, HEAD + "extends: other.yaml\n", "extends: specs extend each other in a circle: bent.yaml -> other.yaml -> bent.yaml", ""),
    "27 a variable": ("use: unet", "use: »'${HOME}'", "backbone.use: '${HOME}' is no name of a backbone; components are names, not imports", ""),
    "27 a command": ("name: digits", "name: »$(id)", "name: '$(id)' is no name; expected letters, digits, `_` and `-`, for it names a folder too", ""),
    "28 a URL": ("use: unet", "use: »https://a.b/c", "backbone.use: 'https://a.b/c' is no name of a backbone; components are names, not imports", ""),
    "28 absolute": (HEAD, HEAD + "extends: »/etc/passwd\n", "extends: '/etc/passwd' is no file beside this one; expected a name such as base.yaml", "no folder, URL or absolute path"),
    "28 climbing": (HEAD, HEAD + "extends: »../digits.yaml\n", "extends: '../digits.yaml' is no file beside this one; expected a name such as base.yaml", ""),
    "32 a later schema": ("cdkit: 1", "cdkit: »99", "cdkit: written for schema 99; this reads <= 1", "update cdkit"),
    "33 an older schema": ("cdkit: 1", "cdkit: »0", "cdkit: 0; expected 1", ""),
    "35 zero width": ("use: unet", "use: »un\u200bet", "backbone.use: 'un\\u200bet' is no name of a backbone: it holds U+200B ZERO WIDTH SPACE; components are names, not imports", ""),
    "35 right to left": ("width: 24", "»wid\u202eth: 24", "backbone.wid\\u202eth: unknown key 'wid\\u202eth' (it holds U+202E RIGHT-TO-LEFT OVERRIDE)", ""),
}  # fmt: skip

# The same, found when the parts are put together.
BUILT: dict[str, tuple[str, str, int, str, str]] = {
    "19 heads of the network": (NET, NET.replace("{use", "»{use").replace("heads: 2", "heads: 5"), 3, "backbone: down.1.attn.0.blocks.0: heads is 5, which does not divide the 48 channels there; the nearest that do are 4 and 6", ""),
    "19 heads": (CROSS, CROSS.replace("{", "»{").replace("heads: 2", "heads: 5"), 3, "injectors.cross_attention: cross_attention at down.1.attn.0.blocks.0.attend: heads is 5, which does not divide the 48 channels there; the nearest that do are 4 and 6", ""),
    "29 a form that it lacks": (CROSS + FILM, "  - »{use: hint, streams: [text]}\n", 3, "injectors.hint: hint needs spatial, but stream 'text' offers tokens of width 64 and pooled of width 64; 'text' comes from bytes at bent.yaml:7:9", ""),
    "30 resolution": ("height: 8, width: 8}", "height: 7, width: 8}", 3, "backbone: sample.height is 7, which is no multiple of 2", "take 6 or 8"),
    "31 no such site": (FILM, "  - {use: film, streams: [text], »sites: [botom.*]}\n", 3, "injectors.film.sites: 'botom.*' matches no site of unet", "its sites are embed, input,"),
    "36 beyond 64 bits": ("width: 24", "width: 1000000000", 7, "backbone: one of its tensors needs more bytes than 64 bits can count", "make it narrower"),
    "36 an encoder": ("dim: 64", "dim: 8589934592", 7, "conditions.text: one of its tensors needs more bytes than 64 bits can count", "make it narrower"),
}  # fmt: skip


def place(text: str) -> str:
    """`bent.yaml:line:column: ` of the mark; of any place where there is none."""
    before, mark, _ = text.partition(MARK)
    found = f"bent.yaml:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}: "
    return re.escape(found) if mark else r"(bent|other)\.yaml:\d+:\d+: "


def unmarked(content: str | bytes) -> bytes:
    written = content if isinstance(content, bytes) else content.encode()
    return written.replace(MARK.encode(), b"", 1)


@pytest.fixture(autouse=True)
def specs(tmp_path: Path) -> None:
    shutil.copy(SPECS / "digits.yaml", tmp_path)
    (tmp_path / "other.yaml").write_text("cdkit: 1\nextends: bent.yaml\n")


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_spec(case: str, refused: Callable[..., object], tmp_path: Path) -> None:
    content, message = FILES[case]
    (tmp_path / "bent.yaml").write_bytes(unmarked(content))
    where = place(content if isinstance(content, str) else content.decode(errors="replace"))
    refused("spec", "fill", "bent.yaml", code=3, says=where + re.escape(message) + "$")


@pytest.mark.parametrize("case", BENT)
def test_a_bent_spec(case: str, refused: Callable[..., object], tmp_path: Path) -> None:
    old, new, message, hint = BENT[case]
    assert DIGITS.count(old) == 1, "the case no longer fits the spec"
    text = DIGITS.replace(old, new)
    (tmp_path / "bent.yaml").write_bytes(unmarked(text))
    answer = refused("spec", "fill", "bent.yaml", code=3, says=rf"{place(text)}{re.escape(message)}")
    assert not hint or f"hint: {hint}" in answer.err


@pytest.mark.parametrize("case", BUILT)
def test_parts_that_do_not_fit(case: str, refused: Callable[..., object], tmp_path: Path) -> None:
    old, new, code, message, hint = BUILT[case]
    assert DIGITS.count(old) == 1, "the case no longer fits the spec"
    text = DIGITS.replace(old, new)
    (tmp_path / "bent.yaml").write_bytes(unmarked(text))
    answer = refused("build", "bent.yaml", code=code, says=rf"{place(text)}{re.escape(message)}")
    assert not hint or f"hint: {hint}" in answer.err


def test_two_injectors_of_one_name(refused: Callable[..., object], tmp_path: Path) -> None:
    """31: the second is refused, the first is named."""
    (tmp_path / "bent.yaml").write_text(DIGITS.replace(FILM, FILM + FILM))
    says = r"bent\.yaml:11:5: injectors\.2: a second injector of the name 'film'; the first is at bent\.yaml:10:5$"
    answer = refused("spec", "fill", "bent.yaml", code=3, says=says)
    assert "hint: give one of them a name of its own: name: film_2" in answer.err


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("lr: 2.0e-3", "lr: 1e-4", "train.lr = 0.0001"),
        ("name: digits", "name: no", "name = no"),
        ("name: digits", "name: 'on'", "name = on"),
        ("[zero, one,", "['{{x}}', '${HOME}', '$(id)', one,", 'train.prompts = ["{{x}}", "${HOME}", "$(id)", "one"'),
        ("cdkit: 1", "\ufeffcdkit: 1", "name = digits"),
    ],
    ids=["12 a number", "13 no", "13 on", "27 kept as text", "6 a byte order mark"],
)
def test_what_other_readers_misread(ask: Callable[..., object], tmp_path: Path, old: str, new: str, line: str) -> None:
    text = DIGITS[DIGITS.index("cdkit: 1") :]
    assert text.count(old) == 1
    (tmp_path / "bent.yaml").write_text(text.replace(old, new), encoding="utf-8")
    answer = ask("spec", "show", "bent.yaml")
    assert (answer.code, answer.err) == (0, "")
    assert line in answer.out


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "unreadable"])
def test_what_is_no_file(kind: str, refused: Callable[..., object], tmp_path: Path) -> None:
    """34: named, and nobody waits for it."""
    path = tmp_path / "bent.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "unreadable":
        path.write_text(DIGITS)
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("root reads everything")
    says = {
        "missing": r"there is no spec bent\.yaml$",
        "folder": r"bent\.yaml is a folder; expected a YAML file$",
        "pipe": r"bent\.yaml is a pipe; expected a YAML file$",
        "unreadable": r"the spec 'bent\.yaml' cannot be read: Permission denied$",
    }
    answer = refused("spec", "fill", "bent.yaml", code=2, says=says[kind])
    assert kind in ("folder", "unreadable") or ".yaml" in answer.err.partition("hint: ")[2]


@pytest.mark.parametrize(
    "command", [("build", "bent.yaml", "--out", "run"), ("train", "bent.yaml", "--out", "run", "--device", "cpu")]
)
def test_a_model_larger_than_the_machine(command: tuple[str, ...], refused: Callable[..., object], tmp_path: Path) -> None:
    """36: refused by its shapes, with bytes needed and bytes there; nothing is allocated."""
    (tmp_path / "bent.yaml").write_text(DIGITS.replace("width: 24", "width: 1000000"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = 4 if command[0] == "train" else 1
    says = r"bent\.yaml:3:1: digits needs ([\d,]+) bytes for its weights.*; this machine has ([\d,]+)$"
    answer = refused(*command, code=7, says=says)
    match = re.search(says, answer.err.splitlines()[0])
    assert match is not None
    needed, there = (int(number.replace(",", "")) for number in match.groups())
    assert needed > 10**14 * times > there
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


ENDLESS = {
    "blocks": (
        "blocks: 1,",
        "blocks: 1000000000,",
        r"bent\.yaml:\d+:\d+: backbone: it has more than 4,000 tensors of weights; expected fewer layers$",
    ),
    "depth": ("use: unet,", "use: unet, depth: 1000000000,", r"bent\.yaml:\d+:\d+: backbone: it has more than 4,000 tensors"),
    "an encoder": ("depth: 1,", "depth: 1000000000,", r"bent\.yaml:\d+:\d+: conditions\.text: it has more than 4,000 tensors"),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_layers_without_end(case: str, refused: Callable[..., object], tmp_path: Path) -> None:
    """36: of a billion layers some thousands are made, on no device, before it is refused."""
    old, new, says = ENDLESS[case]
    assert old in DIGITS
    (tmp_path / "bent.yaml").write_text(DIGITS.replace(old, new, 1))
    refused("build", "bent.yaml", code=3, says=says)


@pytest.mark.parametrize("case", ["23 billion laughs", "24 deep", "25 ten megabytes", "25 a million keys"])
def test_bombs_are_refused_at_once(case: str, ask: Callable[..., object], tmp_path: Path) -> None:
    """In less than 200 ms on a core of its own; a shared one is given a second. Less than 150 MB."""
    (tmp_path / "bent.yaml").write_bytes(unmarked(FILES[case][0]))
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, perf_counter()
    assert ask("spec", "fill", "bent.yaml").code == 3
    assert perf_counter() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000
