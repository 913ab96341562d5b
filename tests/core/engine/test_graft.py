"""A graft: bit-equal at step 0 whatever is said, refused where that cannot be, and it learns to listen afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cdkit.cli.app import cdkit
from cdkit.engine.graft import graft
from cdkit.engine.load import load
from cdkit.engine.run import Run
from cdkit.engine.train import train
from cdkit.errors import UsageError
from cdkit.spec import SpecErrors, read_spec
from click.testing import CliRunner

BASE = """
cdkit: 1
name: unconditional
sample: {channels: 1, height: 8, width: 8}
backbone: {use: unet, width: 16, mult: [1, 2], blocks: 1, attention: [1], heads: 2}
diffusion: {schedule: cosine, prediction: v}
sampler: {use: euler, steps: 4}
data: {use: digits}
train: {steps: 6, batch: 8, warmup: 1, sample_every: 0, checkpoint_every: 6, ema: 0.5}
"""
WORDS = """
name: told
conditions:
  text: {use: bytes, dim: 16, depth: 1, heads: 2}
  label: {use: label, names: [zero, one, two, three, four, five, six, seven, eight, nine], dim: 16}
injectors:
  - %s
guidance: {use: cfg, scale: 1.5}
"""
GOOD = {
    "cross_attention": "{use: cross_attention, streams: [text], heads: 2}",
    "film": "{use: film, streams: [label]}",
    "add": "{use: add, streams: [text]}",
    "text_query": "{use: text_query, streams: [text], heads: 2}",
    "adaln_zero": "{use: adaln_zero, streams: [label]}",
    "concat": "{use: concat, streams: [label]}",
}
ENOUGH = "\n  - {use: film, name: also, streams: [%s]}"


def quiet(line: str) -> None:
    del line


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(read_spec(BASE), tmp_path_factory.mktemp("base") / "run", say=quiet)


def words(folder: Path, injector: str) -> Path:
    """A file in which both conditions are read by somebody."""
    other = "label" if "[text]" in injector else "text"
    (folder / "words.yaml").write_text(WORDS % (injector + ENOUGH % other))
    return folder / "words.yaml"


@pytest.mark.parametrize("name", GOOD)
def test_it_draws_what_it_drew_whatever_is_said(base: Run, tmp_path: Path, name: str) -> None:
    run = graft(str(base.path), words(tmp_path, GOOD[name]), tmp_path / "told", say=quiet)
    before, after = load(base.path, device="cpu"), load(run, device="cpu")
    plain = before.sample(n=2, seed=3).images
    for said in ("seven", "a four", ""):
        told = {"text": [said] * 2, "label": ["three", "nine"]}
        assert torch.equal(after.sample(told, seed=3, guidance=1.0).images, plain), said


def test_then_it_learns_to_listen(base: Run, tmp_path: Path) -> None:
    run = graft(str(base.path), words(tmp_path, GOOD["cross_attention"]), tmp_path / "told", say=quiet)
    told = {"text": ["seven", "two"], "label": ["seven", "two"]}
    train(read_spec(run / "spec.yaml", overrides=("train.steps=12",)), run, override=True, say=quiet)
    after = load(run, device="cpu")
    plain = load(base.path, device="cpu").sample(n=2, seed=3).images
    assert not torch.equal(after.sample(told, seed=3, guidance=1.0).images, plain)
    other = {"text": ["one", "nine"], "label": ["one", "nine"]}
    assert not torch.equal(after.sample(told, seed=3).images, after.sample(other, seed=3).images)


@pytest.mark.parametrize(
    ("injector", "guilty"),
    [
        ("{use: in_context, streams: [text]}", "in_context"),
        ("{use: adaln_zero, streams: [label], published: true}", "adaln_zero"),
    ],
)
def test_what_is_no_identity_is_refused_by_name(base: Run, tmp_path: Path, injector: str, guilty: str) -> None:
    with pytest.raises(UsageError, match=f"^{guilty} changes what .*run draws before it has learned anything") as caught:
        graft(str(base.path), words(tmp_path, injector), tmp_path / "told", say=quiet)
    assert "identity at birth" in caught.value.hint
    assert not (tmp_path / "told").exists()


def test_the_network_stays_as_it_is(base: Run, tmp_path: Path) -> None:
    file = words(tmp_path, GOOD["film"])
    file.write_text(file.read_text() + "backbone: {width: 32}\n")
    with pytest.raises(UsageError, match="changes backbone; a graft mounts a method on the network as it is"):
        graft(str(base.path), file, tmp_path / "told", say=quiet)


def test_a_mistake_in_the_file_has_its_place(base: Run, tmp_path: Path) -> None:
    with pytest.raises(
        SpecErrors, match=r"words\.yaml:7:11: injectors\.0\.use: there is no injector 'flim'; did you mean 'film' \(cdkit=="
    ):
        graft(str(base.path), words(tmp_path, "{use: flim, streams: [label]}"), tmp_path / "told", say=quiet)


def test_the_command(base: Run, tmp_path: Path) -> None:
    told = ["graft", str(base.path), "--injectors", str(words(tmp_path, GOOD["add"])), "--out", str(tmp_path / "told")]
    done = CliRunner().invoke(cdkit, told, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "every output is bit-equal" in done.output
    assert done.output.strip().endswith(f"then: cdkit train {tmp_path}/told/spec.yaml --out {tmp_path}/told")
    assert load(tmp_path / "told", device="cpu").spec.name == "told"
