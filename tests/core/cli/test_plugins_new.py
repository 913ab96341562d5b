"""cdkit plugins new: what it writes passes its own tests, and every check, before anybody changes a line of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cdkit.cli.plugins import WHAT
from cdkit.cli.plugins import command as plugins
from cdkit.errors import UsageError
from cdkit.scaffold import KINDS, UNSAID, scaffold
from cdkit.spec.read import read_spec
from click.testing import CliRunner, Result

CLI = "from cdkit.cli.app import main; main()"


def new(*arguments: str) -> Result:
    return CliRunner().invoke(plugins, ["new", *arguments])


def installed(folder: Path, site: Path) -> dict[str, str]:
    """The environment in which the package is installed, as an editable installation leaves it: its source and its metadata."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    needs = "".join(f"Requires-Dist: {need}\n" for need in project["dependencies"])
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n{needs}"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    points = "".join(f"{name} = {value}\n" for name, value in project["entry-points"]["cdkit"].items())
    (info / "entry_points.txt").write_text(f"[cdkit]\n{points}", encoding="utf-8")
    paths = os.pathsep.join((str(site), str(folder / "src"), os.environ.get("PYTHONPATH", "")))
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


def ran(*command: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


OFTEN = ("text_encoder", "injector")  # tried at every run of the tests; the others by `make slow`, ten seconds each


@pytest.mark.slow
@pytest.mark.parametrize("what", [pytest.param(what, marks=[] if what in OFTEN else [pytest.mark.slow]) for what in WHAT])
def test_what_is_written_is_green(what: str, tmp_path: Path) -> None:
    """Its own tests pass at the first pytest, and so does every check from a shell."""
    name = f"my-{what.replace('_', '-')}"
    said = new(name, "--kind", what, "--out", str(tmp_path)).output
    folder = tmp_path / name
    assert f"cd {folder} && pip install -e '.[dev]' && pytest" in said
    environment = installed(folder, tmp_path / "site")
    tested = ran("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=folder, environment=environment)
    assert " passed" in tested
    assert "failed" not in tested
    checked = ran("-c", CLI, "plugins", "check", name, folder=folder, environment=environment)
    assert checked.startswith(f"passed   {KINDS[what]}.{name} ")


def test_the_command_offers_what_there_are_templates_for() -> None:
    assert set(WHAT) == set(KINDS)


@pytest.mark.parametrize("what", [what for what in WHAT if what not in UNSAID])
def test_the_readme_names_files_that_are_there(what: str, tmp_path: Path) -> None:
    folder = scaffold("cdkit-mine", what, tmp_path)
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "specs/mine.yaml" in readme
    assert (folder / "specs" / "mine.yaml").is_file()
    assert (folder / "src" / "cdkit_mine" / "__init__.py").is_file()
    assert "$" not in readme.replace("\n$ ", "\n")
    spec, said = (folder / "specs" / "mine.yaml").read_text(encoding="utf-8"), "a bright one" if what == "dataset" else "seven"
    assert "--out runs/mine" in spec
    assert f'cdkit sample runs/mine --prompt "{said}"' in readme
    assert what == "encoder" or said in spec, "it is drawn in training too"


def test_a_name_that_no_package_can_have_is_refused(tmp_path: Path) -> None:
    for name in ("My-Encoder", "1st", "a--b", "../x", "class", ""):
        with pytest.raises(UsageError, match="is no name for a package"):
            scaffold(name, "sampler", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(UsageError, match=r"mine exists already; nothing was written"):
        scaffold("mine", "sampler", tmp_path)


def test_the_first_spec_of_init_is_read(tmp_path: Path) -> None:
    from cdkit.scaffold.first import first_spec

    (tmp_path / "digits.yaml").write_text(first_spec(), encoding="utf-8")
    assert read_spec(tmp_path / "digits.yaml").name == "digits"
