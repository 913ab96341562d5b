"""cdkit deps: who provides each part of a spec, and what to install where nobody does, without an import or a network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cdkit.cli.app import cdkit
from cdkit.errors import PluginError
from cdkit.registry import Registry
from cdkit.registry.catalogue import catalogue
from cdkit.spec import SpecErrors, read_spec
from cdkit.spec.deps import needs
from click.testing import CliRunner

SPECS = Path(__file__).parents[3] / "specs"
SHIPPED = sorted(SPECS.glob("*.yaml"))
STRANGE = """
cdkit: 1
name: strange
sample: {channels: 1, height: 8, width: 8}
conditions:
  text: {use: cdkit-wordllama/wordllama, dim: 64}
  label: {use: labels}
injectors:
  - {use: cross_attention, streams: [text]}
backbone: {use: unet, width: 16}
"""


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    path = tmp_path / "strange.yaml"
    path.write_text(STRANGE, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_our_specs_need_what_reading_them_takes(path: Path) -> None:
    assert {need.part: need.provider for need in needs(path)} == read_spec(path).provenance


def test_who_is_named_is_what_to_install(strange: Path) -> None:
    found = {need.part: need for need in needs(strange)}
    assert found["encoder.cdkit-wordllama/wordllama"].wanted == "cdkit-wordllama"
    assert str(found["encoder.cdkit-wordllama/wordllama"].place) == f"{strange}:6:15"
    assert found["encoder.labels"].wanted == ""
    assert "did you mean 'label' (cdkit==" in found["encoder.labels"].problem
    assert found["backbone.unet"].provider.startswith("cdkit==")


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package, installed as pip would leave it, that knows of two parts and would not survive an import."""
    (home := tmp_path / "site" / "cdkit_lists").mkdir(parents=True)
    (home / "__init__.py").write_text("raise SystemExit\n", encoding="utf-8")
    parts = {"encoder.labels": "cdkit-labels>=2", "injector.cross_attention": "cdkit-thief", "encoder.odd": ["no", "text"]}
    (home / "catalogue.json").write_text(json.dumps(parts), encoding="utf-8")
    (info := home.parent / "cdkit_lists-1.dist-info").mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cdkit-lists\nVersion: 1\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[cdkit.catalogue]\nlists = cdkit_lists\n", encoding="utf-8")
    monkeypatch.syspath_prepend(home.parent)
    return home / "catalogue.json"


def test_a_catalogue_says_what_to_install(strange: Path, listed: Path) -> None:
    found = {need.part: need for need in needs(strange)}
    assert found["encoder.labels"].wanted == "cdkit-labels>=2"
    assert found["injector.cross_attention"].provider.startswith("cdkit=="), "what is here is not looked up"
    with pytest.raises(SpecErrors) as caught:
        read_spec(strange)
    assert "pip install cdkit-labels>=2" in [problem.hint for problem in caught.value.problems]
    listed.write_text("{", encoding="utf-8")
    assert {need.part: need for need in needs(strange)}["encoder.labels"].wanted == ""


def test_what_the_shipped_catalogue_lists_is_no_part_of_ours() -> None:
    known = catalogue()
    registry = Registry.installed()
    ours = {f"{record.entry.kind}.{record.entry.name}" for record in registry.records() if record.entry.dist == "cdkit"}
    assert {"encoder.wordllama", "encoder.openclip", "injector.hypernet"} <= set(known)
    assert not ours & set(known)


def test_a_run_remembers_whom_it_needs(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(STRANGE, encoding="utf-8")
    (tmp_path / "versions.json").write_text(json.dumps({"parts": {"encoder.labels": "cdkit-labels==0.3"}}), encoding="utf-8")
    assert {need.part: need.wanted for need in needs(tmp_path)}["encoder.labels"] == "cdkit-labels==0.3"
    (tmp_path / "versions.json").write_text("{", encoding="utf-8")
    assert {need.part: need.wanted for need in needs(tmp_path)}["encoder.labels"] == ""


def test_the_command_says_so_and_exits_with_4(strange: Path) -> None:
    out = CliRunner().invoke(cdkit, ["deps", str(strange)])
    lines = {line.split()[0]: line for line in out.output.splitlines()}
    assert lines["encoder.cdkit-wordllama/wordllama"].endswith("missing: pip install cdkit-wordllama")
    assert isinstance(out.exception, PluginError)
    assert out.exception.exit_code == 4
    assert str(out.exception) == f"{strange}: 2 of 4 parts are not installed"
    assert out.exception.hint == "pip install cdkit-wordllama"
    assert CliRunner().invoke(cdkit, ["deps", str(strange), "--missing"]).output == "cdkit-wordllama\n"
    whole = CliRunner().invoke(cdkit, ["deps", str(SPECS / "digits.yaml"), "--json"])
    assert whole.exit_code == 0
    assert all(row["provider"] for row in json.loads(whole.output))


def test_no_plugin_is_imported(strange: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom cdkit.spec.deps import needs\n"
        f"needs(Path({str(strange)!r}))\n"
        "print(sorted({'torch', 'transformers', 'pydantic'} & set(sys.modules)), "
        "[name for name in sys.modules if name.startswith('cdkit_')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n"
