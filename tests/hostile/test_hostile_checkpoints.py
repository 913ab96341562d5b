"""Bad inputs 81 to 92: checkpoints, drawn from through the command line. Every byte and bit: tests/core/engine."""
# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.engine import checkpoint
from cdkit.engine.birth import give_birth
from cdkit.engine.checkpoint import sha256
from cdkit.spec import read_spec
from safetensors.torch import load_file, save_file

Ask = Callable[..., Any]
SPECS = Path(__file__).parents[2] / "specs"
TINY = ("backbone.width=8", "backbone.heads=1", "conditions.text.dim=8", "conditions.text.heads=1", "sampler.steps=2")
STEP = "run/checkpoints/step-000000"
FILE = rf"{STEP}/backbone\.safetensors"
SAMPLE = ("sample", "run", "-p", "seven", "--guidance", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def born(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return give_birth(read_spec(SPECS / "digits.yaml", overrides=TINY), tmp_path_factory.mktemp("born") / "run")


@pytest.fixture
def step(born: Path, tmp_path: Path) -> Path:
    """The folder of the one checkpoint of run/."""
    shutil.copytree(born, tmp_path / "run")
    return tmp_path / STEP


def signed(step: Path) -> None:
    """A manifest that agrees with what lies there: the damage is inside the files."""
    manifest = json.loads((step / "manifest.json").read_text())
    for name in manifest["files"]:
        manifest["files"][name] = {"size": (step / name).stat().st_size, "sha256": sha256(step / name)}
    (step / "manifest.json").write_bytes(checkpoint.signed(manifest))


def changed(step: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(step / "backbone.safetensors")
    change(tensors)
    save_file(tensors, step / "backbone.safetensors")
    signed(step)


def written(step: Path, content: bytes) -> None:
    (step / "backbone.safetensors").write_bytes(content)
    signed(step)


def flipped(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def edited(step: Path, **facts: Any) -> None:
    manifest = json.loads((step / "manifest.json").read_text())
    (step / "manifest.json").write_bytes(checkpoint.signed({**manifest, **facts}))


def cast(tensors: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
    tensors["stem.weight"] = tensors["stem.weight"].to(dtype)


HEADER = (1 << 62).to_bytes(8, "little")
CASES: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "81 cut to nothing": (lambda s: os.truncate(s / "backbone.safetensors", 0), 6, rf"{FILE}: is 0 bytes; the manifest says \d+$"),
    "81 cut in the header": (lambda s: os.truncate(s / "backbone.safetensors", 100), 6, rf"{FILE}: is 100 bytes; the manifest says"),
    "81 manifest cut": (lambda s: os.truncate(s / "manifest.json", 50), 6, rf"{STEP}/manifest\.json: cannot be read: "),
    "81 manifest emptied": (lambda s: os.truncate(s / "manifest.json", 0), 6, rf"{STEP}/manifest\.json: cannot be read: "),
    "82 a bit of the weights": (lambda s: flipped(s / "backbone.safetensors", -1), 6, rf"{FILE}: its sha256 is not the manifest's; the file is damaged$"),
    "82 a bit of the state": (lambda s: flipped(s / "state.json", 3), 6, rf"{STEP}/state\.json: its sha256 is not the manifest's"),
    "83 no file": (lambda s: (s / "encoders.safetensors").unlink(), 6, rf"{STEP}/encoders\.safetensors: missing, though the manifest lists it$"),
    "83 no manifest": (lambda s: (s / "manifest.json").unlink(), 6, rf"{STEP}/manifest\.json: missing; a checkpoint without it was never finished$"),
    "83 no checkpoint": (lambda s: shutil.rmtree(s), 6, r"run: has no checkpoint yet$"),
    "83 not in the manifest": (lambda s: edited(s, files={}), 6, rf"{STEP}: has no backbone\.safetensors; it has "),
    "85 another shape": (lambda s: changed(s, lambda t: t.update({"stem.weight": torch.zeros(9, 1, 3, 3)})), 6, rf"{FILE}: 1 tensors have another shape \(stem\.weight is \(9, 1, 3, 3\), expected \(8, 1, 3, 3\)\)$"),
    "86 a key less": (lambda s: changed(s, lambda t: t.pop("stem.weight")), 6, rf"{FILE}: is of another model: 1 keys are missing \(stem\.weight\) and 0 are not in the model"),
    "86 a key more": (lambda s: changed(s, lambda t: t.update(more=torch.zeros(1))), 6, rf"{FILE}: is of another model: 0 keys are missing  ?and 1 are not in the model \(more\)$"),
    "87 integers": (lambda s: changed(s, lambda t: cast(t, torch.int64)), 6, rf"{FILE}: 1 tensors have another kind of number \(stem\.weight is torch\.int64, expected torch\.float32\)$"),
    "87 complex": (lambda s: changed(s, lambda t: cast(t, torch.complex64)), 6, rf"{FILE}: 1 tensors have another kind of number \(stem\.weight is torch\.complex64, expected torch\.float32\)$"),
    "88 NaN": (lambda s: changed(s, lambda t: t["stem.weight"].fill_(float("nan"))), 8, rf"{FILE}: 1 tensors hold NaN or infinity \(stem\.weight\)$"),
    "88 infinity": (lambda s: changed(s, lambda t: t["stem.bias"].fill_(float("inf"))), 8, rf"{FILE}: 1 tensors hold NaN or infinity \(stem\.bias\)$"),
    "89 a later schema": (lambda s: edited(s, schema=99), 6, rf"{STEP}/manifest\.json: written with schema 99; this cdkit reads schemas 1 to 3$"),
    "92 a pickle": (lambda s: written(s, pickle.dumps({"w": [1.0]})), 6, rf"{FILE}: is no safetensors file: "),
    "92 a header without end": (lambda s: written(s, HEADER), 6, rf"{FILE}: is no safetensors file: "),
    "92 no JSON in the header": (lambda s: written(s, (2).to_bytes(8, "little") + b"[]"), 6, rf"{FILE}: is no safetensors file: "),
    "82 a manifest that climbs": (lambda s: edited(s, files={"../../spec.yaml": {}}), 6, rf"{STEP}/manifest\.json: names '\.\./\.\./spec\.yaml', which is not a plain file beside it$"),
    "82 a manifest of depth": (lambda s: (s / "manifest.json").write_text("[" * 100_000), 6, rf"{STEP}/manifest\.json: cannot be read: "),
    "82 a manifest of 5,000 digits": (lambda s: (s / "manifest.json").write_text('{"step": ' + "9" * 5000 + "}"), 6, rf"{STEP}/manifest\.json: cannot be read: "),
    "82 a state that is none": (lambda s: ((s / "state.json").write_text("[]"), signed(s)), 6, rf"{STEP}/state\.json: is no state of a checkpoint"),
    "82 a state of depth": (lambda s: ((s / "state.json").write_text("[" * 100_000), signed(s)), 6, rf"{STEP}/state\.json: is no state of a checkpoint"),
    "82 a ledger that is none": (lambda s: ((s / "state.json").write_text('{"ledger": 3}'), signed(s)), 6, rf"{STEP}/state\.json: is no state of a checkpoint"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_bad_checkpoint_is_not_drawn_from(case: str, refused: Ask, step: Path) -> None:
    damage, code, says = CASES[case]
    damage(step)
    refused(*SAMPLE, code=code, says=says)


def test_a_pickle_is_not_run(refused: Ask, step: Path, tmp_path: Path) -> None:
    """92: under the name of weights, with a manifest that vouches for it."""

    class Exploit:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "marker"),)

    written(step, pickle.dumps(Exploit()))
    refused(*SAMPLE, code=6, says=rf"{FILE}: is no safetensors file: ")
    assert not (tmp_path / "marker").exists()


def test_a_file_more_changes_nothing(ask: Ask, step: Path) -> None:
    """84."""
    (step / "more.txt").write_text("more")
    assert ask(*SAMPLE).code == 0
    assert (step / "more.txt").read_text() == "more"


def test_parts_that_are_not_installed_are_named_with_what_to_install(refused: Ask, step: Path, tmp_path: Path) -> None:
    """90."""
    run = tmp_path / "run"
    (run / "spec.yaml").write_text((run / "spec.yaml").read_text().replace("use: film", "use: nowhere"))
    versions = json.loads((run / "versions.json").read_text())
    versions["parts"]["injector.nowhere"] = "cdkit-nowhere==2.3"
    (run / "versions.json").write_text(json.dumps(versions))
    says = r"run: was made with injector\.nowhere of cdkit-nowhere==2\.3, not installed here$"
    answer = refused(*SAMPLE, code=6, says=says)
    assert "hint: pip install cdkit-nowhere==2.3\n" in answer.err
    (run / "versions.json").write_text("[" * 100_000)
    answer = refused(*SAMPLE, code=3, says=r"run/spec\.yaml:\d+:\d+: injectors\.1\.use: there is no injector 'nowhere'")
    assert step.is_dir()


def test_another_version_of_a_plugin_is_told(ask: Ask, step: Path, caplog: pytest.LogCaptureFixture) -> None:
    """91."""
    versions = step.parents[1] / "versions.json"
    versions.write_text(versions.read_text().replace('"injector.film": "cdkit==', '"injector.film": "cdkit-film==9.'))
    assert ask(*SAMPLE).code == 0
    (message,) = caplog.messages
    assert message.startswith("run: was made with cdkit-film==9.")
    assert "; here is cdkit==" in message


@pytest.mark.parametrize(
    "command", [SAMPLE, ("train", "run/spec.yaml", "--out", "run", "--device", "cpu")], ids=["sample", "train"]
)
def test_another_version_of_a_plugin_is_refused_if_that_is_asked_for(command: tuple[str, ...], ask: Ask, step: Path) -> None:
    """91: --strict, exit 4; and nothing is written but the lock."""
    versions = step.parents[1] / "versions.json"
    versions.write_text(versions.read_text().replace('"injector.film": "cdkit==', '"injector.film": "cdkit-film==9.'))
    answer = ask(*command, "--strict")
    assert answer.code == 4
    assert re.search(r"^error: run: was made with cdkit-film==9\.\S+; here is cdkit==\S+$", answer.err, re.M)
    assert "hint: install what the run was made with, or leave --strict out" in answer.err
    assert [path.name for path in step.parent.iterdir()] == [step.name]


def test_a_run_that_is_started_from_stays_as_it_is(ask: Ask, step: Path, tmp_path: Path) -> None:
    """95: it may lie where nothing can be written; what is learned goes to the new run."""
    kept = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*") if path.is_file()}
    for path in [tmp_path / "run", *(tmp_path / "run").rglob("*")]:
        path.chmod(0o500 if path.is_dir() else 0o400)
    small = [word for override in (*TINY, "train.steps=1", "train.batch=4") for word in ("--set", override)]
    answer = ask("train", str(SPECS / "digits.yaml"), *small, "--init-from", "run", "--out", "new", "--device", "cpu")
    assert answer.code == 0, answer.err
    assert {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*") if path.is_file()
    } == kept
    assert (tmp_path / "new" / "checkpoints" / "step-000001" / "manifest.json").is_file()
    assert step.is_dir()
