"""cdkit convert: nothing is guessed in silence, nothing is dropped unsaid, and what cannot be said is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from cdkit.cli.app import cdkit
from cdkit.cli.failures import failed
from cdkit.engine.convert import Told, convert
from cdkit.engine.run import Run
from cdkit.errors import CdkitError, CheckpointError, UsageError
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:safetensors.*")


def converted(source: Path, target: Path, **how: Any) -> list[str]:
    """The lines that a conversion says."""
    lines: list[str] = []
    to = how.pop("to", None)
    convert(source, target, to=to, told=Told(**how), say=lines.append)
    return [line.strip() for line in lines]


@pytest.fixture(scope="module")
def single(sd1: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny pipeline as one file of CompVis' names."""
    folder = tmp_path_factory.mktemp("single")
    converted(sd1, folder / "run")
    converted(folder / "run", folder / "tiny.safetensors")
    return folder / "tiny.safetensors"


def changed(single: Path, target: Path, change: Any) -> Path:
    tensors = load_file(single)
    change(tensors)
    save_file(tensors, target)
    return target


def test_the_whole_circle_changes_no_bit(sd1: Path, single: Path, tmp_path: Path) -> None:
    said = converted(single, tmp_path / "again", tokenizer=sd1 / "tokenizer")
    assert "architecture: a U-Net like Stable Diffusion's; 8 heads, which no shape tells" in said
    assert "304 tensors read back bit-equal" in said
    assert any(line.startswith("the network's answer is the same, and finite: rms 0.") for line in said)
    converted(tmp_path / "again", tmp_path / "back")
    for name in ("unet", "vae"):
        file = Path(name) / "diffusion_pytorch_model.safetensors"
        theirs, ours = load_file(sd1 / file), load_file(tmp_path / "back" / file)
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(theirs[key], ours[key]) for key in theirs)
    converted(tmp_path / "again", tmp_path / "last.safetensors")
    first, last = load_file(single), load_file(tmp_path / "last.safetensors")
    assert first.keys() == last.keys()
    assert all(torch.equal(first[key], last[key]) for key in first)


def test_a_run_can_be_moved(sd1: Path, tmp_path: Path) -> None:
    """Its text encoder and its autoencoder are named beside the spec, wherever that lies."""
    converted(sd1, tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    spec = yaml.safe_load((tmp_path / "elsewhere" / "spec.yaml").read_text())
    assert (spec["conditions"]["text"]["model"], spec["autoencoder"]["model"]) == ("here:text_encoder", "here:vae")
    found = Run.open(tmp_path / "elsewhere").spec()
    assert found.conditions["text"].part.keywords["model"] == str(tmp_path / "elsewhere" / "text_encoder")
    out = CliRunner().invoke(
        cdkit, ["sample", str(tmp_path / "elsewhere"), "-p", "a cat", "--steps", "2", "--out", str(tmp_path / "o")]
    )
    assert out.exit_code == 0, out.output


def test_averaged_and_raw_weights_are_told_apart(single: Path, tmp_path: Path) -> None:
    def with_average(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.startswith("model.")]:
            tensors["model_ema." + name.removeprefix("model.").replace(".", "")] = tensors[name] * 2
        tensors |= {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(3), "betas": torch.zeros(3)}

    both = changed(single, tmp_path / "both.safetensors", with_average)
    said = converted(both, tmp_path / "averaged")
    assert "weights: averaged (EMA); the file holds raw ones too (--weights raw)" in said
    said = converted(both, tmp_path / "raw", averaged=False)
    assert "weights: raw; the file holds averaged ones too (--weights ema)" in said
    weights = [Run.open(tmp_path / name).latest() for name in ("averaged", "raw")]
    averaged, raw = (checkpoint.tensors("backbone") for checkpoint in weights if checkpoint)
    assert all(torch.equal(averaged[name], 2 * raw[name]) for name in raw)
    with pytest.raises(UsageError, match="holds no averaged weights"):
        converted(single, tmp_path / "none", averaged=True)
    assert "weights: one set; the file does not say whether they are averaged" in converted(single, tmp_path / "one")

    def halved(tensors: dict[str, torch.Tensor]) -> None:
        with_average(tensors)
        del tensors["model_ema.diffusion_modelout2bias"]

    with pytest.raises(CheckpointError, match=r"averaged weights lack 1 tensors, such as out\.2\.bias"):
        converted(changed(single, tmp_path / "half.safetensors", halved), tmp_path / "half")


@pytest.mark.parametrize(
    ("stranger", "message"),
    [
        (
            "model.diffusion_model.motion.0.weight",
            r"1 tensors belong to no part of Stable Diffusion: model\.diffusion_model\.motion",
        ),
        ("control_model.input_blocks.0.0.weight", r"1 tensors belong to no part of Stable Diffusion: control_model"),
        ("first_stage_model.quantize.embedding", r"first_stage_model\.quantize"),
    ],
)
def test_tensors_without_a_place_are_refused(stranger: str, message: str, single: Path, tmp_path: Path) -> None:
    file = changed(single, tmp_path / "odd.safetensors", lambda tensors: tensors.update({stranger: torch.zeros(2)}))
    with pytest.raises(CheckpointError, match=message):
        converted(file, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["odd.safetensors"], "a refused conversion leaves nothing behind"


def test_a_missing_tensor_is_refused(single: Path, tmp_path: Path) -> None:
    file = changed(single, tmp_path / "less.safetensors", lambda t: t.pop("model.diffusion_model.out.2.bias"))
    with pytest.raises(CheckpointError, match=r"1 tensors are not those of the spec's network, such as out\.bias"):
        converted(file, tmp_path / "run")


def test_sharded_and_half_precision_folders(sd1: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(sd1, tmp_path / "sharded")
    unet = tmp_path / "sharded" / "unet"
    whole = load_file(unet / "diffusion_pytorch_model.safetensors")
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    names = sorted(whole)
    shards = {"a-00001-of-00002.safetensors": names[:100], "a-00002-of-00002.safetensors": names[100:]}
    for file, keys in shards.items():
        save_file({key: whole[key].half() for key in keys}, unet / file)
    index = {"weight_map": {key: file for file, keys in shards.items() for key in keys}}
    (unet / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    said = converted(tmp_path / "sharded", tmp_path / "run")
    assert "U-Net: 304 tensors in diffusion_pytorch_model.safetensors.index.json" in said
    checkpoint = Run.open(tmp_path / "run").latest()
    assert checkpoint is not None
    assert {value.dtype for value in checkpoint.tensors("backbone").values()} == {torch.float16}
    index["weight_map"][names[0]] = "../../elsewhere.safetensors"
    (unet / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="is no index of shards that lie beside it"):
        converted(tmp_path / "sharded", tmp_path / "other")


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("unet", "center_input_sample", True, "center_input_sample is True; this U-Net computes False"),
        ("unet", "flip_sin_to_cos", False, "flip_sin_to_cos is False; this U-Net computes True"),
        ("unet", "attention_head_dim", [8, 16], r"\[8, 16\] heads"),
        ("scheduler", "beta_schedule", "exotic", "'beta_schedule': 'exotic'"),
        ("scheduler", "trained_betas", [0.1], r"'trained_betas': \[0.1\]"),
    ],
)
def test_what_ours_does_not_compute_is_refused(part: str, key: str, value: Any, message: str, sd1: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(sd1, tmp_path / "odd")
    path = tmp_path / "odd" / part / ("config.json" if part == "unet" else "scheduler_config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    if key == "attention_head_dim":  # one width of a head: accepted, and not the same network
        converted(tmp_path / "odd", tmp_path / "run")
        assert Run.open(tmp_path / "run").spec().backbone.options["head_dim"] == 4
        return
    with pytest.raises(CdkitError, match=message):
        converted(tmp_path / "odd", tmp_path / "run")


EXPRESSIBLE = [
    ("injectors.cross_attention.padding=mask", "`padding: mask`, but Stable Diffusion's pipelines attend to padding"),
    ("injectors.cross_attention.sites=[mid*]", r"confined to \['mid\*'\]"),
    ("backbone.groups=24", "different numbers of groups"),
    ("diffusion.schedule=flow", "none that this pipeline can say"),
]


@pytest.mark.parametrize(("change", "message"), EXPRESSIBLE)
@pytest.mark.parametrize("target", ["back", "one.safetensors"])
def test_what_they_cannot_say_is_refused(change: str, message: str, target: str, sd1: Path, tmp_path: Path) -> None:
    if "flow" in change and target == "one.safetensors":
        pytest.skip("a single file holds no process")
    converted(sd1, tmp_path / "run")
    path = tmp_path / "run" / "spec.yaml"
    text = path.read_text()
    replaced = {
        "padding=mask": ("padding: attend", "padding: mask"),
        "sites=[mid*]": ("sites: ['*']", "sites: ['mid*']"),
        "groups=24": ("groups: 32", "groups: 24"),
        "schedule=flow": ("{schedule: scaled_linear, prediction: epsilon", "{schedule: flow, prediction: flow"),
    }[change.partition(".")[2].removeprefix("cross_attention.")]
    assert replaced[0] in text
    path.write_text(text.replace(*replaced))
    with pytest.raises(UsageError, match=message):
        converted(tmp_path / "run", tmp_path / target)
    assert not (tmp_path / target).exists()


def test_a_run_of_ours_is_not_stable_diffusion(tmp_path: Path) -> None:
    runner = CliRunner()
    spec = Path(__file__).parents[3] / "specs" / "digits.yaml"
    assert runner.invoke(cdkit, ["build", str(spec), "--out", str(tmp_path / "digits")]).exit_code == 0
    with pytest.raises(UsageError, match="no place for the injector 'film'"):
        converted(tmp_path / "digits", tmp_path / "back")


def test_sd2_has_two_kinds_of_one_shape(tmp_path: Path, sd1_of: Any) -> None:
    folder = sd1_of(tmp_path / "sd2", use_linear_projection=True, attention_head_dim=(2, 4))
    converted(folder, tmp_path / "run")
    with pytest.raises(UsageError, match="a single file holds no configuration"):
        converted(tmp_path / "run", tmp_path / "one.safetensors")


def test_pickles_only_on_demand_and_only_tensors(single: Path, sd1: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": load_file(single), "epoch": 3}, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError) as caught:
        converted(tmp_path / "model.ckpt", tmp_path / "run")
    assert "--unsafe-pickle-import" in caught.value.hint
    runner = CliRunner()
    words = ["convert", str(tmp_path / "model.ckpt"), str(tmp_path / "run"), "--unsafe-pickle-import"]
    done = runner.invoke(cdkit, [*words, "--tokenizer", str(sd1 / "tokenizer")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert f"{len(load_file(single))} tensors; 0 other values were dropped" in done.output
    assert "304 tensors read back bit-equal" in done.output


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("owned"),))


def test_a_pickle_that_wants_more_than_tensors_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": torch.zeros(1)}, "callback": Evil()}, "evil.ckpt")
    done = CliRunner().invoke(cdkit, ["convert", "evil.ckpt", "run", "--unsafe-pickle-import"])
    assert isinstance(done.exception, CheckpointError)
    assert failed(done.exception, debug=False) == 6
    assert "cannot be read as tensors alone" in str(done.exception)
    assert not Path("owned").exists()
    assert not Path("run").exists()


def test_nothing_is_overwritten_and_unknown_sources_are_named(sd1: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="is there already"):
        converted(sd1, tmp_path / "there")
    with pytest.raises(CheckpointError, match="no such file or folder; formats: compvis, diffusers"):
        converted(tmp_path / "nowhere", tmp_path / "run")
    with pytest.raises(CheckpointError, match="neither a run nor of any format that is installed; formats: compvis, diffusers"):
        converted(tmp_path / "there", tmp_path / "run")


def test_json_says_what_the_lines_say(sd1: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cdkit, ["convert", str(sd1), str(tmp_path / "run"), "--json"], catch_exceptions=False)
    told = json.loads(done.stdout)
    assert told["target"] == str(tmp_path / "run")
    assert "304 tensors read back bit-equal" in told["notes"]
