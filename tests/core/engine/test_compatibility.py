"""Runs of every checkpoint schema that was ever released: read, drawn with and trained on, for good.

A fixture is the tiny run of conftest.py at step 4, left by the cdkit that wrote that schema first, and what it drew then.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from shutil import copytree

import pytest
import torch
from cdkit.engine.checkpoint import MANIFEST, SCHEMA
from cdkit.engine.load import load
from cdkit.engine.run import Run
from cdkit.engine.train import train
from cdkit.engine.verify import verify
from cdkit.spec import read_spec

RUNS = Path(__file__).parents[2] / "fixtures" / "runs"
MANIFESTS = {
    1: "6a76356999f38c756af73e970b100f34326b4dbbddcf3a4408f783513307c9b0",
    2: "49a81391d066b29dbf3b3b18cfe07fa5d2db74b7594baa93855d0914c1afbd3f",
}  # as they were committed


def test_every_schema_has_its_fixture() -> None:
    assert list(MANIFESTS) == list(range(1, SCHEMA + 1))
    assert sorted(path.name for path in RUNS.iterdir()) == sorted(f"schema-{schema}" for schema in MANIFESTS)


@pytest.mark.parametrize("schema", MANIFESTS)
def test_an_old_run_is_what_it_was(schema: int) -> None:
    run = Run(RUNS / f"schema-{schema}")
    manifest = run.checkpoints / "step-000004" / MANIFEST
    assert hashlib.sha256(manifest.read_bytes()).hexdigest() == MANIFESTS[schema]
    assert verify(run).problems == []
    drawn = load(run.path, device="cpu").sample(["three", "seven"], seed=5).images
    expected = torch.tensor(json.loads((run.path / "expected.json").read_text()))
    assert torch.allclose(drawn.flatten(), expected, atol=1e-3)


@pytest.mark.parametrize("schema", MANIFESTS)
def test_an_old_run_is_trained_on(schema: int, tmp_path: Path) -> None:
    run = copytree(RUNS / f"schema-{schema}", tmp_path / "run")
    spec = read_spec(run / "spec.yaml", overrides=["train.steps=6"])
    said: list[str] = []
    assert train(spec, run, override=True, device="cpu", say=said.append).latest().step == 6  # pyright: ignore[reportOptionalMemberAccess]
    assert "going on at step 4 of 6" in said[0]
