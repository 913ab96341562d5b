"""Runs listed, verified and pruned: every state told as it is, every damage named, and nothing deleted that is needed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cdkit.cli.app import cdkit
from cdkit.engine.checkpoint import write_checkpoint
from cdkit.engine.run import Run
from cdkit.engine.train import train
from cdkit.errors import CheckpointError, EnvironmentFault
from cdkit.spec import Spec
from click.testing import CliRunner

Tiny = Callable[..., Spec]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> Path:
    return train(tiny("train.steps=4"), tmp_path_factory.mktemp("trained") / "run", say=lambda _: None).path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "runs" / "mine"))


def said(*line: str) -> str:
    result = CliRunner().invoke(cdkit, line, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def standings(folder: Path) -> dict[str, tuple[str, int, int | None]]:
    listed = json.loads(said("runs", "list", str(folder), "--json"))["runs"]
    return {Path(one["run"]).name: (one["state"], one["step"], one["steps"]) for one in listed}


def test_every_state_is_told(run: Path, tiny: Tiny) -> None:
    stopped = shutil.copytree(run, run.with_name("stopped"))
    shutil.rmtree(stopped / "checkpoints" / "step-000004")
    Run.create(run.with_name("deep") / "new", tiny())
    odd = shutil.copytree(run, run.with_name("odd"))
    (odd / "spec.yaml").write_text("cdkit: [")
    assert standings(run.parent) == {
        "new": ("not begun", 0, 8),
        "mine": ("finished", 4, 4),
        "odd": ("unreadable", 4, None),
        "stopped": ("stopped", 3, 4),
    }
    with Run(stopped).lock():
        assert standings(run.parent)["stopped"] == ("training", 3, 4)
        assert re.search(
            rf"{stopped} +training +3/4 +\S+ +\d+\.\d% +3 +\d+\.\d  \(process \d+ on ", said("runs", "list", str(run.parent))
        )
    assert standings(stopped)["stopped"] == ("stopped", 3, 4)


def test_a_folder_without_runs_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no run"):
        said("runs", "list", str(tmp_path))


def verified(run: Path) -> tuple[int, dict[str, list[str]]]:
    result = CliRunner().invoke(cdkit, ["doctor", "--verify", str(run), "--json"])
    found = json.loads(result.stdout)
    everywhere = CliRunner().invoke(cdkit, ["runs", "verify", str(run.parent), "--json"])
    assert json.loads(everywhere.stdout)["runs"] == [found], "both commands say the same"
    assert everywhere.exit_code == result.exit_code
    return result.exit_code, found


def test_a_sound_run_is_sound(run: Path) -> None:
    code, found = verified(run)
    assert code == 0
    assert found["checkpoints"] == {f"step-00000{step}": "ok, 5 files" for step in range(1, 5)}
    assert found["notes"] == found["problems"] == []
    assert said("doctor", "--verify", str(run)).endswith("nothing is wrong\n")
    assert said("runs", "verify", str(run)) == f"{run}: 4 of 4 checkpoints are whole\n"


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "bit": (
        lambda run: flip(run / "checkpoints/step-000002/ema.safetensors"),
        r"ema\.safetensors: its sha256 is not the manifest",
    ),
    "gone": (lambda run: (run / "checkpoints/step-000002/state.json").unlink(), r"state\.json: missing, though"),
    "numbers": (lambda run: poison(run), r"backbone\.safetensors: 1 tensors hold NaN or infinity \(weight\)"),
    "spec": (lambda run: (run / "spec.yaml").write_text("cdkit: 1\nname: x\n"), r"spec\.yaml:\d+:\d+: "),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named(name: str, run: Path) -> None:
    damage, told = DAMAGES[name]
    damage(run)
    code, found = verified(run)
    assert code == 6
    (problem,) = found["problems"]
    assert re.search(told, problem), problem


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def poison(run: Path) -> None:
    """Every file is what its manifest says, and yet nobody can draw with it."""
    write_checkpoint(run / "checkpoints", 2, {"backbone": {"weight": torch.tensor([1.0, torch.nan])}}, {}, {})


def test_oddities_are_notes(run: Path, tiny: Tiny) -> None:
    folder = run / "checkpoints"
    (folder / "step-000002" / "mine.txt").write_text("hello")
    (folder / ".tmp-9-left").mkdir()
    (folder / "damaged-step-000007-0").mkdir()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    Run(run).rewrite(tiny("train.steps=4", "diffusion.schedule=linear"))
    code, found = verified(run)
    assert code == 0
    models = [note for note in found["notes"] if "is of another model than spec.yaml describes now" in note]
    assert len(models) == 4
    file, left, aside, line = (note for note in found["notes"] if note not in models)
    assert file.endswith("mine.txt: is not in the manifest; it is not read")
    assert "was left by a process that was killed" in left
    assert "set aside as damaged" in aside
    assert "metrics.jsonl:5: is half a line" in line


def test_pruning_says_what_goes_and_keeps_what_is_needed(run: Path) -> None:
    folder = run / "checkpoints"
    (folder / "damaged-step-000007-0").mkdir()
    before = sorted(path.name for path in folder.iterdir())
    told = said("runs", "prune", str(run), "--keep", "2", "--dry-run")
    assert sorted(path.name for path in folder.iterdir()) == before
    assert told.splitlines()[-1] == f"{run}: 3 would go"
    told = said("runs", "prune", str(run), "--keep", "2")
    assert f"deleted {folder / 'step-000001'}\n" in told
    assert re.search(r": 3 gone, \d+\.\d MB freed\n$", told)
    assert sorted(path.name for path in folder.iterdir()) == ["step-000003", "step-000004"]


def test_nothing_is_pruned_for_a_damaged_checkpoint(run: Path) -> None:
    flip(run / "checkpoints" / "step-000004" / "ema.safetensors")
    with pytest.raises(CheckpointError, match="step-000004"):
        said("runs", "prune", str(run))
    assert len(list((run / "checkpoints").iterdir())) == 4


def test_nothing_is_pruned_under_a_training(run: Path) -> None:
    with Run(run).lock(), pytest.raises(EnvironmentFault, match="is being written by process"):
        said("runs", "prune", str(run))
    assert len(list((run / "checkpoints").iterdir())) == 4


def test_the_older_checkpoint_only_when_it_is_asked_for(run: Path, tiny: Tiny) -> None:
    flip(run / "checkpoints" / "step-000004" / "backbone.safetensors")
    with pytest.raises(CheckpointError, match=r"step-000004/backbone\.safetensors: its sha256") as refused:
        train(tiny("train.steps=4"), run, say=lambda _: None)
    assert refused.value.hint == "step-000003 is whole; train, sample and evaluate take it with --fallback"
    assert len(list((run / "checkpoints").glob("step-*"))) == 4, "nothing was touched"
    lines: list[str] = []
    train(tiny("train.steps=4"), run, fallback=True, say=lines.append)
    assert "the older step-000003 is used instead" in lines[0]
    assert "set aside as damaged-step-000004-" in lines[1]
    assert "going on at step 3 of 4" in lines[2]
    assert Run(run).latest().step == 4  # pyright: ignore[reportOptionalMemberAccess]
