"""What the pages say is so: their specs read, their Python runs, their commands parse, their links lead somewhere."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import cdkit
import click
import pytest
import yaml
from cdkit.cli.app import cdkit as program
from cdkit.cli.app import main
from cdkit.registry import Registry

ROOT = Path(__file__).parents[2]
README, CHINESE, CHANGELOG = ROOT / "README.md", ROOT / "README.zh-CN.md", ROOT / "CHANGELOG.md"
TUTORIAL, SPECS, PARTS = (ROOT / "docs" / name for name in ("tutorial.md", "specs.md", "parts.md"))
COURSE_IN_CHINESE = ROOT / "docs" / "course" / "zh"  # its code is that of the English course, which test_course holds it to
PAGES = [README, CHINESE, CHANGELOG, *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(?:<!-- ([\w ]+) -->\n)?```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(!?)\[[^\]]+\]\(([^)\s]+)\)")
OTHER_PROGRAMS = ("pip install ", "source .venv/", "cd ", "pytest")
UNMEASURED = ("to be measured", "待测")


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> Iterator[tuple[str, str]]:
    """Every fenced block of a language, with the comment that marks it."""
    for mark, tongue, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if tongue == language:
            yield mark, text


def commands(page: Path) -> list[str]:
    """The lines of console blocks that are typed, without the remarks behind them."""
    lines = [line for _, text in blocks(page, "console") for line in text.splitlines() if line.startswith("$ ")]
    return [shlex.join(shlex.split(line[2:], comments=True)) for line in lines]


def output(page: Path, command: str) -> list[str]:
    """What a console block shows below a command."""
    text = next(text for _, text in blocks(page, "console") if text.startswith(f"$ {command}\n"))
    return text.splitlines()[1:]


def marked(page: Path, language: str, mark: str) -> str:
    return next(text for found, text in blocks(page, language) if found == mark)


def link_targets(page: Path, *, pictures: bool) -> list[str]:
    found = LINK.findall(page.read_text(encoding="utf-8"))
    return [target for sign, target in found if bool(sign) is pictures and not target.startswith("https://")]


def released() -> bool:
    return not any(words in page.read_text(encoding="utf-8") for page in (README, CHINESE) for words in UNMEASURED)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped specs in it, where a page's examples can be followed."""
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


YAML = [
    pytest.param(text, id=named(page))
    for page in PAGES
    for mark, text in blocks(page, "yaml")
    if mark not in ("bad", "beside a run")
]


@pytest.mark.parametrize("text", YAML)
def test_spec_reads(text: str, desk: Path) -> None:
    if "cdkit" not in yaml.safe_load(text):
        return  # a fragment, which is YAML and no more
    (desk / "specs" / "page.yaml").write_text(text, encoding="utf-8")
    assert cdkit.read_spec(desk / "specs" / "page.yaml").name == yaml.safe_load(text)["name"]


def said(arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """What the command line answers: exit code, stdout, stderr."""
    monkeypatch.setattr("sys.argv", ["cdkit", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    answer = capsys.readouterr()
    return int(end.value.code or 0), answer.out, answer.err


def test_bad_spec_is_told_so(desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (desk / "bad.yaml").write_text(marked(SPECS, "yaml", "bad"), encoding="utf-8")
    code, _, told = said(["build", "bad.yaml"], capsys, monkeypatch)
    assert code == 3
    assert told == marked(SPECS, "text", "bad output")
    for page in (README, CHINESE):
        assert set(output(page, "cdkit build bad.yaml")) <= set(told.splitlines())


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize(
    ("mark", "command"),
    [
        ("diff output", "spec diff specs/sd_like.yaml specs/film.yaml"),
        ("explain output", "spec explain injectors.0.inner specs/film.yaml"),
    ],
)
def test_tools_answer_as_shown(
    mark: str, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, told, _ = said(command.split(), capsys, monkeypatch)
    assert told == marked(SPECS, "text", mark)


@pytest.mark.usefixtures("desk")
def test_severed_spec_is_told_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, told = said(["build", "specs/sd_like.yaml", "--set", "injectors=[]"], capsys, monkeypatch)
    assert code == 3
    assert told in [text for _, text in blocks(TUTORIAL, "text")]


@pytest.mark.usefixtures("desk")
def test_build_answers_as_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _, told, _ = said(["build", "specs/sd_like.yaml"], capsys, monkeypatch)
    for page in (README, CHINESE):
        for line in output(page, "cdkit build specs/sd_like.yaml"):
            assert line.removesuffix("…") in told


@pytest.mark.slow
@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("page", [page for page in PAGES if page != CHINESE and COURSE_IN_CHINESE not in page.parents], ids=named)
def test_python_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = [text for mark, text in blocks(page, "python") if mark != "abbreviated"]
    if any('load("animals")' in text for text in code) and not any(
        Path(Registry.installed().get("run", "animals")).glob("checkpoints/*/manifest.json")
    ):
        pytest.skip("the model in the box is not there yet")
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)  # what a page defines can be found again, as a notebook's can
    for text in code:
        exec(compile(text, named(page), "exec"), vars(module))


@pytest.mark.parametrize("page", [README, CHINESE], ids=named)
def test_abbreviated_interfaces_are_the_real_ones(page: Path) -> None:
    real = signatures((ROOT / "core/cdkit/parts.py").read_text(encoding="utf-8"))
    shown = signatures(marked(page, "python", "abbreviated"))
    assert {"TextEncoder", "ConditioningInjector", "Tap", "Backbone", "Sampler"} == {owner for owner, _ in shown}
    for (owner, name), arguments in shown.items():
        home = owner if (owner, name) in real else "Encoder"
        assert arguments == real[home, name], f"{owner}.{name}"


def signatures(source: str) -> dict[tuple[str, str], str]:
    """(class, method) -> its parameters and what it returns."""
    return {
        (owner.name, method.name): f"{ast.unparse(method.args)} -> {ast.unparse(method.returns) if method.returns else ''}"
        for owner in ast.parse(source).body
        if isinstance(owner, ast.ClassDef)
        for method in owner.body
        if isinstance(method, ast.FunctionDef)
    }


TYPED = [pytest.param(line, id=f"{named(page)}: {line}") for page in PAGES if page != CHINESE for line in commands(page)]


@pytest.mark.parametrize("line", TYPED)
def test_command_exists(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    name, *arguments = shlex.split(line)
    if name == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    elif name == "cdkit":
        parse(*verb(arguments))
    else:
        assert line.startswith(OTHER_PROGRAMS)


def verb(arguments: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the first words name, and the words after them."""
    command: click.Command | None = program
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        command, arguments = command.get_command(click.Context(command), arguments[0]), arguments[1:]
    assert command is not None, arguments
    return command, arguments


def parse(command: click.Command, arguments: list[str]) -> None:
    """Read the options as click would, without running anything."""
    with command.make_context(command.name, arguments):
        pass


def test_commands_in_sentences_and_tables_exist() -> None:
    for page in PAGES:
        for line in inline_commands(page):
            name, *arguments = shlex.split(line)
            if name == "cdkit":
                command, rest = verb(arguments)
                if any(word.startswith("--") and word != "--help" for word in rest):
                    parse(command, rest)


def inline_commands(page: Path) -> list[str]:
    """Commands between backquotes, as far as they are typed by someone."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [line for line in re.findall(r"`((?:cdkit|make) [^`\n]+)`", text) if "…" not in line]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_specs_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in set(re.findall(r"specs/(\w+\.yaml)", text)):
        assert (ROOT / "specs" / name).is_file() or any(f"{word} `specs/{name}`" in text for word in ("Write", "wrote")), name


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for target in link_targets(page, pictures=False):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [README, CHINESE], ids=named)
def test_pictures_are_there(page: Path) -> None:
    missing = [target for target in link_targets(page, pictures=True) if not (ROOT / target).is_file()]
    if missing and not released():
        pytest.skip(f"not drawn yet: {', '.join(missing)}")
    assert not missing


def test_both_readmes_say_the_same() -> None:
    assert commands(README) == commands(CHINESE)
    assert inline_commands(README) == inline_commands(CHINESE)
    assert link_targets(README, pictures=True) == link_targets(CHINESE, pictures=True)
    assert wordless(README) == wordless(CHINESE)
    assert figures(README) == figures(CHINESE)


def wordless(page: Path) -> list[str]:
    """The Python of a page without comments and docstrings."""
    trees = [ast.parse(text) for _, text in blocks(page, "python")]
    for node in (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        node.body = [line for line in node.body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))]
    return [ast.unparse(tree) for tree in trees]


def figures(page: Path) -> list[list[str]]:
    """The numbers in the last cell of every row of every table."""
    rows = [line.strip("|").split("|") for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return [re.findall(r"\d[\d.,]*", row[-1]) for row in rows]


def test_changelog_is_newest_first_and_knows_this_version() -> None:
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", CHANGELOG.read_text(encoding="utf-8"), re.MULTILINE)
    assert cdkit.__version__ in versions
    numbers = [tuple(map(int, version.split("."))) for version in versions]
    assert all(newer > older for newer, older in pairwise(numbers))


def test_tutorials_package_is_a_plugin(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its module and its pyproject.toml, installed as pip would leave them."""
    project = tomllib.loads(next(text for _, text in blocks(TUTORIAL, "toml")))
    code = [text for _, text in blocks(TUTORIAL, "python")]
    module = [text for text in code if "class Words" in text] + [text for text in code if "@hookimpl" in text]
    entries = project["project"]["entry-points"]["cdkit"]
    (home := desk / "installed" / "cdkit_words-0.1.0.dist-info").mkdir(parents=True)
    (home.parent / "cdkit_words.py").write_text("\n".join(module), encoding="utf-8")
    (home / "METADATA").write_text("Metadata-Version: 2.1\nName: cdkit-words\nVersion: 0.1.0\n", encoding="utf-8")
    listed = "".join(f"{name} = {value}\n" for name, value in entries.items())
    (home / "entry_points.txt").write_text(f"[cdkit]\n{listed}", encoding="utf-8")
    monkeypatch.syspath_prepend(home.parent)
    assert Registry.installed().provider("encoder", "words") == "cdkit-words==0.1.0"
    spec = cdkit.read_spec("specs/digits.yaml", overrides=["conditions.text={use: words, dim: 32}"])
    assert spec.conditions["text"].part.factory()(dim=32).widths == (32, 32, 0)
