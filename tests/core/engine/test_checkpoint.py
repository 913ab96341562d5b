"""Checkpoints: whole or not there, and never used if a byte is wrong."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.engine.checkpoint import (
    SHARDED,
    Checkpoint,
    begin,
    clear_unfinished,
    commit,
    committed,
    described,
    latest,
    prune,
    set_aside_damaged,
    sha256,
    signed,
    verified,
    write_checkpoint,
)
from cdkit.errors import CheckpointError
from safetensors.torch import save_file

TENSORS = {"backbone": {"w": torch.arange(6.0).view(2, 3)}, "ema": {"w": torch.ones(2)}}


def write(folder: Path, step: int = 1) -> Path:
    return write_checkpoint(folder, step, TENSORS, {"ledger": {}}, {"spec": "abc"})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path)
    found = latest(tmp_path)
    assert found is not None
    assert found.step == 1
    assert torch.equal(found.tensors("backbone")["w"], TENSORS["backbone"]["w"])
    assert found.state() == {"ledger": {}}
    assert found.names == ("backbone", "ema")
    assert not found.is_sharded
    with pytest.raises(
        CheckpointError, match=r"has no vae\.safetensors; it has backbone\.safetensors, ema\.safetensors, state\.json$"
    ):
        found.tensors("vae")


def test_the_same_tensors_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a"), write(tmp_path / "b")
    assert all((one / path.name).read_bytes() == path.read_bytes() for path in two.iterdir())


def test_files_are_private(tmp_path: Path) -> None:
    folder = write(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_place_that_is_not_there_yet_is_made_and_no_descriptor_stays_open(tmp_path: Path) -> None:
    write(tmp_path / "first")
    before = os.listdir("/proc/self/fd")
    write(tmp_path / "not" / "there" / "yet")
    assert os.listdir("/proc/self/fd") == before


def test_text_is_written_as_people_read_it(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, 1, TENSORS, {"ledger": {}, "prompt": "Übung 七"}, {"title": "Übung 七"})
    for name in ("state.json", "manifest.json"):
        assert "Übung 七" in (folder / name).read_text(encoding="utf-8")
    assert verified(folder).manifest["title"] == "Übung 七"


Part = tuple[str, torch.Tensor, list[int] | None]  # a key, a part, and where it begins; None: nothing says so


def sharded(folder: Path, *shards: Sequence[Part]) -> Checkpoint:
    """A checkpoint in shards, as torch's DCP writes them, of backbone and ema."""
    temporary = begin(folder, 1)
    for number, parts in enumerate(shards):
        info = {key: {"saved_offsets": begins} for key, _, begins in parts if begins is not None}
        path = temporary / f"shard-{number:05d}.safetensors"
        save_file({key: part.contiguous() for key, part, _ in parts}, path, {"DCP_SHARDING_INFO": json.dumps(info)})
    (temporary / "state.json").write_text('{"ledger": {}}')
    files = {path.name: described(path) for path in temporary.iterdir()}
    return verified(commit(folder, temporary, {"schema": SHARDED, "step": 1, "tensors": ["backbone", "ema"], "files": files}))


WHOLE = torch.arange(24.0).view(4, 3, 2)


@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_shards_make_the_whole_wherever_it_was_cut(tmp_path: Path, dim: int, at: int) -> None:
    one, two = WHOLE.tensor_split([at], dim)
    begins = [at if d == dim else 0 for d in range(3)]
    parts = [("backbone|w", two, begins), ("ema|w", torch.ones(2), None)]
    found = sharded(tmp_path, [("backbone|w", one, [0, 0, 0])], parts if two.numel() else parts[1:])
    assert found.is_sharded
    assert found.names == ("backbone", "ema")
    assert found.tensors("backbone").keys() == found.tensors("ema").keys() == {"w"}
    assert torch.equal(found.tensors("backbone")["w"], WHOLE)
    assert torch.equal(found.tensors("ema")["w"], torch.ones(2))
    with pytest.raises(CheckpointError, match=r"step-000001: has no vae\.safetensors; it has backbone, ema$"):
        found.tensors("vae")


@pytest.mark.parametrize(
    ("begins", "error"),
    [
        ([3, 0, 0], r"2 parts do not make a tensor of shape \[5, 3, 2\]"),  # a gap
        ([1, 0, 0], r"2 parts do not make a tensor of shape \[3, 3, 2\]"),  # twice
        ([2, 0], "is no safetensors file"),
        ([2, 0, 0, 0], "is no safetensors file"),
    ],
)
def test_shards_that_do_not_fit_are_refused(tmp_path: Path, begins: list[int], error: str) -> None:
    found = sharded(tmp_path, [("backbone|w", WHOLE[:2], [0, 0, 0])], [("backbone|w", WHOLE[2:], begins)])
    with pytest.raises(CheckpointError, match=rf"step-000001: is no safetensors file: .*{error}|step-000001: {error}"):
        found.tensors("backbone")


NAMES = ("backbone.safetensors", "ema.safetensors", "state.json", "manifest.json")


@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    path = write(tmp_path) / name
    good = path.read_bytes()
    said = r"manifest\.json: " if name == "manifest.json" else f"{name}: its sha256"
    for place in range(len(good) * 8):
        flipped = bytearray(good)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(bytes(flipped))
        with pytest.raises(CheckpointError, match=said):
            verified(path.parent)


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_found(tmp_path: Path, name: str) -> None:
    path = write(tmp_path) / name
    good = path.read_bytes()
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(
            CheckpointError, match=r"manifest\.json: " if name == "manifest.json" else f"{name}: is {length} bytes"
        ):
            verified(path.parent)


def test_a_manifest_that_says_the_same_in_other_words_is_damaged(tmp_path: Path) -> None:
    """A key that is lost, an older schema that needs no digest, other white space: only what was written is what was written."""
    path = write(tmp_path) / "manifest.json"
    manifest = json.loads(path.read_text())
    half = json.dumps({**manifest, "cdkit": "\ud800"})
    for text in (
        half,
        json.dumps(manifest),
        json.dumps({**manifest, "sha256": None}),
        json.dumps({**manifest, "step": 2}, indent=1),
    ):
        path.write_text(text)
        with pytest.raises(CheckpointError, match=r"manifest\.json: its sha256 is not its own"):
            verified(path.parent)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "ema.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"ema\.safetensors: missing, though the manifest lists it"):
        verified(folder)


def test_a_folder_without_a_manifest_was_never_finished(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="never finished"):
        verified(folder)


@pytest.mark.parametrize("schema", [0, SHARDED + 1, 99, "2", None])
def test_a_schema_that_nobody_knows_yet_is_refused(tmp_path: Path, schema: object) -> None:
    folder = write(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_bytes(signed({**manifest, "schema": schema}))
    with pytest.raises(CheckpointError, match=f"written with schema {schema}; this cdkit reads schemas 1 to 3"):
        verified(folder)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/b"])
def test_a_manifest_cannot_point_outside(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"size": 0, "sha256": ""}
    (folder / "manifest.json").write_bytes(signed(manifest))
    with pytest.raises(CheckpointError, match="not a plain file beside it"):
        verified(folder)


def test_a_pickle_under_another_name_is_never_opened(tmp_path: Path) -> None:
    """Even with a manifest that vouches for it, it is no safetensors file."""
    marker = tmp_path / "executed"

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return marker.touch, ()

    folder = write(tmp_path)
    path = folder / "ema.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][path.name] = {"size": path.stat().st_size, "sha256": sha256(path)}
    (folder / "manifest.json").write_bytes(signed(manifest))
    with pytest.raises(CheckpointError, match=r"ema\.safetensors: is no safetensors file"):
        verified(folder).tensors("ema")
    assert not marker.exists()


def test_on_request_the_highest_step_that_verifies_is_taken(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        write(tmp_path, step)
    (tmp_path / "step-000010" / "state.json").write_text("{}")
    found = latest(tmp_path, fallback=True)
    assert found is not None
    assert found.step == 2


def test_a_damaged_latest_is_refused_unless_an_older_one_is_asked_for(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write(tmp_path, step)
    for step in (2, 3):
        (tmp_path / f"step-00000{step}" / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"step-000003/state\.json: is 2 bytes; the manifest says") as refused:
        latest(tmp_path)
    assert refused.value.hint == "step-000001 is whole; train, sample and evaluate take it with --fallback"


def test_if_none_verifies_nothing_is_invented(tmp_path: Path) -> None:
    (write(tmp_path) / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"state\.json"):
        latest(tmp_path)
    assert latest(tmp_path / "empty") is None


def test_a_step_that_is_saved_again_replaces_the_old_one(tmp_path: Path) -> None:
    write(tmp_path)
    write_checkpoint(tmp_path, 1, {"backbone": {"w": torch.zeros(1)}}, {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
    assert verified(tmp_path / "step-000001").names == ("backbone",)


def test_pruning_keeps_the_newest(tmp_path: Path) -> None:
    for step in range(5):
        write(tmp_path, step)
    prune(tmp_path, 2)
    assert [path.name for path in committed(tmp_path)] == ["step-000003", "step-000004"]


def test_a_save_that_fails_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(TypeError):
        write_checkpoint(tmp_path, 2, TENSORS, {"not JSON": object()}, {})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert latest(tmp_path) is not None


def test_a_save_says_what_went_wrong_first(tmp_path: Path) -> None:
    """The disk is gone: that its temporary folder cannot be removed either is not what a person has to hear."""

    class Gone(dict[str, torch.Tensor]):
        def items(self) -> Any:
            shutil.rmtree(tmp_path / "run")
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        write_checkpoint(tmp_path / "run", 2, {"backbone": Gone()}, {}, {})


def test_what_a_killed_save_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".tmp-3-abc").mkdir()
    assert [path.name for path in clear_unfinished(tmp_path)] == [".tmp-3-abc"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [".trash-step-000001-abc", ".old-step-000001"])
def test_what_a_killed_deletion_left_is_cleared(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path)
    shutil.copytree(folder, tmp_path / name)
    assert clear_unfinished(tmp_path) == []
    assert list(tmp_path.iterdir()) == [folder]


def test_what_cannot_be_cleared_stands_in_nobodys_way(tmp_path: Path) -> None:
    for name in (".tmp-1-abc", ".trash-step-000001-abc"):
        (tmp_path / name).write_text("a file, which no folder's removal removes")
    assert clear_unfinished(tmp_path) == [tmp_path / ".tmp-1-abc"]
    folder = write(tmp_path)
    assert committed(tmp_path) == [folder]


def test_killed_between_the_two_renames_of_a_second_save_nothing_is_lost(tmp_path: Path) -> None:
    """The old checkpoint is out of its place, the new one not yet in it: clearing puts the old one back."""
    folder = write(tmp_path)
    folder.rename(tmp_path / ".old-step-000001")
    (tmp_path / ".tmp-1-abc").mkdir()
    clear_unfinished(tmp_path)
    assert latest(tmp_path) is not None
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]


def test_only_folders_that_are_named_after_a_step_are_checkpoints(tmp_path: Path) -> None:
    folder = write(tmp_path, 7)
    for name in ("step-", "step-x", "step-x1", "step-7-copy", "damaged-step-000008-abc"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-000009").write_text("a file")
    assert committed(tmp_path) == [folder]


def test_steps_are_numbers_not_words(tmp_path: Path) -> None:
    for step in (999_999, 1_000_000):
        write(tmp_path, step)
    prune(tmp_path, 1)
    found = latest(tmp_path)
    assert found is not None
    assert found.step == 1_000_000


def test_a_damaged_newest_checkpoint_is_told_and_set_aside(tmp_path: Path) -> None:
    for step in (1, 2):
        write(tmp_path, step)
    (tmp_path / "step-000002" / "state.json").write_text("{}")
    said: list[str] = []
    latest(tmp_path, fallback=True, say=said.append)
    assert "state.json" in said[0]
    assert "the older step-000001 is used instead" in said[0]
    assert [path.name.startswith("damaged-step-000002") for path in set_aside_damaged(tmp_path)] == [True]
    assert [path.name for path in committed(tmp_path)] == ["step-000001"]


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"files": [], "step": 1}', '{"files": {"a": 1}, "step": 1}', '{"files": {}, "step": "x"}']
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    folder = write(tmp_path)
    (folder / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match="is no manifest"):
        verified(folder)
