"""What goes wrong in the middle of a training: it is named, what was learned is kept, and mended, the run ends bit-equal."""

from __future__ import annotations

import json
import math
import os
import re
import resource
import signal
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from cdkit.cli.failures import handled
from cdkit.engine import learned
from cdkit.engine.batches import Batches
from cdkit.engine.ema import Ema
from cdkit.engine.evaluate import make_dataset
from cdkit.engine.lost import device_blamed
from cdkit.engine.run import Run
from cdkit.engine.stop import Stop
from cdkit.engine.train import train
from cdkit.engine.trainer import Trainer
from cdkit.errors import CheckpointError, DataError, NumericsError
from cdkit.model import Model
from cdkit.parts import Example
from cdkit.spec import Spec, read_spec
from PIL import Image
from torch import Tensor

pytestmark = pytest.mark.slow

Tiny = Callable[..., Spec]
CPU = torch.device("cpu")


def quiet(line: str) -> None:
    del line


def files(run: Path) -> dict[str, str]:
    """The digests of what the latest checkpoint holds."""
    checkpoint = Run(run).latest()
    assert checkpoint is not None
    return {name: described["sha256"] for name, described in checkpoint.manifest["files"].items()}


def step(run: Path) -> int:
    checkpoint = Run(run).latest()
    return 0 if checkpoint is None else checkpoint.step


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> Path:
    """A run that nothing went wrong with."""
    return train(tiny(), tmp_path_factory.mktemp("whole") / "run", say=quiet).path


@pytest.fixture
def begun(whole: Path, tmp_path: Path) -> Path:
    """The same run at step 3."""
    run = copytree(whole, tmp_path / "begun")
    for later in range(4, 9):
        (run / "checkpoints" / f"step-{later:06d}").rename(tmp_path / f"later-{later}")
    return Path(run)


def on_pictures(spec: Spec, change: Callable[[Example], Example]) -> Spec:
    """The same spec on the same pictures, each passed through `change` as it is read."""
    assert spec.data is not None
    real = spec.data.factory()

    class Changed(real):
        def augment(self, example: Example, generator: torch.Generator) -> Example:
            return change(super().augment(example, generator))

    registry = spec.registry.extended({("dataset", "changed"): Changed})
    return replace(spec, data=replace(spec.data, use="changed", registry=registry), registry=registry)


# ----------------------------------------------------------------------------------------- numbers


def weight(which: str, value: float) -> Callable[[Trainer], object]:
    def poison(trainer: Trainer) -> None:
        parameter = parameters(trainer)[which]
        with torch.no_grad():
            parameter.view(-1)[0] = value

    return poison


def gradient(which: str, value: float) -> Callable[[Trainer], object]:
    return lambda trainer: parameters(trainer)[which].register_hook(lambda grad: torch.full_like(grad, value))


def moment(name: str, value: float) -> Callable[[Trainer], object]:
    return lambda trainer: next(iter(trainer.learned.optimizer.state.values()))[name].view(-1)[:1].fill_(value)


def average(trainer: Trainer) -> None:
    assert trainer.learned.ema is not None
    trainer.learned.ema.values[-1].view(-1)[0] = math.nan


def parameters(trainer: Trainer) -> dict[str, Tensor]:
    named = dict(trainer.model.backbone.named_parameters())
    own = list(named.values())
    told = next(value for name, value in named.items() if "taps" in name or "injectors" in name or "to_k" in name)
    heard = next(trainer.model.encoders.parameters())
    return {"first": own[0], "middle": own[len(own) // 2], "last": own[-1], "injector": told, "encoder": heard}


WHICH = ("middle", "first", "last", "injector", "encoder")
PLACES: dict[str, Callable[[Trainer], object]] = {
    **{f"weight, {which}, {v}": weight(which, v) for which in WHICH for v in (math.nan, math.inf)},
    **{f"gradient, {which}, {v}": gradient(which, v) for which in WHICH[1:] for v in (math.nan, -math.inf)},
    "first moment": moment("exp_avg", math.nan),
    "second moment": moment("exp_avg_sq", math.inf),
    "average": average,
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_number_that_goes_wrong_spoils_no_checkpoint(place: str, begun: Path, whole: Path, tiny: Tiny) -> None:
    trainer = Trainer(tiny(), Run(begun), CPU, quiet)
    trainer.begin(None)
    PLACES[place](trainer)
    with pytest.raises(NumericsError, match=r"step 4: the loss is .*; nothing was updated|nothing is saved: step 4, "):
        trainer.go(Stop(), None)
    assert step(begun) == 3
    assert files(train(tiny(), begun, say=quiet).path) == files(whole)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_pixel_that_is_no_number_spoils_no_checkpoint(value: float, begun: Path, whole: Path, tiny: Tiny) -> None:
    def spoilt(example: Example) -> Example:
        return replace(example, image=torch.full_like(example.image, value))

    with pytest.raises(NumericsError, match=r"step 4: the loss is nan.*; nothing was updated"):
        train(on_pictures(tiny(), spoilt), begun, override=True, say=quiet)
    assert step(begun) == 3
    assert files(train(tiny(), begun, override=True, say=quiet).path) == files(whole)


# ----------------------------------------------------------------------------------------- workers

ENDS: dict[str, tuple[Callable[[], object], str]] = {
    "exits": (lambda: os._exit(7), r"worker \d \(process \d+\) ended with exit code 7, before batch \d \(pictures .* and 1 more"),
    "killed": (lambda: os.kill(os.getpid(), signal.SIGKILL), r"worker \d \(process \d+\) was killed by signal 9, before batch"),
    "exits well": (lambda: os._exit(0), r"worker \d \(process \d+\) ended with exit code 0, before batch"),
    "segfault": (lambda: os.kill(os.getpid(), signal.SIGSEGV), r"worker \d \(process \d+\) was killed by signal 11"),
    "hangs": (lambda: time.sleep(1000), r"worker \d \(process \d+\) has not made batch \d \(pictures .*\) within 2 s"),
    "raises": (
        lambda: 1 // 0,
        r"batch \d \(pictures .*\) cannot be made: ZeroDivisionError: ",
    ),
}


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")  # more than there are cores
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("end", ENDS)
def test_a_worker_that_ends_is_named_and_nothing_is_lost(end: str, workers: int, tmp_path: Path, whole: Path, tiny: Tiny) -> None:
    last = in_batch(4, tiny())
    act, told = ENDS[end]

    def ending(example: Example) -> Example:
        if example.id == last:
            time.sleep(1)  # time for the batches before it to be trained on
            act()
        return example

    spec = on_pictures(tiny(f"train.workers={workers}", "train.worker_timeout=2", "train.checkpoint_every=100"), ending)
    began = time.monotonic()
    with pytest.raises(DataError, match=told):
        train(spec, tmp_path / "run", say=quiet)
    assert time.monotonic() - began < 30
    assert step(tmp_path / "run") == 4, "what was learned from the batches before it is saved"
    assert files(train(tiny(), tmp_path / "run", override=True, say=quiet).path) == files(whole)


def in_batch(number: int, spec: Spec) -> str:
    """A picture of that batch."""
    return Batches(make_dataset(spec), (), batch=spec.train.batch, seed=spec.train.seed)[number].ids[0]


# ----------------------------------------------------------------------------------------- memory


def test_memory_that_is_not_there_is_asked_for_in_words(begun: Path, whole: Path, tiny: Tiny, tmp_path: Path) -> None:
    """A real allocation that really fails, in a process that may have little more than it has."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with (tmp_path / "said").open("w") as said, redirect_stderr(said):
                spec = tiny("train.batch=100000")
                limit = resident() + (600 << 20)
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
                code = handled(lambda: train(spec, begun, override=True, say=quiet), debug=False)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    said = (tmp_path / "said").read_text()
    assert re.search(
        r"^error: .*begun: step 4: out of memory on cpu: can't allocate memory: you tried to allocate \d+ bytes", said, re.M
    )
    assert (
        "hint: train.batch=50000 with train.accumulate=2 learns from as many pictures an update in about half the memory" in said
    )
    assert "Traceback" not in said
    assert step(begun) == 3
    assert files(train(tiny(), begun, override=True, say=quiet).path) == files(whole)


def resident() -> int:
    """Bytes of address space in use."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


# ----------------------------------------------------------------------------------------- the device


LOST = "CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be reported asynchronously"
DEVICE: dict[str, tuple[Any, str, Exception]] = {
    "in a step": (Model, "forward", torch.AcceleratorError(LOST)),
    "in the library": (Model, "forward", RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")),
    "as gradients are made": (Trainer, "_backward", RuntimeError("CUDA error: an illegal memory access was encountered")),
    "as the average is updated": (Ema, "update", torch.AcceleratorError(LOST)),
    "as the weights are fetched to be saved": (learned, "held_weights", torch.AcceleratorError(LOST)),
}  # where it is lost, and what torch says then


@pytest.mark.parametrize("place", DEVICE)
def test_a_device_that_is_lost_saves_nothing_of_what_it_held(
    place: str, begun: Path, whole: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No GPU is here to lose: what torch raises then is raised where it would be."""
    owner, name, error = DEVICE[place]

    def lost(*args: Any, **keywords: Any) -> Any:
        del args, keywords
        raise error

    before = {path: path.read_bytes() for path in (begun / "checkpoints").rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, lost)
        assert handled(lambda: train(tiny(), begun, say=quiet), debug=False) == 7
    said = capsys.readouterr().err
    assert re.search(r"^error: .*begun: step 4: cpu failed: (CUDA|cuDNN) error: .*; nothing is saved of this step$", said, re.M)
    assert "hint: the last checkpoint is intact" in said
    assert {path: path.read_bytes() for path in (begun / "checkpoints").rglob("*") if path.is_file()} == before
    assert files(train(tiny(), begun, say=quiet).path) == files(whole)


def test_another_runtime_error_is_no_device_that_is_lost() -> None:
    with pytest.raises(RuntimeError, match=r"^shapes do not fit$"), device_blamed("here", CPU):
        raise RuntimeError("shapes do not fit")
    with pytest.raises(torch.OutOfMemoryError), device_blamed("here", CPU):
        raise torch.OutOfMemoryError("CUDA out of memory")


# ----------------------------------------------------------------------------------------- data that changes

FOLDER = """\
extends: {base}
name: pictures
sample: {{channels: 3, height: 8, width: 8}}
data: {{use: folder, path: {data}, size: 8, upscale: true}}
evaluate: []
"""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Sixteen pictures in as many files, with a caption each."""
    data = tmp_path / "data"
    data.mkdir()
    draws = torch.Generator().manual_seed(0)
    for number in range(16):
        pixels = torch.randint(0, 256, (8, 8, 3), generator=draws, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(data / f"{number:02d}.png")
    lines = [{"file_name": f"{number:02d}.png", "text": f"picture {number}"} for number in range(16)]
    (data / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return data


@pytest.fixture
def on_folder(pictures: Path, tmp_path: Path, tiny: Tiny) -> Spec:
    """The tiny spec on those pictures."""
    base, path = tmp_path / "base.yaml", tmp_path / "pictures.yaml"
    base.write_text(tiny().to_yaml())
    path.write_text(FOLDER.format(base=base.name, data=pictures))
    return read_spec(path)


def test_pictures_that_vanish_under_a_run_are_in_its_memory(on_folder: Spec, pictures: Path, tmp_path: Path) -> None:
    expected = files(train(on_folder, tmp_path / "expected", say=quiet).path)

    def vanishing(example: Example) -> Example:
        for picture in pictures.glob("0*.png"):
            picture.unlink()
        return example

    assert files(train(on_pictures(on_folder, vanishing), tmp_path / "run", say=quiet).path) == expected


def test_other_pictures_are_not_gone_on_with_unless_that_is_asked_for(on_folder: Spec, pictures: Path, tmp_path: Path) -> None:
    spec = replace(on_folder, train=replace(on_folder.train, steps=4))
    run = train(spec, tmp_path / "run", say=quiet)
    (pictures / "03.png").write_bytes((pictures / "03.png").read_bytes() + b"\0")
    before = {path: path.read_bytes() for path in run.path.rglob("*.safetensors")}
    with pytest.raises(
        CheckpointError, match=r"step-000004: has learned from other data than is here now: .* \(digest \w{12}, now \w{12}\)"
    ) as no:
        train(spec, run.path, say=quiet)
    assert "--allow-data-change" in no.value.hint
    assert {path: path.read_bytes() for path in run.path.rglob("*.safetensors")} == before
    said: list[str] = []
    train(spec, run.path, allow_data_change=True, say=said.append)
    assert "going on at step 4" in said[0]


def test_a_picture_that_cannot_be_read_is_told_with_what_was_saved(on_folder: Spec, tmp_path: Path) -> None:
    """A data set that reads as it goes, and whose file is gone in the middle."""
    gone = tmp_path / "gone.png"
    seen: list[str] = []

    def reading(example: Example) -> Example:
        seen.append(example.id)
        if len(seen) > 14:
            gone.read_bytes()
        return example

    said: list[str] = []
    with pytest.raises(DataError, match=r"batch 3 \(pictures .*\) cannot be made: FileNotFoundError: .*gone\.png'"):
        train(on_pictures(on_folder, reading), tmp_path / "run", say=said.append)
    assert said[-1].endswith("saved at step 3; mend what is wrong and give the same command again")
    assert step(tmp_path / "run") == 3
