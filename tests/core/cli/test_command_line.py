"""The command line: quick to help, exact in its exit codes, and never a traceback for what a person got wrong."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from cdkit.cli.app import VERBS, cdkit, main
from cdkit.cli.failures import failed, handled, inert
from cdkit.errors import CheckpointError, DataError, EnvironmentFault, NumericsError, PluginError, SpecError, UsageError
from click.testing import CliRunner

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SPECS = Path(__file__).parents[3] / "specs"
HEAVY = ("torch", "transformers", "pydantic", "yaml", "rich", "numpy", "PIL")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """run(*arguments): what the console script does, in this process."""

    def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["cdkit", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, int(end.value.code or 0), said.out, said.err)

    return ended


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from cdkit.cli.app import cdkit; cdkit(['--help'], standalone_mode=False);"
        f"print([module for module in {HEAVY!r} if module in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"
    assert all(verb in said for verb in VERBS)


def found(verb: str) -> click.Command:
    command = cdkit.get_command(cdkit.make_context("cdkit", ["--help"], resilient_parsing=True), verb)
    assert command is not None
    return command


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    assert found(verb).help


@pytest.mark.parametrize("verb", [verb for verb in VERBS if isinstance(found(verb), click.Group)])
def test_no_line_of_help_is_cut(verb: str) -> None:
    command = found(verb)
    assert isinstance(command, click.Group)
    said = " ".join(CliRunner().invoke(cdkit, [verb, "--help"], terminal_width=80).output.split())
    for name in command.list_commands(click.Context(command)):
        member = command.get_command(click.Context(command), name)
        assert member is not None
        assert f"{name} {' '.join((member.help or '').split()).split('. ')[0].rstrip('.')}." in said


@pytest.mark.parametrize("verb", ["convert", "evaluate", "graft"])
def test_an_example_stays_on_its_line(verb: str) -> None:
    said = CliRunner().invoke(cdkit, [verb, "--help"], terminal_width=80).output
    examples = [line for line in inspect.cleandoc(found(verb).callback.__doc__ or "").splitlines() if line.startswith("    ")]
    assert examples
    assert all(example.strip() in said for example in examples)


def test_who_says_nothing_is_told_so(tmp_path: Path) -> None:
    done = CliRunner().invoke(cdkit, ["sample", "animals", "--steps", "1", "--out", str(tmp_path)])
    assert done.exit_code == 0
    assert "animals reads text and is told nothing: -p says what to draw" in done.stderr
    done = CliRunner().invoke(cdkit, ["sample", "animals", "-p", "a cat", "--steps", "1", "--out", str(tmp_path)])
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("trian",), 2, "no command 'trian'; did you mean 'train' (cdkit=="),
        (("build", "nowhere.yaml"), 2, "nowhere.yaml"),
        (("build", str(SPECS / "digits.yaml"), "--set", "backbone.widht=3"), 3, "did you mean 'width'"),
        (("build", str(SPECS / "digits.yaml"), "--set", "sampler.use=ddimm"), 3, "did you mean 'ddim'"),
        (("sample", "nobody"), 6, "neither a run folder nor a model that ships in a package; those are animals"),
        (
            ("train", str(SPECS / "digits.yaml"), "--device", "cuda:77", "--out", "{tmp}/run"),
            7,
            "--device cuda:77: cannot be used",
        ),
        (("train", str(SPECS / "sd_like.yaml")), 2, "sd_like has no `data:`, so there are no pictures to learn from"),
        (("list", "encodre"), 2, "Invalid value for '[KIND]': 'encodre' is not one of 'encoder', 'injector'"),
        (("doctor", "--verify", "nobody"), 6, "nobody: is neither a run folder"),
        (("data", "fetch", "animls"), 4, "did you mean 'animals'"),
        (("claim", "run", "adagn_over_adition", "--scale", "tiny"), 4, "did you mean 'adagn_over_addition' (cdkit=="),
        (("claim", "run", "guidance_over_none", "--scale", "tinny"), 2, "'tinny' is not one of 'tiny', 'small', 'gpu'"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = run(*(argument.replace("{tmp}", str(tmp_path)) for argument in arguments))
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (SpecError("x"), 3),
        (PluginError("x"), 4),
        (DataError("x"), 5),
        (CheckpointError("x"), 6),
        (EnvironmentFault("x"), 7),
        (NumericsError("x"), 8),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 7),
        (OSError(28, "No space left on device", "/run"), 7),
    ],
)
def test_every_failure_has_its_exit_code(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise error

    assert handled(work, debug=False) == code
    assert "Traceback" not in capsys.readouterr().err


def test_a_defect_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        failed(ZeroDivisionError(), debug=False)


def test_no_terminal_obeys_a_message() -> None:
    assert inert("a\x1b[31mred\u202e猫") == "a\\x1b[31mred\\u202e猫"


def test_build_reports_stable_diffusion_as_json(run: Run) -> None:
    done = run("build", str(SPECS / "sd_like.yaml"), "--json")
    made = json.loads(done.stdout)
    assert made["parameters"]["denoiser"] == 859_520_964
    assert made["parameters"]["backbone"] + sum(made["parameters"]["taps"].values()) == 859_520_964
    assert made["conditions"]["text"]["liveness"]["reaches_output"]


def test_build_reports_ip_adapter_as_json(run: Run) -> None:
    """Keys and values of 768 for an image at sixteen sites, beside Stable Diffusion; both conditions reach the output."""
    done = run("build", str(SPECS / "ip_adapter_like.yaml"), "--json")
    made = json.loads(done.stdout)
    channels = 5 * 320 + 5 * 640 + 6 * 1280
    assert made["parameters"]["denoiser"] == 859_520_964 + 2 * channels * 768 == 878_690_244
    assert made["parameters"]["encoders"]["image"] == 632_076_800 + 1024 * 3072 + 3072 + 2 * 768
    for condition in ("text", "image"):
        liveness = made["conditions"][condition]["liveness"]
        assert liveness == {"reaches_output": True, "through": ["decoupled"], "shown_by": "trace and probe"}


def test_a_built_model_can_be_loaded_and_drawn_with(run: Run, tmp_path: Path) -> None:
    built = run("build", str(SPECS / "digits.yaml"), "--set", "sampler.steps=2", "--out", str(tmp_path / "born"))
    assert built.returncode == 0, built.stderr
    drawn = run("sample", str(tmp_path / "born"), "-p", "../../x", "--guidance", "1", "--out", str(tmp_path / "out"), "--json")
    assert drawn.returncode == 0, drawn.stderr
    pictures = json.loads(drawn.stdout)["pictures"]
    assert [Path(path).parent for path in pictures] == [tmp_path / "out"]
    assert run("doctor", "--verify", str(tmp_path / "born")).returncode == 0


def test_doctor_finds_nothing_wrong_here(run: Run) -> None:
    done = run("doctor", "--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["problems"] == []
