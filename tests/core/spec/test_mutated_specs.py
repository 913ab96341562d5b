"""The demo's spec, bent in every way: refused by the command line at the mark, in words that mend it, without a traceback.

A `»` in a row marks where the error stands. Catalogue: tests/core/spec/test_bad_specs.py has more, with parts in memory.
"""
# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cdkit.cli.app import main
from cdkit.version import VERSION

SPECS = Path(__file__).parents[3] / "specs"
DIGITS = (SPECS / "digits.yaml").read_text(encoding="utf-8")
MARK = "»"
OWN = f"(cdkit=={VERSION})"
TEXT = "  text: {use: bytes, dim: 64, depth: 1, heads: 2, dropout: 0.1}\n"
CROSS = "  - {use: cross_attention, streams: [text], heads: 2}\n"
FILM = "  - {use: film, streams: [text]}\n"
NET = "backbone: {use: unet, width: 24, mult: [1, 2], blocks: 1, attention: [1], heads: 2}\n"
HEAD = "cdkit: 1\nname: digits\n"
READ = [
    # a letter more, less, other or swapped in a key, at every depth
    ("name: digits", "»nmae: digits", "nmae: unknown key 'nmae'; did you mean 'name'?", f"a spec {OWN} takes cdkit, name,"),
    ("sample: {", "»smple: {", "smple: unknown key 'smple'; did you mean 'sample'?", f"a spec {OWN} takes"),
    ("conditions:", "»condition:", "condition: unknown key 'condition'; did you mean 'conditions'?", ""),
    ("injectors:", "»injektors:", "injektors: unknown key 'injektors'; did you mean 'injectors'?", ""),
    ("guidance:", "»guidence:", "guidence: unknown key 'guidence'; did you mean 'guidance'?", ""),
    ("evaluate:", "»evalaute:", "evalaute: unknown key 'evalaute'; did you mean 'evaluate'?", ""),
    ("channels: 1", "»chanels: 1", "sample.chanels: unknown key 'chanels'; did you mean 'channels'?", f"sample {OWN} takes channels, height, width"),
    ("depth: 1", "»dept: 1", "conditions.text.dept: unknown key 'dept'; did you mean 'depth'?", f"bytes {OWN} takes use, column, dropout,"),
    ("dropout: 0.1", "»drop_out: 0.1", "conditions.text.drop_out: unknown key 'drop_out'; did you mean 'dropout'?", f"bytes {OWN} takes"),
    ("streams: [text], heads", "»stream: [text], heads", "injectors.0.stream: unknown key 'stream'; did you mean 'streams'?", f"cross_attention {OWN} takes"),
    (FILM, "  - {use: film, streams: [text], »iner: 8}\n", "injectors.1.iner: unknown key 'iner'; did you mean 'inner'?", f"film {OWN} takes"),
    ("mult: [1, 2]", "»mutl: [1, 2]", "backbone.mutl: unknown key 'mutl'; did you mean 'mult'?", f"unet {OWN} takes"),
    ("prediction: v", "»predicton: v", "diffusion.predicton: unknown key 'predicton'; did you mean 'prediction'?", f"diffusion {OWN} takes schedule,"),
    ("scale: 1.5", "»scal: 1.5", "guidance.scal: unknown key 'scal'; did you mean 'scale'?", f"cfg {OWN} takes"),
    ("steps: 20", "»step: 20", "sampler.step: unknown key 'step'; did you mean 'steps'?", f"dpmpp_2m {OWN} takes"),
    ("  lr: 2.0e-3", "  »l: 2.0e-3", "train.l: unknown key 'l'; did you mean 'lr'?", f"train {OWN} takes steps, batch, lr,"),
    ("  ema: 0.995", "  »eam: 0.995", "train.eam: unknown key 'eam'; did you mean 'ema'?", f"train {OWN} takes"),
    ("pictures: 500", "»picutres: 500", "evaluate.0.picutres: unknown key 'picutres'; did you mean 'pictures'?", f"said_drawn {OWN} takes"),
    (FILM, "  - {use: film, streams: [text], »heads: 8}\n", "injectors.1.heads: unknown key 'heads'", f"film {OWN} takes use, streams, name, sites, inner"),
    # a letter in a name: who provides the right one is said
    ("use: bytes", "use: »bites", f"conditions.text.use: there is no encoder 'bites'; did you mean 'bytes' {OWN}?", "installed for encoder:"),
    ("use: cross_attention", "use: »cross_atention", f"injectors.0.use: there is no injector 'cross_atention'; did you mean 'cross_attention' {OWN}?", "installed for injector:"),
    ("use: film", "use: »fim", f"injectors.1.use: there is no injector 'fim'; did you mean 'film' {OWN}?", "installed for injector:"),
    ("use: unet", "use: »unte", f"backbone.use: there is no backbone 'unte'; did you mean 'unet' {OWN}?", "installed for backbone:"),
    ("use: unet", "use: »cdkit/unte", f"backbone.use: there is no backbone 'cdkit/unte'; did you mean 'cdkit/unet' {OWN}?", "installed for backbone:"),
    ("use: cfg", "use: »cgf", f"guidance.use: there is no guider 'cgf'; did you mean 'cfg' {OWN}?", "installed for guider:"),
    ("use: dpmpp_2m", "use: »dpmp2m", f"sampler.use: there is no sampler 'dpmp2m'; did you mean 'dpmpp_2m' {OWN}?", "installed for sampler:"),
    ("data: {use: digits}", "data: {use: »digit}", f"data.use: there is no dataset 'digit'; did you mean 'digits' {OWN}?", "installed for dataset:"),
    ("use: frechet", "use: »frechte", f"evaluate.1.use: there is no metric 'frechte'; did you mean 'frechet' {OWN}?", "installed for metric:"),
    ("use: unet", "use: »film", f"backbone.use: there is no backbone 'film'; 'film' of cdkit=={VERSION} is of the kind injector", "installed for backbone:"),
    ("use: unet", "use: »zzzz", "backbone.use: there is no backbone 'zzzz'", "installed for backbone: controlnet, dit, mmdit, unet,"),
    ("use: unet", "use: »torch.nn:Linear", "backbone.use: 'torch.nn:Linear' is no name of a backbone; components are names, not imports", "expected one of controlnet,"),
    ("schedule: cosine", "schedule: »cosin", "diffusion.schedule: there is no 'cosin'; expected one of 'linear', 'scaled_linear', 'cosine', 'sigmoid', 'flow'; did you mean 'cosine'?", f"diffusion {OWN} takes linear,"),
    ("steps: 20", "steps: 20, spacing: »trailling", "sampler.spacing: there is no 'trailling'; expected one of 'trailing', 'leading', 'linspace', 'karras'; did you mean 'trailing'?", f"dpmpp_2m {OWN} takes trailing,"),
    ("  decay: cosine", "  decay: »cosines", "train.decay: there is no 'cosines'; expected one of 'constant', 'cosine'; did you mean 'cosine'?", f"train {OWN} takes constant, cosine"),
    # what has to be said
    (HEAD, "»name: digits\n", "missing key 'cdkit'; expected 1", ""),
    (HEAD, "»cdkit: 1\n", "missing key 'name'; expected text", ""),
    ("height: 8, ", "", "sample: missing key 'height'; expected an integer from 1 to 65536", ""),
    (TEXT, "  text: »{dim: 64, depth: 1, heads: 2, dropout: 0.1}\n", "conditions.text: missing key 'use'; expected the name of an encoder: bert, bytes,", ""),
    (FILM, "  - »{use: film}\n", "injectors.1: missing key 'streams'; expected a list of texts", ""),
    (NET, "backbone: »{width: 24}\n", "backbone: missing key 'use'; expected the name of a backbone: controlnet, dit,", ""),
    # of another type
    ("  steps: 800", "  steps: »many", "train.steps: 'many' is text; expected an integer greater than 0", ""),
    ("  steps: 800", '  steps: »"800"', "train.steps: '800' is text; expected an integer greater than 0", "take the quotes away"),
    ("width: 24", "width: »2.4e1", "backbone.width: 2.4e1 is a number; expected an integer greater than 0", ""),
    ("scale: 1.5", "scale: »strong", "guidance.scale: 'strong' is text; expected a number", ""),
    ("clip: 1.0", "clip: »yes", "diffusion.clip: 'yes' is text; expected a number greater than 0 or null", ""),
    ("mult: [1, 2]", "mult: »2", "backbone.mult: 2 is an integer; expected a list of integers, each greater than 0", "write it as a list: [2]"),
    ("mult: [1, 2]", "mult: [1, »two]", "backbone.mult.1: 'two' is text; expected an integer greater than 0", ""),
    ("streams: [text], heads", "streams: »text, heads", "injectors.0.streams: 'text' is text; expected a list of texts", "write it as a list: [text]"),
    ("[zero, one,", "[zero, »1,", "train.prompts.1: 1 is an integer; expected text", 'put it in quotes to make it text: "1"'),
    (NET, "backbone: »unet\n", "backbone: text; expected a mapping with `use`", "write {use: unet}"),
    (CROSS + FILM, "  »text: film\n", "injectors: a mapping; expected a list", "write `- {use: ...}`, one a line"),
    ("name: digits", "name: »[digits]", "name: a list of 1; expected text", ""),
    ("  ema: 0.995", "  ema: »true", "train.ema: true is a truth value; expected a number from 0 to 1 or null", ""),
    # out of range
    ("channels: 1", "channels: »0", "sample.channels: 0 is out of range; expected an integer from 1 to 65536", ""),
    ("height: 8", "height: »1000000", "sample.height: 1000000 is out of range; expected an integer from 1 to 65536", ""),
    ("dropout: 0.1", "dropout: »1.1", "conditions.text.dropout: 1.1 is out of range; expected a number from 0 to 1", ""),
    ("width: 24", "width: »-24", "backbone.width: -24 is out of range; expected an integer greater than 0", ""),
    ("  lr: 2.0e-3", "  lr: »0", "train.lr: 0 is out of range; expected a number greater than 0", ""),
    ("  lr: 2.0e-3", "  lr: ».nan", "train.lr: .nan is no finite number; expected a number greater than 0", ""),
    ("  steps: 800", "  steps: »9999999999999999999", "train.steps: '9999999999999999999': integer out of 64-bit range", ""),
    ("cdkit: 1", "cdkit: »99", "cdkit: written for schema 99; this reads <= 1", "update cdkit"),
    # between parts
    ("streams: [text], heads", "streams: [»txet], heads", "injectors.0.streams: there is no condition 'txet'; did you mean 'text'?", "the conditions are text"),
    (FILM, "  - {use: film, streams: [text, »words]}\n", "injectors.1.streams: there is no condition 'words'", "the conditions are text"),
    (FILM, "  - {use: film, streams: »[]}\n", "injectors.1.streams: an empty list; expected at least one condition of text", ""),
    (TEXT, TEXT + "  »class: {use: label, names: [a]}\n", "conditions.class: no injector and no joiner reads it, so it would be silently ignored", "add an injector with streams: [class], or remove it"),
    (FILM, FILM + "  - »{use: film, streams: [text]}\n", "injectors.2: a second injector of the name 'film'", "give one of them a name of its own: name: film_2"),
    ("data: {use: digits}\n", "", "evaluate: there is no `data:` to evaluate on", "name a data set: data: {use: ...}"),
    ("prediction: v", "prediction: epsilon, zero_terminal_snr: true", "diffusion: prediction epsilon with zero_terminal_snr:", ""),
    # YAML
    ("name: digits", "name: digits\n»name: again", "name: the key 'name' is written twice, first at ", "keep one of them"),
    ("width: 24", "width: 24, »width: 32", "backbone.width: the key 'width' is written twice, first at ", "keep one of them"),
    ("  batch: 64", "»\tbatch: 64", "a tab; YAML is indented with spaces: use spaces", ""),
    ("  batch: 64", "   batch»: 64", "no YAML: no key can stand here; indent the line as its neighbours are", ""),
    ("  batch: 64\n  lr:", "batch: 64\n  lr»:", "no YAML: no key can stand here; indent the line as its neighbours are", ""),
    ("name: digits", "name: »&name digits", "an anchor (&name); a spec is plain data", "write the value out"),
    ("name: digits", "name: »*name", "an alias (*name); a spec is plain data", "write the value out"),
    ("name: digits", "name: »!!python/object:os.system digits", "a tag ('tag:yaml.org,2002:python/object:os.system'); a spec is plain data", "write the value without it"),
    ("data: {use: digits}", "data: {»<<: {use: digits}}", "`<<` merges mappings; a spec is plain data", "use `extends:` for a whole file"),
    ("mult: [1, 2]", "mult: " + "[" * 30 + "»[" * 1 + "[" * 9 + "]" * 40, "nested more than 32 deep", ""),
    ("[zero, one,", "[" + "a, " * 20_000 + "one,", "more than 10,000 values", ""),
    ("  steps: 800", "  steps: 800\n»---\ncdkit: 1", "a second document begins here; expected one spec a file", ""),
    ("mult: [1, 2]", "mult: [1, 2", "no YAML: expected ',' or ']', but got", ""),
    # over another
    (HEAD, "cdkit: 1\nname: digits\nextends: »digts.yaml\n", "extends: there is no spec", "did you mean"),
    (HEAD, "cdkit: 1\nname: digits\nextends: »bent.yaml\n", "extends: specs extend each other in a circle: bent.yaml -> bent.yaml", ""),
    (HEAD, "cdkit: 1\nname: digits\nextends: »../digits.yaml\n", "extends: '../digits.yaml' is no file beside this one; expected a name such as base.yaml", "no folder, URL or absolute path"),
    (HEAD, "cdkit: 1\nname: digits\n»extend: film.yaml\n", "extend: unknown key 'extend'; did you mean 'extends'?", f"a spec {OWN} takes"),
]  # fmt: skip
ASSEMBLED = [
    (
        FILM,
        "  - {use: film, streams: [text], »sites: [botom.*]}\n",
        "injectors.film.sites: 'botom.*' matches no site of unet",
        "its sites are embed, input,",
    ),
    (
        CROSS,
        "  - »{use: cross_attention, streams: [text], heads: 5}\n",
        "injectors.cross_attention: cross_attention at down.1.attn.0.blocks.0.attend: heads is 5, which does not divide the 48 channels there; the nearest that do are 4 and 6",
        "",
    ),
    (NET, NET.replace("{use", "»{use").replace("heads: 2", "heads: 5"), "backbone: ", ""),
    ("height: 8, width: 8}", "height: 7, width: 8}", "backbone: sample.height is 7, which is no multiple of 2", "take 6 or 8"),
    (CROSS + FILM, "  - »{use: hint, streams: [text]}\n", "injectors.hint: ", ""),
]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """told(verb, text): exit code and what stderr says of bent.yaml, which lies among the shipped specs."""
    shutil.copytree(SPECS, tmp_path / "specs")
    monkeypatch.chdir(tmp_path / "specs")

    def ask(text: str, *verb: str) -> tuple[int, str]:
        Path("bent.yaml").write_text(text.replace(MARK, ""), encoding="utf-8")
        monkeypatch.setattr("sys.argv", ["cdkit", *verb, "bent.yaml"])
        before = {path: path.stat().st_mtime_ns for path in Path().iterdir()}
        with pytest.raises(SystemExit) as end:
            main()
        answer = capsys.readouterr()
        assert answer.out == ""
        assert {path: path.stat().st_mtime_ns for path in Path().iterdir()} == before
        assert "Traceback" not in answer.err
        return int(end.value.code or 0), answer.err

    return ask


def marked(text: str) -> str:
    """`bent.yaml:line:column: ` of the mark; "" where there is none."""
    before, mark, _ = text.partition(MARK)
    return f"bent.yaml:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}: " if mark else ""


@pytest.mark.parametrize(("old", "new", "message", "hint"), READ, ids=[f"{i}-{row[2][:48]}" for i, row in enumerate(READ)])
def test_a_bent_spec_is_refused_where_it_is_bent(told, old: str, new: str, message: str, hint: str) -> None:
    assert DIGITS.count(old) == 1, "the row no longer fits the spec"
    text = DIGITS.replace(old, new)
    code, said = told(text, "spec", "fill")
    assert code == 3
    (line,) = [index for index, line in enumerate(said.splitlines()) if f"{marked(text)}{message}" in line]
    assert said.splitlines()[line].startswith("error: bent.yaml:")
    if hint:
        assert f"hint: {hint}" in said.splitlines()[line + 1]


@pytest.mark.parametrize(("old", "new", "message", "hint"), ASSEMBLED, ids=[row[2] for row in ASSEMBLED])
def test_what_does_not_fit_together_is_told_of_the_part_that_is_to_blame(
    told, old: str, new: str, message: str, hint: str
) -> None:
    assert DIGITS.count(old) == 1
    text = DIGITS.replace(old, new)
    code, said = told(text, "build")
    assert code == 3
    assert f"{marked(text)}{message}" in said.splitlines()[0]
    assert not hint or f"hint: {hint}" in said


def test_there_are_enough() -> None:
    assert len(READ) + len(ASSEMBLED) >= 60
