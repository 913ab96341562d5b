"""What the pages tell to type is typed: every command that needs no more than what ships and a run of digits of four steps."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from cdkit.cli.app import main

from .test_pages import PAGES, ROOT, commands, output, verb

QUICK = {"build", "card", "deps", "doctor", "explain", "init", "list", "plan", "plot", "sample", "schema"}
QUICK |= {"claim list", "data show", "plugins list", "plugins show", "spec diff", "spec explain", "spec fill", "spec show"}
MADE_BY_READERS = ("letters", "words", "path=pictures")
ENDS = {"cdkit build specs/sd_like.yaml --set 'injectors=[]'": 3, "cdkit spec diff specs/sd_like.yaml specs/film.yaml": 1}
BOX = "animals"
SCALING, PLAN = ROOT / "docs" / "scaling.md", "cdkit plan specs/sd_like.yaml --gpus 1000 --data 1B --epochs 4"


def quick(line: str) -> bool:
    """A command that answers in seconds, and reads nothing but what ships and runs/digits."""
    words = shlex.split(line)[1:]
    if not ({words[0], " ".join(words[:2])} & QUICK):
        return False
    command, rest = verb(words)
    with command.make_context(command.name, list(rest)) as context:
        given = [
            value for name, value in context.params.items() if name in ("run", "runs", "spec", "specs", "image", "mask", "lora")
        ]
    named = [str(word) for value in given if value for word in (value if isinstance(value, list | tuple) else [value])]
    return all(name == BOX or there(name) for name in named) and not any(word in line for word in MADE_BY_READERS)


def there(name: str) -> bool:
    return name == "runs/digits" or (ROOT / name).is_file()


LINES = sorted({line for page in PAGES for line in commands(page) if line.startswith("cdkit ") and quick(line)})


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's specs, and runs/digits."""
    place = tmp_path_factory.mktemp("desk")
    shutil.copytree(ROOT / "specs", place / "specs")
    small = ["train.steps=4", "train.batch=8", "train.sample_every=0", "train.log_every=1"]
    arguments = ["train", str(place / "specs/digits.yaml"), "--out", str(place / "runs/digits"), "--device", "cpu"]
    assert answered([*arguments, *(word for change in small for word in ("--set", change))]) == 0
    return place


def answered(arguments: list[str]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["cdkit", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0)


def test_there_are_many() -> None:
    assert len(LINES) > 30
    assert {shlex.split(line)[1] for line in LINES} >= {"build", "card", "explain", "plan", "sample", "spec"}


@pytest.mark.slow
def test_plan_answers_as_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert answered(shlex.split(PLAN)[1:]) == 0
    assert capsys.readouterr().out.splitlines() == output(SCALING, PLAN)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("line", LINES)
def test_command_is_answered(line: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    assert answered(shlex.split(line)[1:]) == ENDS.get(line, 0)
