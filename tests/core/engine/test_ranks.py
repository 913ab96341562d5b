"""Several processes that train one run: the same losses as one, one writer, one decision."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cdkit.build import assemble
from cdkit.cli.failures import handled
from cdkit.conditions import Count
from cdkit.engine.batches import Batches
from cdkit.engine.blocks import blocks_of
from cdkit.engine.evaluate import make_dataset
from cdkit.engine.launch import Launch, first_host, planned
from cdkit.engine.load import load
from cdkit.engine.ranks import ALONE, Ranks, joined
from cdkit.engine.run import Run
from cdkit.engine.shards import consolidate
from cdkit.engine.train import train
from cdkit.errors import CheckpointError, DataError, UsageError
from cdkit.parts import Dataset, Example
from cdkit.spec import Spec
from PIL import Image

DIGITS = Path(__file__).parents[3] / "specs" / "digits.yaml"
Tiny = Callable[..., Spec]


def quiet(line: str) -> None:
    del line


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def begun(world: int, work: Callable[[Ranks], object]) -> list[int]:
    """Processes that join and work, as torchrun would start them; their ids."""
    port = free_port()
    children: list[int] = []
    for rank in range(world):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads, of which torch has some
            child = os.fork()
        if child == 0:
            told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
            os.environ.update({name: str(value) for name, value in told.items()}, MASTER_ADDR="127.0.0.1")

            def joining() -> None:
                with joined("cpu") as ranks:
                    work(ranks)

            try:
                os._exit(handled(joining, debug=False))
            except BaseException:
                traceback.print_exc()
                os._exit(70)
        children.append(child)
    return children


def ended(children: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def together(world: int, work: Callable[[Ranks], object]) -> None:
    assert ended(begun(world, work)) == [0] * world


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def apart(one: list[float], other: list[float]) -> float:
    assert len(one) == len(other) > 0
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("strategy", ["ddp", "late"])
def test_two_processes_learn_what_one_learns(tmp_path: Path, tiny: Tiny, strategy: str) -> None:
    spec = tiny("train.steps=12", f"train.strategy={strategy}", "train.accumulate=2", "conditions.text.dropout=0.5")
    train(spec, tmp_path / "one", say=quiet)
    together(2, lambda ranks: train(spec, tmp_path / "two", say=quiet, ranks=ranks))
    assert apart(losses(tmp_path / "one"), losses(tmp_path / "two")) < 1e-6
    one, two = (load(tmp_path / name) for name in ("one", "two"))
    assert one.ledger.counts == two.ledger.counts
    assert isinstance(one.ledger.counts["text"], Count)
    for mine, theirs in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-5)


def test_a_batch_that_cannot_be_shared_is_refused_with_those_that_can() -> None:
    with pytest.raises(UsageError, match=r"train.batch is 4, which 3 processes cannot share evenly") as caught:
        Ranks(1, 3).share(4)
    assert caught.value.hint == "--set train.batch=3 or --set train.batch=6"
    assert [list(Ranks(rank, 2).share(4)) for rank in (0, 1)] == [[0, 1], [2, 3]]


def test_more_or_fewer_processes_than_were_meant_are_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    os.environ["CDKIT_PROCESSES"] = "3"
    try:
        assert ended(begun(2, print)) == [7, 7]
    finally:
        del os.environ["CDKIT_PROCESSES"]
    assert "3 processes were to train; WORLD_SIZE is 2, 2 are in their group, 2 answered" in capfd.readouterr().err


def test_a_signal_to_one_process_stops_all_of_them_saved(tmp_path: Path, tiny: Tiny, capfd: pytest.CaptureFixture[str]) -> None:
    spec = tiny("train.steps=10000", "train.checkpoint_every=100000")
    children = begun(2, lambda ranks: train(spec, tmp_path / "run", say=quiet, ranks=ranks))
    wait_for(tmp_path / "run" / "metrics.jsonl")
    os.kill(children[1], signal.SIGTERM)
    assert ended(children) == [143, 143]
    checkpoint = Run(tmp_path / "run").latest()
    assert checkpoint is not None
    assert checkpoint.step == len(losses(tmp_path / "run"))
    assert capfd.readouterr().err.count("stopped by SIGTERM") == 1, "one says so, for all"


def wait_for(file: Path, seconds: float = 60) -> None:
    """Until something has been written there."""
    end = time.monotonic() + seconds
    while not (file.is_file() and file.stat().st_size) and time.monotonic() < end:
        time.sleep(0.05)


class Broken(Dataset):
    """The digits, one of which cannot be read."""

    def __init__(self, real: Dataset, bad: str) -> None:
        self.real, self.bad = real, bad
        self.columns, self.shape = real.columns, real.shape

    def split(self, name: Any) -> Any:
        return self.real.split(name)

    def fingerprint(self) -> str:
        return self.real.fingerprint()

    def augment(self, example: Example, generator: torch.Generator) -> Example:
        del generator
        if example.id == self.bad:
            raise DataError("this picture is torn")
        return example


def test_a_picture_that_one_process_cannot_read_stops_all_with_what_they_had_learned(
    tmp_path: Path, tiny: Tiny, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = tiny("train.steps=6", "train.checkpoint_every=100")
    real = make_dataset(spec)
    bad = Batches(real, (), batch=4, seed=0)[3].ids[3]  # of the second process, in the fourth step
    registry = spec.registry.extended({("dataset", "broken"): lambda: Broken(real, bad)})
    assert spec.data is not None
    broken = replace(spec, data=replace(spec.data, use="broken", options={}, registry=registry), registry=registry)
    children = begun(2, lambda ranks: train(broken, tmp_path / "run", say=quiet, ranks=ranks))
    assert ended(children) == [5, 5]
    checkpoint = Run(tmp_path / "run").latest()
    assert checkpoint is not None
    assert checkpoint.step == 3
    assert capfd.readouterr().err.count("this picture is torn") == 1


def test_alone_nothing_is_asked() -> None:
    with joined(None, {"WORLD_SIZE": "1", "RANK": "0"}) as ranks:
        assert ranks == ALONE
    assert ranks.told("x") == "x"
    assert ranks.gathered(3) == [3]
    assert ranks.greatest(1, 2) == (1, 2)
    assert ranks.total([4]) == [4]


def test_machines_of_slurm_find_each_other() -> None:
    slurm = {"SLURM_JOB_ID": "77", "SLURM_NNODES": "4", "SLURM_NODEID": "2", "SLURM_JOB_NODELIST": "gpu[003-005,9],cpu1"}
    plan = planned(8, None, None, None, 3, slurm)
    assert plan == Launch(8, 4, 2, "gpu003:29500", 3, "77")
    assert plan.world == 32
    assert first_host("one,two") == "one"
    assert planned(None, None, None, None, 0, slurm) is None, "who starts processes without --procs does it some other way"
    assert planned(8, None, None, None, 0, {**slurm, "RANK": "1"}) is None, "a process that was started starts none"
    with pytest.raises(UsageError, match="need a place to meet"):
        planned(8, 2, 0, None, 0, {})
    with pytest.raises(UsageError, match="numbered 0 to 1"):
        planned(8, 2, 2, "a:1", 0, {})


# ----------------------------------------------------------------------------------------- fsdp2


def divided(spec: Spec) -> Spec:
    return replace(spec, train=replace(spec.train, strategy="fsdp2"))


def alike(one: Path, other: Path, tolerance: float) -> None:
    """Weights, averages, ledgers and logged losses of two runs."""
    assert apart(losses(one), losses(other)) < 1e-6
    for averaged in (False, True):
        mine, theirs = (load(run, averaged=averaged) for run in (one, other))
        assert mine.ledger.counts == theirs.ledger.counts
        for (name, here), there in zip(mine.named_parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(here, there, rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.long
def test_divided_weights_learn_what_whole_ones_learn(tmp_path: Path, tiny: Tiny) -> None:
    spec = tiny("train.steps=10", "train.accumulate=2", "conditions.text.dropout=0.5", "train.checkpoint_every=5")
    train(spec, tmp_path / "one", say=quiet)
    together(2, lambda ranks: train(divided(spec), tmp_path / "two", say=quiet, ranks=ranks))
    alike(tmp_path / "one", tmp_path / "two", 2e-5)
    checkpoint = Run(tmp_path / "two").latest()
    assert checkpoint is not None
    assert checkpoint.manifest["schema"] == 3
    assert [path.name[:11] for path in checkpoint.shards] == ["shard-00001", "shard-00002"]
    sizes = [path.stat().st_size for path in checkpoint.shards]
    assert max(sizes) < 1.6 * min(sizes), "each process writes its part"


def digests(run: Path) -> dict[str, str]:
    """Of every tensor of the latest checkpoint, however it is kept."""
    checkpoint = Run(run).latest()
    assert checkpoint is not None
    return {
        f"{name}|{key}": hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
        for name in checkpoint.names
        for key, value in checkpoint.tensors(name).items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "late", "fsdp2"])
def test_two_processes_resume_bit_equal_at_every_step(tmp_path: Path, tiny: Tiny, strategy: str) -> None:
    """The cells of exact resume with two processes."""
    spec = tiny("train.steps=6", f"train.strategy={strategy}", "conditions.text.dropout=0.5")

    def one_by_one(ranks: Ranks) -> None:
        for _ in range(6):
            train(spec, tmp_path / "steps", minutes=1e-9, say=quiet, ranks=ranks)

    together(2, lambda ranks: train(spec, tmp_path / "whole", say=quiet, ranks=ranks))
    together(2, one_by_one)
    assert Run(tmp_path / "steps").latest().step == 6  # pyright: ignore[reportOptionalMemberAccess]
    assert digests(tmp_path / "steps") == digests(tmp_path / "whole")
    assert losses(tmp_path / "steps") == losses(tmp_path / "whole")


@pytest.mark.slow
def test_a_run_goes_on_in_any_number_of_processes_and_in_one_file(tmp_path: Path, tiny: Tiny) -> None:
    """Two processes with divided weights, then one, then two with whole ones, then two with divided ones: the run of one."""
    more = ("train.ema_lengths=[0.1]", "train.ema_snapshots=2", "train.decay=constant")
    spec = tiny("train.steps=8", "train.checkpoint_every=2", *more)
    train(spec, tmp_path / "one", say=quiet)

    def until(steps: int, spec: Spec, world: int) -> None:
        short = replace(spec, train=replace(spec.train, steps=steps))
        if world == 1:
            train(short, tmp_path / "run", override=True, say=quiet)
        else:
            together(world, lambda ranks: train(short, tmp_path / "run", override=True, say=quiet, ranks=ranks))

    until(2, divided(spec), 2)
    before = digests(tmp_path / "run")
    assert consolidate(Run(tmp_path / "run")) is not None
    checkpoint = Run(tmp_path / "run").latest()
    assert checkpoint is not None
    assert not checkpoint.is_sharded
    assert (checkpoint.folder / "backbone.safetensors").is_file()
    assert digests(tmp_path / "run") == before
    assert consolidate(Run(tmp_path / "run")) is None
    until(4, spec, 1)
    until(6, spec, 2)
    until(8, divided(spec), 2)
    alike(tmp_path / "one", tmp_path / "run", 2e-5)


def test_a_shard_that_is_missing_damaged_or_of_another_save_is_told(tmp_path: Path, tiny: Tiny) -> None:
    spec = divided(tiny("train.steps=2", "train.checkpoint_every=100"))
    together(2, lambda ranks: train(spec, tmp_path / "run", say=quiet, ranks=ranks))
    checkpoint = Run(tmp_path / "run").latest()
    assert checkpoint is not None
    shard = checkpoint.shards[1]
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="its sha256 is not the manifest's"):
        Run(tmp_path / "run").latest()
    shard.write_bytes(content)
    one = replace(checkpoint, manifest={**checkpoint.manifest, "files": {checkpoint.shards[0].name: {}}})
    with pytest.raises(CheckpointError, match="parts do not make a tensor"):
        replace(one, manifest={**one.manifest, "files": {shard.name: {}}}).tensors("backbone")


def test_what_is_not_kept_is_made_again_to_the_bit(tmp_path: Path, tiny: Tiny) -> None:
    spec = tiny("train.steps=4", "train.checkpoint_every=100")
    train(spec, tmp_path / "kept", say=quiet)
    train(replace(spec, train=replace(spec.train, recompute=True)), tmp_path / "again", say=quiet)
    assert digests(tmp_path / "again") == digests(tmp_path / "kept")


def test_the_blocks_of_a_unet_are_its_innermost_lists_without_what_is_mounted(tiny: Tiny) -> None:
    model = assemble(tiny())
    blocks, slots = blocks_of(model.backbone)
    names = {type(block).__name__ for block in blocks}
    assert {"ResnetBlock", "TransformerBlock"} <= names
    assert "Slot" not in names
    mounted = {id(parameter) for slot in slots for parameter in slot.parameters()}
    own = [parameter for block in blocks for parameter in block.parameters() if id(parameter) not in mounted]
    everything = [parameter for parameter in model.backbone.parameters() if id(parameter) not in mounted]
    assert sum(p.numel() for p in own) > 0.7 * sum(p.numel() for p in everything)


# ----------------------------------------------------------------------------------------- the command line


def cdkit(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cdkit", *words],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def overrides(*more: str) -> list[str]:
    """As the `tiny` spec has them."""
    small = (
        "backbone.width=8",
        "backbone.heads=1",
        "conditions.text.dim=8",
        "train.batch=4",
        "train.steps=8",
        "train.log_every=1",
    )
    return [word for override in (*small, "train.sample_every=0", "sampler.steps=3", *more) for word in ("--set", override)]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "late", "fsdp2"])
def test_fifty_steps_by_the_command_line_agree(tmp_path: Path, strategy: str) -> None:
    words = [
        "train",
        str(DIGITS),
        "--device",
        "cpu",
        *overrides("train.steps=50", "train.batch=16", "train.checkpoint_every=100"),
    ]
    for name, more in {"one": (), "two": ("--procs", "2", "--strategy", strategy)}.items():
        done = cdkit(*words, "--out", str(tmp_path / name), *more)
        assert done.returncode == 0, done.stderr
    assert len(losses(tmp_path / "one")) == 50
    assert apart(losses(tmp_path / "one"), losses(tmp_path / "two")) < 1e-6


class Killed:
    """A training in two processes, of which one is killed when so many steps are logged."""

    def __init__(self, run: Path, steps: int, *more: str) -> None:
        words = ["train", str(DIGITS), "--device", "cpu", "--procs", "2", "--out", str(run), *more]
        words += overrides(f"train.steps={steps}", "train.checkpoint_every=5", "train.keep=50")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cdkit", *words], stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        self.run = run

    def kill_one(self, after: int) -> None:
        end = time.monotonic() + 240
        while time.monotonic() < end:
            metrics = self.run / "metrics.jsonl"
            if metrics.is_file() and len(metrics.read_text().splitlines()) >= after:
                break
            time.sleep(0.05)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)

    def end(self) -> tuple[int, str]:
        said = self.process.communicate(timeout=300)[1]
        return self.process.returncode, said


@pytest.mark.slow
def test_a_killed_process_is_started_again_and_the_run_is_the_one_resumed_by_hand(tmp_path: Path) -> None:
    elastic = Killed(tmp_path / "elastic", 60, "--max-restarts", "2")
    elastic.kill_one(12)
    assert elastic.end()[0] == 0
    by_hand = Killed(tmp_path / "hand", 60)
    by_hand.kill_one(12)
    code, said = by_hand.end()
    assert code == 7
    assert "was killed by SIGKILL" in said or "has lost another one" in said
    again = Killed(tmp_path / "hand", 60)
    assert again.end()[0] == 0
    assert digests(tmp_path / "elastic") == digests(tmp_path / "hand")
    assert losses(tmp_path / "elastic") == losses(tmp_path / "hand")


@pytest.mark.slow
def test_sigterm_to_the_command_saves_in_all_and_exits_143(tmp_path: Path) -> None:
    running = Killed(tmp_path / "run", 100_000)
    wait_for(tmp_path / "run" / "metrics.jsonl", 240)
    running.process.terminate()
    code, said = running.end()
    assert code == 143, said
    checkpoint = Run(tmp_path / "run").latest()
    assert checkpoint is not None
    assert checkpoint.step == len(losses(tmp_path / "run"))


@pytest.mark.slow
def test_prompts_of_a_file_are_drawn_and_scores_made_by_several_processes(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("one\ntwo\nthree\nfour\nfive\n")
    assert cdkit("train", str(DIGITS), "--device", "cpu", "--out", str(tmp_path / "run"), *overrides()).returncode == 0
    words = ["sample", str(tmp_path / "run"), "--prompts-file", str(tmp_path / "prompts.txt"), "--device", "cpu", "--json"]
    for name, more in {"one": (), "two": ("--procs", "2")}.items():
        done = cdkit(*words, "--out", str(tmp_path / name), *more)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["captions"] == ["one", "two", "three", "four", "five"]
        assert told["seeds"] == [0, 1, 2, 3, 4]
    for picture in sorted((tmp_path / "one").glob("0*.png")):
        here, there = (np.asarray(Image.open(tmp_path / name / picture.name), dtype=int) for name in ("one", "two"))
        assert abs(here - there).max() <= 1
    scores: list[Any] = []
    for more in ((), ("--procs", "2")):
        done = cdkit(
            "evaluate", str(tmp_path / "run"), "--metric", "frechet", "--pictures", "60", "--device", "cpu", "--json", *more
        )
        assert done.returncode == 0, done.stderr
        scores.append(json.loads(done.stdout)["reports"][0]["scores"][0]["result"])
    assert scores[0].keys() == scores[1].keys()
    for key, value in scores[0].items():
        assert scores[1][key] == (pytest.approx(value, rel=1e-3) if isinstance(value, float) else value)
