"""Every way of writing a spec wrongly: refused at its line and column, in words that say how to mend it."""
# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cdkit.registry import Registry
from cdkit.spec import SpecErrors, read_spec

Complaints = Callable[..., list[str]]
NET = "backbone: {use: net, width: 64, mult: [1, 2, 4]}"
WORDS = "text: {use: words, dim: 16}"
FILM = "- {use: film, streams: [text], heads: 2}"
CASES = [
    # keys
    (NET, "backbone: {use: net, widht: 64}", "s.yaml:15:22: backbone.widht: unknown key 'widht'; did you mean 'width'?"),
    (WORDS, "text: {use: words, dimm: 16}", "s.yaml:6:22: conditions.text.dimm: unknown key 'dimm'; did you mean 'dim'?"),
    (WORDS, "text: {use: words, of: [label]}", "s.yaml:6:22: conditions.text.of: unknown key 'of'"),
    ("seed: 7", "sede: 7", "s.yaml:3:1: sede: unknown key 'sede'; did you mean 'seed'?"),
    ("  lr: 1e-4", "  lrr: 1e-4", "s.yaml:22:3: train.lrr: unknown key 'lrr'; did you mean 'lr'?"),
    ("  lr: 1e-4", "  learning: 1", "s.yaml:22:3: train.learning: unknown key 'learning'"),
    ("{schedule: cosine,", "{shcedule: cosine,", "s.yaml:16:13: diffusion.shcedule: unknown key 'shcedule'; did you mean 'schedule'?"),
    (FILM, "- {use: film, streams: [text], heds: 2}", "s.yaml:11:34: injectors.0.heds: unknown key 'heds'; did you mean 'heads'?"),
    ("eta: 0.5", "etta: 0.5", "s.yaml:18:22: sampler.etta: unknown key 'etta'; did you mean 'eta'?"),
    (NET, "backbone: {width: 64}", "s.yaml:15:11: backbone: missing key 'use'; expected the name of a backbone: net"),
    (FILM, "- {use: film}", "s.yaml:11:5: injectors.0: missing key 'streams'; expected a list of texts"),
    ("    names: [cat, dog]\n", "", "s.yaml:8:5: conditions.label: missing key 'names'; expected a list of texts"),
    ("name: good\n", "", "s.yaml:1:1: missing key 'name'; expected text"),
    ("cdkit: 1\n", "", "s.yaml:1:1: missing key 'cdkit'; expected 1"),
    (NET + "\n", "", "s.yaml:1:1: missing key 'backbone'; expected a mapping"),
    (", width: 8}", "}", "s.yaml:4:9: sample: missing key 'width'; expected an integer from 1 to 65536"),
    ("seed: 7", "name: twice", "s.yaml:3:1: name: the key 'name' is written twice, first at s.yaml:2:1"),
    ("width: 64", "width: 64, width: 32", "s.yaml:15:33: backbone.width: the key 'width' is written twice, first at s.yaml:15:22"),
    # types
    ("  steps: 100", "  steps: fifty", "s.yaml:21:10: train.steps: 'fifty' is text; expected an integer greater than 0"),
    ("  steps: 100", '  steps: "100"', "s.yaml:21:10: train.steps: '100' is text; expected an integer greater than 0"),
    ("  steps: 100", "  steps: 1.5", "s.yaml:21:10: train.steps: 1.5 is a number; expected an integer greater than 0"),
    ("  steps: 100", "  steps: 10.0", "s.yaml:21:10: train.steps: 10.0 is a number; expected an integer greater than 0"),
    ("  steps: 100", "  steps: true", "s.yaml:21:10: train.steps: true is a truth value; expected an integer greater than 0"),
    ("  steps: 100", "  steps:", "s.yaml:21:9: train.steps: nothing; expected an integer greater than 0"),
    ("  steps: 100", "  steps: 010", "s.yaml:21:10: train.steps: '010' is text; expected an integer greater than 0"),
    ("  steps: 100", "  steps: 12:30:45", "s.yaml:21:10: train.steps: '12:30:45' is text; expected an integer greater than 0"),
    ("  steps: 100", "  steps: 1_000", "s.yaml:21:10: train.steps: '1_000' is text; expected an integer greater than 0"),
    ("  steps: 100", "  steps: 2024-13-45", "s.yaml:21:10: train.steps: '2024-13-45' is text; expected an integer greater than 0"),
    ("  steps: 100", "  steps: ${STEPS}", "s.yaml:21:10: train.steps: '${STEPS}' is text; expected an integer greater than 0"),
    ("  steps: 100", "  steps: [100]", "s.yaml:21:10: train.steps: a list of 1; expected an integer greater than 0"),
    ("  steps: 100", "  steps: {a: 1}", "s.yaml:21:10: train.steps: a mapping; expected an integer greater than 0"),
    (
        "  steps: 100",
        "  compile: yes",
        "s.yaml:21:12: train.compile: there is no 'yes'; expected true or false or one of 'regional', 'whole'",
    ),
    (
        "  steps: 100",
        "  compile: 1",
        "s.yaml:21:12: train.compile: 1 is an integer; expected true or false or one of 'regional', 'whole'",
    ),
    (
        "  steps: 100",
        "  recompute: 0",
        "s.yaml:21:14: train.recompute: 0 is an integer; expected true or false or a list of integers, each of at least 0",
    ),
    ("  steps: 100", "  recompute: [0, -1]", "s.yaml:21:18: train.recompute.1: -1 is out of range; expected an integer of at least 0"),
    ("  steps: 100", "  prompts: a cat", "s.yaml:21:12: train.prompts: 'a cat' is text; expected a list of texts"),
    ("  steps: 100", "  prompts: [a, 1.10]", "s.yaml:21:16: train.prompts.1: 1.10 is a number; expected text"),
    (WORDS, "text: {use: words, model: 12}", "s.yaml:6:29: conditions.text.model: 12 is an integer; expected text"),
    (WORDS, "text: words", "s.yaml:6:9: conditions.text: text; expected a mapping with `use`"),
    (NET, "backbone: net", "s.yaml:15:11: backbone: text; expected a mapping with `use`"),
    (NET, "backbone: {use: 5}", "s.yaml:15:17: backbone.use: an integer; expected the name of a backbone"),
    (NET, "backbone: {use: [net]}", "s.yaml:15:17: backbone.use: a list; expected the name of a backbone"),
    ("sample: {channels: 1, height: 8, width: 8}", "sample: 8x8", "s.yaml:4:9: sample: text; expected a mapping"),
    ("name: good", "name: [good]", "s.yaml:2:7: name: a list of 1; expected text"),
    ("name: good", "name: 5", "s.yaml:2:7: name: 5 is an integer; expected text"),
    ("evaluate:\n  - {use: score}", "evaluate: score", "s.yaml:23:11: evaluate: text; expected a list"),
    ("evaluate:\n  - {use: score}", "evaluate:\n  -", "s.yaml:24:4: evaluate.0: nothing; expected {use: ...}"),
    # ranges
    ("  steps: 100", "  steps: 0", "s.yaml:21:10: train.steps: 0 is out of range; expected an integer greater than 0"),
    ("  steps: 100", "  keep: 1", "s.yaml:21:9: train.keep: 1 is out of range; expected an integer of at least 2"),
    ("  steps: 100", "  ema: 1.5", "s.yaml:21:8: train.ema: 1.5 is out of range; expected a number from 0 to 1 or null"),
    ("channels: 1,", "channels: 100000,", "s.yaml:4:20: sample.channels: 100000 is out of range; expected an integer from 1 to 65536"),
    ("channels: 1,", "channels: -1,", "s.yaml:4:20: sample.channels: -1 is out of range; expected an integer from 1 to 65536"),
    ("  lr: 1e-4", "  lr: .inf", "s.yaml:22:7: train.lr: .inf is no finite number; expected a number greater than 0"),
    ("  lr: 1e-4", "  lr: .NaN", "s.yaml:22:7: train.lr: .NaN is no finite number; expected a number greater than 0"),
    ("  lr: 1e-4", "  lr: 1e999", "s.yaml:22:7: train.lr: '1e999': number out of the range of double precision"),
    ("seed: 7", "seed: 9223372036854775808", "s.yaml:3:7: seed: '9223372036854775808': integer out of 64-bit range"),
    ("seed: 7", "seed: -9223372036854775809", "s.yaml:3:7: seed: '-9223372036854775809': integer out of 64-bit range"),
    ("seed: 7", "seed: " + "9" * 5000, "s.yaml:3:7: seed: '99999999999999999999999…': integer out of 64-bit range"),
    ("seed: 7", "seed: 0x" + "f" * 100_000, "s.yaml:3:7: seed: '0xfffffffffffffffffffff…': integer out of 64-bit range"),
    ("mult: [1, 2, 4]", "mult: [1, -2, 4]", "s.yaml:15:43: backbone.mult.1: -2 is out of range; expected an integer greater than 0"),
    ("mult: [1, 2, 4]", "depth: [1, -2]", "s.yaml:15:44: backbone.depth.1: -2 is out of range; expected an integer of at least 0"),
    ("mult: [1, 2, 4]", "depth: two", "s.yaml:15:40: backbone.depth: 'two' is text; expected an integer greater than 0 or a list of integers, each of at least 0"),
    ("scale: 2.5", "interval: [1]", "s.yaml:17:32: guidance.interval: a list of 1; expected a list of 2: a number, a number"),
    ("scale: 2.5", "scales: {text: big}", "s.yaml:17:37: guidance.scales.text: 'big' is text; expected a number"),
    ("  steps: 100", '  steps: "\\ud800"', "s.yaml:21:10: train.steps: half a surrogate pair or NUL, which no text holds"),
    ("scale: 2.5", 'scales: {"\\ud800": 2}', "s.yaml:17:31: guidance.scales: half a surrogate pair or NUL, which no text holds"),
    ("  lr: 1e-4", '  "l\\0r": 1e-4', "s.yaml:22:3: train: half a surrogate pair or NUL, which no text holds"),
    # choices
    ("schedule: cosine", "schedule: cosin", "s.yaml:16:23: diffusion.schedule: there is no 'cosin'; expected one of 'linear', 'scaled_linear', 'cosine', 'sigmoid', 'flow'; did you mean 'cosine'?"),
    (WORDS, "text: {use: words, padding: atend}", "s.yaml:6:31: conditions.text.padding: there is no 'atend'; expected one of 'mask', 'attend'; did you mean 'attend'?"),
    ("data: {use: digits}", "data: {use: digits, fold: 5}", "s.yaml:19:27: data.fold: 5; expected one of 0, 1, 2"),
    ("eta: 0.5", "spacing: trailling", "s.yaml:18:31: sampler.spacing: there is no 'trailling'; expected one of 'trailing', 'leading', 'linspace', 'karras'; did you mean 'trailing'?"),
    ("cdkit: 1", "cdkit: 0", "s.yaml:1:8: cdkit: 0; expected 1"),
    ("cdkit: 1", "cdkit: 99", "s.yaml:1:8: cdkit: written for schema 99; this reads <= 1"),
    # names
    ("use: words", "use: wordds", "s.yaml:6:15: conditions.text.use: there is no encoder 'wordds'; did you mean 'words' (in-memory)?"),
    ("use: ddim", "use: zzz", "s.yaml:18:16: sampler.use: there is no sampler 'zzz'"),
    ("use: net", "use: torch.nn:Linear", "s.yaml:15:17: backbone.use: 'torch.nn:Linear' is no name of a backbone; components are names, not imports"),
    ("use: net", "use: torch.nn.linear", "s.yaml:15:17: backbone.use: there is no backbone 'torch.nn.linear'"),
    ("use: net", "use: https://a.b/c", "s.yaml:15:17: backbone.use: 'https://a.b/c' is no name of a backbone; components are names, not imports"),
    ("use: net", "use: /etc/passwd", "s.yaml:15:17: backbone.use: '/etc/passwd' is no name of a backbone; components are names, not imports"),
    ("use: net", "use: ../net", "s.yaml:15:17: backbone.use: '../net' is no name of a backbone; components are names, not imports"),
    ("use: add", "use: ${HOME}", "s.yaml:12:10: injectors.1.use: '${HOME}' is no name of an injector; components are names, not imports"),
    ("use: net", "use: __class__", "s.yaml:15:17: backbone.use: '__class__' is no name of a backbone; components are names, not imports"),
    ("use: net", "_target_: os.system", "s.yaml:15:11: backbone: missing key 'use'; expected the name of a backbone: net"),
    ("use: net", "use: n\u200bet", "s.yaml:15:17: backbone.use: 'n\\u200bet' is no name of a backbone: it holds U+200B ZERO WIDTH SPACE; components are names, not imports"),
    ("use: net", "use: nеt", "s.yaml:15:17: backbone.use: 'nеt' is no name of a backbone: it holds U+0435 CYRILLIC SMALL LETTER IE; components are names, not imports"),
    ("seed: 7", "se\u202eed: 7", "s.yaml:3:1: se\\u202eed: unknown key 'se\\u202eed' (it holds U+202E RIGHT-TO-LEFT OVERRIDE); did you mean 'seed'?"),
    ("name: good", "name: ../good", "s.yaml:2:7: name: '../good' is no name; expected letters, digits, `_` and `-`, for it names a folder too"),
    ("name: good", "name: go\u200bod", "s.yaml:2:7: name: 'go\\u200bod' is no name: it holds U+200B ZERO WIDTH SPACE; expected letters, digits, `_` and `-`, for it names a folder too"),
    ("use: add", "use: add\n    name: Film 2", "s.yaml:12:5: injectors.1.name: 'Film 2' is no name; expected lower-case letters, digits and `_`"),
    ("  label:\n", "  La bel:\n", "s.yaml:7:3: conditions.La bel: 'La bel' is no name; expected lower-case letters, digits and `_`"),
    # between parts
    ("[text, label]", "[text, labl]", "s.yaml:13:21: injectors.1.streams: there is no condition 'labl'; did you mean 'label'?"),
    ("[text, label]", "[text, label, depth]", "s.yaml:13:28: injectors.1.streams: there is no condition 'depth'"),
    ("[text, label]", "[text, label, text]", "s.yaml:13:28: injectors.1.streams: 'text' is named twice"),
    ("[text, label]", "[text]", "s.yaml:7:3: conditions.label: no injector and no joiner reads it, so it would be silently ignored"),
    ("use: add", "use: film", "s.yaml:12:5: injectors.1: a second injector of the name 'film'; the first is at s.yaml:11:5"),
    ("use: add", "use: add\n    name: film", "s.yaml:12:5: injectors.1: a second injector of the name 'film'; the first is at s.yaml:11:5"),
    ("data: {use: digits}\n", "", "s.yaml:23:3: evaluate: there is no `data:` to evaluate on"),
    (WORDS, WORDS + "\n  both: {use: join, of: [text, label, both]}\n", "s.yaml:7:39: conditions.both.of: 'both' joins itself"),
    ("[text, label]", "[]", "s.yaml:13:14: injectors.1.streams: an empty list; expected at least one condition of text, label"),
    ("data: {use: digits}\n", "data: null\n", "s.yaml:24:3: evaluate: there is no `data:` to evaluate on"),
    ("seed: 7", "task: autoencoder", "s.yaml:3:7: task: there is no `autoencoder:` to train"),
    ("seed: 7", "task: autoencoder\nautoencoder: null", "s.yaml:3:7: task: there is no `autoencoder:` to train"),
    ("seed: 7", "task: autoencoder\nautoencoder: {use: kl}\nlora: {}", "s.yaml:5:7: lora: this task trains the autoencoder, and a LoRA adapts the denoiser"),
    (WORDS, WORDS + "\n  both: {use: join, of: [text, label, txt]}\n", "s.yaml:7:39: conditions.both.of: there is no condition 'txt'; did you mean 'text'?"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line"), CASES, ids=[f"{i}-{line[7:40]}" for i, (_, _, line) in enumerate(CASES)])
def test_a_mistake_is_named_where_it_stands(
    good: str, complaints: Complaints, tmp_path: Path, old: str, new: str, line: str
) -> None:
    assert good.count(old) == 1, "the case no longer fits the good spec"
    told = [complaint.replace(f"{tmp_path}/", "") for complaint in complaints(good.replace(old, new))]
    assert line in told
    # A part or a name that is wrong can leave a condition unread or undeclared, and nothing else.
    assert not [other for other in told if other != line and "reads it" not in other and "no condition" not in other]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(complaints: Complaints, good: str) -> None:
    bad = good.replace("width: 64", "widht: 64").replace("steps: 100", "steps: no").replace("seed: 7", "seed: x")
    bad = bad.replace("use: words", "use: word").replace("heads: 2", "heads: 0").replace("cosine", "cosin")
    places = [line.split(": ")[0] for line in complaints(bad)]
    assert places == ["s.yaml:3:7", "s.yaml:6:15", "s.yaml:11:41", "s.yaml:15:22", "s.yaml:16:23", "s.yaml:21:10"]


def test_mistakes_of_the_command_line_come_after_those_of_the_file(complaints: Complaints, good: str) -> None:
    bad = good.replace("cdkit: 1", "cdkit: 0").replace("seed: 7", "seed: x")
    places = [line.split(": ")[0] for line in complaints(bad, "train.steps=no", "backbone.widht=3")]
    assert places == ["s.yaml:1:8", "s.yaml:3:7", "--set backbone.widht", "--set train.steps"]


def test_what_stands_in_no_file_has_no_line(good: str, registry: Registry) -> None:
    with pytest.raises(SpecErrors) as caught:
        read_spec(good, overrides=["train.steps=no"], registry=registry)
    (record,) = caught.value.records()
    assert (record["file"], record["line"], record["col"]) == ("--set train.steps", 0, 0)


def test_one_injector_that_is_wrong_hides_no_mistake_of_the_next(complaints: Complaints, good: str) -> None:
    bad = good.replace("heads: 2", "heads: 0").replace("use: add\n", "use: add\n    name: Add it\n")
    assert [line.split(": ")[1] for line in complaints(bad)] == ["injectors.0.heads", "injectors.1.name"]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (WORDS, WORDS + "\n  none:", "s.yaml:7:8: conditions.none: nothing; expected a mapping with `use`"),
        ("[text, label]", "label", "s.yaml:13:14: injectors.1.streams: 'label' is text; expected a list of texts"),
    ],
)
def test_what_is_wrong_itself_is_not_called_unread_too(complaints: Complaints, good: str, old: str, new: str, line: str) -> None:
    assert complaints(good.replace(old, new)) == [line]


@pytest.mark.parametrize("conditions", ["conditions: [text]", "conditions: text"])
def test_conditions_have_names(complaints: Complaints, conditions: str) -> None:
    kind = "a list" if "[" in conditions else "text"
    text = f"cdkit: 1\nname: bare\nsample: {{channels: 1, height: 8, width: 8}}\nbackbone: {{use: net}}\n{conditions}\n"
    assert complaints(text) == [f"s.yaml:5:13: conditions: {kind}; expected a mapping of names to encoders"]


def test_several_mistakes_read_as_lines_with_their_hints(good: str, tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "s.yaml").write_text(good.replace("width: 64", "widht: 64").replace("eta: 0.5", "eta: 2"))
    with pytest.raises(SpecErrors) as caught:
        read_spec(tmp_path / "s.yaml", registry=registry)
    first, hint, second = str(caught.value).replace(f"{tmp_path}/", "").splitlines()
    assert first == "s.yaml:15:22: backbone.widht: unknown key 'widht'; did you mean 'width'?"
    assert hint == "  hint: net (in-memory) takes use, width, mult, depth, heads, dropout, wide, groups"
    assert second == "s.yaml:18:27: sampler.eta: 2 is out of range; expected a number from 0 to 1"
    assert (caught.value.exit_code, caught.value.hint) == (3, "")
    assert caught.value.records()[0] == {
        "file": str(tmp_path / "s.yaml"),
        "line": 15,
        "col": 22,
        "path": "backbone.widht",
        "code": "unknown-key",
        "message": "unknown key 'widht'; did you mean 'width'?",
        "hint": "net (in-memory) takes use, width, mult, depth, heads, dropout, wide, groups",
    }


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("  steps: 100", '  steps: "100"', "take the quotes away, or write the number plainly: 10, 0.1, 1e-4"),
        ("  steps: 100", "  steps: fifty", ""),
        ("model: small", "model: 12", 'put it in quotes to make it text: "12"'),
        ("[text], heads", "text, heads", "write it as a list: [text]"),
        (NET, "backbone: net", "write {use: net}"),
        (
            "use: words",
            "use: wordds",
            "installed for encoder: join, label, map, words (in-memory)",
        ),
        ("use: add", "use: film", "give one of them a name of its own: name: film_2"),
        ("[text, label]", "[text]", "add an injector with streams: [label], or remove it"),
    ],
)
def test_a_hint_says_how_to_mend_it(good: str, tmp_path: Path, registry: Registry, old: str, new: str, hint: str) -> None:
    text = good.replace("dim: 16", "dim: 16, model: small")
    assert text.count(old) == 1
    (tmp_path / "s.yaml").write_text(text.replace(old, new))
    with pytest.raises(SpecErrors) as caught:
        read_spec(tmp_path / "s.yaml", registry=registry)
    assert hint in [problem.hint for problem in caught.value.problems]


@pytest.mark.parametrize(
    "more",
    [
        "task: autoencoder\nautoencoder: {use: kl}\n",
        "task: autoencoder\nautoencoder: {use: kl}\nlora: null\n",
        "task: denoise\nlora: {}\n",
        "task: denoise\nautoencoder: null\n",
        "guidance: null\nevaluate: []\ntrain: {prompts: []}\n",
        "evaluate: []\ndata: null\n",
    ],
)
def test_what_goes_together_is_not_complained_of(more: str, registry: Registry) -> None:
    assert read_spec(
        f"cdkit: 1\nname: bare\nsample: {{channels: 1, height: 8, width: 8}}\nbackbone: {{use: net}}\n{more}", registry=registry
    )


def test_guidance_and_prompts_need_a_condition(complaints: Complaints) -> None:
    text = """cdkit: 1\nname: bare\nsample: {channels: 1, height: 8, width: 8}\nbackbone: {use: net}\n"""
    text += "guidance: {use: cfg}\ntrain: {prompts: [a cat]}\n"
    assert complaints(text) == [
        "s.yaml:5:11: guidance: there is no condition to guide by",
        "s.yaml:6:18: train.prompts: there is no condition to say them to",
    ]
