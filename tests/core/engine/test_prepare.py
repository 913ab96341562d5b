"""What frozen parts make of a data set, made once: in shards that several processes share, and training that is the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cdkit.engine import prepare as preparing
from cdkit.engine.prepare import prepare
from cdkit.engine.train import train
from cdkit.errors import CheckpointError, DataError, UsageError
from cdkit.parts import Stream
from cdkit.registry import Registry
from cdkit.spec import Spec

Tiny = Callable[..., Spec]
FROZEN = "conditions.text.trainable=false"


def quiet(line: str) -> None:
    del line


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> Path:
    return prepare(tiny(FROZEN), tmp_path_factory.mktemp("prepared") / "out", shard=500, say=quiet)


def test_training_on_it_is_training_on_the_pictures(tmp_path: Path, tiny: Tiny, prepared: Path) -> None:
    whole = tiny(FROZEN, "train.steps=6")
    spec = tiny(FROZEN, "train.steps=6", f"data={{use: prepared, path: {prepared}}}", "evaluate=[]")
    train(spec, tmp_path / "prepared", say=quiet)
    ordered = replace_files(whole, prepared)
    train(ordered, tmp_path / "ordered", say=quiet)
    assert losses(tmp_path / "prepared") == pytest.approx(losses(tmp_path / "ordered"), rel=1e-5)


def replace_files(spec: Spec, prepared: Path) -> Spec:
    """The pictures themselves, in the order in which shards are read."""
    real = spec.registry.get("dataset", "digits")
    counts = Registry.installed().get("dataset", "prepared")(path=str(prepared)).files

    class Filed(real):
        files = counts

    registry = spec.registry.extended({("dataset", "filed"): Filed})
    assert spec.data is not None
    return replace(spec, data=replace(spec.data, use="filed", registry=registry), registry=registry)


def test_every_picture_is_there_with_all_that_is_said_of_it(tiny: Tiny, prepared: Path) -> None:
    real = tiny().registry.get("dataset", "digits")()
    kept = Registry.installed().get("dataset", "prepared")(path=str(prepared))
    for name in ("train", "validation", "test"):
        here, there = kept.split(name), real.split(name)
        assert [here[place].id for place in range(len(here))] == [there[place].id for place in range(len(there))]
    assert list(kept.files) == [500, 500, 435]
    first, same = kept.split("train")[700], real.split("train")[700]
    assert torch.equal(first.image, same.image)
    assert len(first.values["text"]) == len(same.values["text"])
    stream = first.values["text"][0]
    assert isinstance(stream, Stream)
    assert stream.tokens is not None
    assert stream.tokens.shape[0] == 1


def test_it_goes_on_where_it_stopped_and_several_share_it(
    tmp_path: Path, tiny: Tiny, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first shard of each split is left out, as by a process that died."""
    spec, said = tiny(FROZEN), list[str]()
    made = preparing._made
    with monkeypatch.context() as patched:
        patched.setattr(
            preparing, "_made", lambda job, out, split, number, shard: made(job, out, split, number, shard) if number else 0
        )
        with pytest.raises(OSError, match="No such file"):
            prepare(spec, tmp_path / "out", shard=500, say=quiet)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.safetensors")) == [
        "train-00001.safetensors",
        "train-00002.safetensors",
    ]
    before = (tmp_path / "out" / "train-00001.safetensors").stat().st_mtime_ns
    prepare(spec, tmp_path / "out", shard=500, say=said.append)
    assert "5 shards, 3 of them made now" in said[0]
    assert (tmp_path / "out" / "train-00001.safetensors").stat().st_mtime_ns == before
    digests = [json.loads((folder / "prepared.json").read_text())["files"] for folder in (prepared, tmp_path / "out")]
    assert digests[0] == digests[1]


def test_forms_that_are_one_tensor_are_kept_as_two(tmp_path: Path, tiny: Tiny) -> None:
    names = "zero, one, two, three, four, five, six, seven, eight, nine"
    label = f"conditions.text={{use: label, dim: 8, column: label, trainable: false, names: [{names}]}}"
    folder = prepare(tiny(label), tmp_path / "out", say=quiet)
    stream = Registry.installed().get("dataset", "prepared")(path=str(folder)).split("test")[0].values["label"][0]
    assert torch.equal(stream.tokens[:, 0], stream.pooled)


def test_what_does_not_belong_together_is_refused(tmp_path: Path, tiny: Tiny, prepared: Path) -> None:
    with pytest.raises(UsageError, match="nothing here is frozen"):
        prepare(tiny(), tmp_path / "out", say=quiet)
    with pytest.raises(CheckpointError, match="holds what another data set"):
        prepare(tiny(FROZEN), prepared, shard=400, say=quiet)
    make = Registry.installed().get("dataset", "prepared")
    with pytest.raises(DataError, match="cannot be read"):
        make(path=str(tmp_path / "nowhere"))


def test_a_shard_that_changed_is_noticed(tmp_path: Path, tiny: Tiny) -> None:
    folder = prepare(tiny(FROZEN), tmp_path / "out", shard=500, say=quiet)
    shard = folder / "test-00000.safetensors"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match=r"test-00000.safetensors: is not the file that was prepared"):
        Registry.installed().get("dataset", "prepared")(path=str(folder))
