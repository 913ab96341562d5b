"""What the real yaml-language-server makes of our schema: what it underlines and where, what it completes, what it explains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cdkit.cli.init import LINE
from cdkit.registry import Registry
from cdkit.scaffold.first import first_spec
from cdkit.spec.roles import keys_of

if TYPE_CHECKING:
    from tests.editor.conftest import Editor

pytestmark = pytest.mark.slow  # `make slow` installs the server, which takes node and a network
SPECS = Path(__file__).parents[2] / "specs"
GOOD = LINE + first_spec()
HEAD = LINE + "cdkit: 1\nname: mine\nsample: {channels: 1, height: 8, width: 8}\n"
BLOCK = HEAD + "conditions:\n  text:\n    use: bytes\ninjectors:\n  - use: film\n    streams: [text]\nbackbone:\n  use: unet\n"


@pytest.mark.parametrize("path", sorted(SPECS.glob("*.yaml")), ids=lambda path: path.stem)
def test_nothing_is_underlined_in_a_shipped_spec(editor: Editor, path: Path) -> None:
    assert editor.diagnostics(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new", "word", "said"),
    [
        ("width: 24", "widht: 24", "widht", "Property widht is not allowed."),
        ("heads: 2}\nguidance", "heds: 2}\nguidance", "heds", "Property heds is not allowed."),
        ("  text: {use: bytes, dim", "  text: {use: bytes, dimm", "dimm", "Property dimm is not allowed."),
        ("name: digits\n", "name: digits\nsede: 3\n", "sede", "Property sede is not allowed."),
        ("lr: 2.0e-3", "lrr: 2.0e-3", "lrr", "Property lrr is not allowed."),
        ("steps: 20", "step: 20", "step: 20", "Property step is not allowed."),
        ("width: 24", "width: wide", "wide", 'Incorrect type. Expected "integer".'),
        ("mult: [1, 2]", "mult: [1, two]", "two]", 'Incorrect type. Expected "integer".'),
        ("batch: 64", "batch: -64", "-64", "Value is below the exclusive minimum of 0."),
        ("prompts: [three, seven]", "prompts: [three, 7.5]", "7.5", 'Incorrect type. Expected "string".'),
        ("use: said_drawn", "use: said_dawn", "said_dawn", "Value must be "),
        ("{use: unet, width: 24", "{width: 24", "backbone: {width", 'Missing property "use".'),
        ("streams: [text], ", "", "{use: cross_attention", 'Missing property "streams".'),
    ],
)
def test_a_mistake_is_underlined_where_it_stands(editor: Editor, old: str, new: str, word: str, said: str) -> None:
    assert GOOD.count(old) == 1
    bad = GOOD.replace(old, new)
    before = bad[: bad.index(word)]
    ((line, column, message),) = editor.diagnostics(bad)
    assert (line, column) == (before.count("\n") + 1, len(before) - before.rfind("\n"))
    assert message.startswith(said)


def test_a_spec_over_another_says_only_what_it_changes(editor: Editor) -> None:
    over = LINE + "cdkit: 1\nextends: digits.yaml\nbackbone: {WIDTH: 32}\nguidance: null\n"
    assert editor.diagnostics(over.replace("WIDTH", "width")) == []
    ((line, column, message),) = editor.diagnostics(over.replace("WIDTH", "widht"))
    assert (line, column) == (4, 12)
    assert '"width"' in message


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("injector", "film", BLOCK.replace("    streams: [text]\n", "    |\n")),
        ("injector", "cross_attention", BLOCK.replace("use: film\n    streams: [text]\n", "use: cross_attention\n    |\n")),
        ("encoder", "bytes", BLOCK.replace("use: bytes\n", "use: bytes\n    |\n")),
        ("backbone", "unet", BLOCK + "  |\n"),
        ("backbone", "dit", BLOCK.replace("use: unet", "use: dit") + "  |\n"),
        ("sampler", "ddim", BLOCK + "sampler:\n  use: ddim\n  |\n"),
        ("metric", "said_drawn", BLOCK + "evaluate:\n  - use: said_drawn\n    |\n"),
    ],
)
def test_the_keys_of_the_chosen_part_are_offered_and_no_others(editor: Editor, kind: str, name: str, text: str) -> None:
    keys = keys_of(kind, Registry.installed().get(kind, name)).options
    offered = set(editor.completions(text))
    snippets = {label for label in offered if label.startswith(f"{kind}.")}  # all that is required, at once
    assert offered - snippets == set(keys) - {"use"}


def test_a_key_is_offered_between_braces_too(editor: Editor) -> None:
    offered = editor.completions(GOOD.replace("{use: cross_attention, streams: [text], heads: 2}", "{use: film, in|}"))
    assert "inner" in offered
    assert "heads" not in offered


def test_the_names_of_a_kind_are_offered_with_what_they_are(editor: Editor) -> None:
    offered = editor.completions(HEAD + "backbone:\n  use: |\n")
    assert set(offered) == set(Registry.installed().names("backbone"))
    assert offered["unet"]["documentation"].startswith("unet (cdkit==")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("width: 24", "Channels at the finest level. An integer greater than 0; default 320."),
        ("streams: [text]", "The conditions that it reads. A list of texts; required."),
        ("dropout: 0.1", "How often training says nothing instead, which guidance needs. A number from 0 to 1; default 0.1."),
        ("lr: 2.0e-3", "After the warmup. A number greater than 0; default 0.0003."),
        ("channels: 1", "Of what is drawn; 1 is grey"),
        ("use: cross\\_attention", "cross\\_attention (cdkit=="),
        ("injectors:", "How the model is told"),
    ],
)
def test_a_hover_tells_what_the_docstring_says(editor: Editor, word: str, said: str) -> None:
    written = word.replace("\\", "")
    assert GOOD.count(written) == 1
    assert said in editor.hover(GOOD.replace(written, f"{written[0]}|{written[1:]}"))
