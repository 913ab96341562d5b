"""evaluate, on a model whose every answer is known: it draws the class that it is told, at the brightness of the guidance.

The data set holds bright and dark pictures; the network predicts the clean picture by putting out what its one tap says.
So the true caption has no loss at all, the other one has (1 - -1)^2 = 4, and silence has 1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from cdkit.build import assemble
from cdkit.engine.drawings import Drawings
from cdkit.engine.evaluate import evaluate, make_dataset, make_metrics, write_reports
from cdkit.engine.examinee import Examined
from cdkit.engine.scores import lines
from cdkit.errors import EnvironmentFault, UsageError
from cdkit.model import Model
from cdkit.parts import (
    Backbone,
    Dataset,
    Denoise,
    Encoder,
    Examinee,
    Example,
    Grid,
    Guider,
    Metric,
    Mount,
    SampleShape,
    Signals,
    Site,
    Stream,
    Tap,
    Widths,
)
from cdkit.registry import Registry
from cdkit.spec import Spec, read_spec
from torch import Tensor, nn

SHAPE = (1, 4, 4)
VALUE = {"bright": 1.0, "dark": -1.0}


class Brightness(Encoder):
    """A class name -> +1 or -1; silence is 0."""

    widths = Widths(pooled=1)

    def forward(self, raw: Sequence[Any]) -> Stream:
        return Stream(pooled=torch.tensor([[VALUE[name]] for name in raw]))

    def null(self, n: int) -> Stream:
        return Stream(pooled=torch.zeros(n, 1))

    def examples(self) -> tuple[str, str]:
        return "bright", "dark"


class Paint(Tap):
    """Puts the brightness on every pixel."""

    def prepare(self, *streams: Stream) -> Any:
        return streams[0].pooled

    def forward(self, h: Tensor, signal: Any, emb: Tensor) -> Tensor:
        del emb
        return h + signal[:, :, None, None]


class Painter:
    def __init__(self, streams: tuple[str, ...], widths: tuple[Widths, ...]) -> None:
        self.streams, self.widths = streams, widths

    def tap(self, site: Site) -> Tap | None:
        del site
        return Paint()


class Canvas(Backbone):
    """Puts out what its one slot paints on black, or `echo` times the noisy picture."""

    def __init__(self, mount: Mount, sample: SampleShape, *, echo: float = 0.0) -> None:
        super().__init__()
        self.slot = mount(Site("input", "input", "map", sample.channels, 1, 1))
        self.nothing = nn.Parameter(torch.zeros(1))
        self.echo = echo

    def forward(self, x: Tensor, t: Tensor, signals: Signals) -> Tensor:
        return self.slot(self.echo * x + self.nothing, signals, t[:, None])


@dataclass(frozen=True)
class Last:
    """Asks the denoiser once."""

    def __call__(self, denoise: Denoise, x: Tensor, grid: Grid, generators: Sequence[torch.Generator]) -> Tensor:
        del grid, generators
        return denoise(x, 0)


class Dimmer(Guider):
    """`scale` times what it says, told less silent."""

    def __init__(self, *, scale: float = 1.0) -> None:
        self.scale = scale

    def branches(self, conditions: Sequence[str], grid: Grid, index: int) -> Sequence[frozenset[str]]:
        del grid, index
        return [frozenset(), frozenset(conditions)]

    def combine(self, clean: Sequence[Tensor], grid: Grid, index: int) -> Tensor:
        del grid, index
        return clean[1] + self.scale * (clean[0] - clean[1])


class Lamps(Dataset):
    columns = ("label",)
    shape = SampleShape(*SHAPE)
    classes = ("bright", "dark")

    def split(self, name: Literal["train", "validation", "test"]) -> Sequence[Example]:
        kinds = [self.classes[i % 2] for i in range(6)]
        return [Example(f"{name}-{i}", torch.full(SHAPE, VALUE[kind]), {"label": (kind,)}) for i, kind in enumerate(kinds)]

    def fingerprint(self) -> str:
        return "lamps"


@dataclass(frozen=True, kw_only=True)
class Glow(Metric):
    """The mean brightness of what is drawn for "bright"."""

    pictures: int = 3
    language: str = "en"
    split: Literal["validation", "test"] = "test"

    def __call__(self, examinee: Examinee) -> Mapping[str, Any]:
        images = examinee.draw({"label": ["bright"] * self.pictures, "text": ["?"] * self.pictures}, list(range(self.pictures)))
        examinee.say("glowing")
        return {"glow": float(images.mean()), "n": len(images)}


@dataclass(frozen=True, kw_only=True)
class Tally(Metric):
    """A share, for the tables."""

    def __call__(self, examinee: Examinee) -> Mapping[str, Any]:
        del examinee
        share = {"share": 0.5, "interval": [0.25, 0.75], "n": 8, "count": 4}
        return {"hits": share, "classes": {"bright": share}, "confused": [{"said": "dark", "n": 1}], "seeds": [0, 1]}


REGISTRY = Registry.installed().extended(
    {
        ("encoder", "brightness"): Brightness,
        ("injector", "painter"): Painter,
        ("backbone", "canvas"): Canvas,
        ("sampler", "last"): Last,
        ("guider", "dimmer"): Dimmer,
        ("dataset", "lamps"): Lamps,
        ("metric", "glow"): Glow,
        ("metric", "tally"): Tally,
    }
)
TEXT = """
cdkit: 1
name: lamp
sample: {channels: 1, height: 4, width: 4}
conditions:
  label: {use: brightness}
injectors:
  - {use: painter, streams: [label]}
backbone: {use: canvas}
diffusion: {schedule: cosine, prediction: sample}
guidance: {use: dimmer}
sampler: {use: last, steps: 2}
data: {use: lamps}
evaluate:
  - {use: glow, pictures: 5}
"""


def spec_of(*overrides: str) -> Spec:
    return read_spec(TEXT, overrides=overrides, registry=REGISTRY)


def model_of(*overrides: str) -> Model:
    model = assemble(spec_of(*overrides))
    model.ledger.record("label", torch.tensor([True, False]))
    return model


@pytest.fixture
def examined(tmp_path: Path) -> Examined:
    return Examined(model_of(), Lamps(), tmp_path, tell=lambda _: None)


def test_draws_what_it_is_told_and_ignores_what_it_does_not_read(examined: Examined) -> None:
    values = {"text": ["?", "?", "?"], "label": ["bright", "dark", "bright"]}
    images = examined.draw(values, [5, 6, 7])
    assert images.shape == (3, *SHAPE)
    assert torch.equal(images.mean((1, 2, 3)), torch.tensor([1.0, -1.0, 1.0]))


def test_guidance_is_the_calls_then_the_examinations_then_the_specs(examined: Examined) -> None:
    values = {"label": ["bright"]}
    assert examined.draw(values, [0], guidance=0.25).mean() == 0.25
    examined.guidance = 0.5
    assert examined.draw(values, [0]).mean() == 0.5
    assert examined.draw(values, [0], guidance=0.25).mean() == 0.25


def test_metrics_that_ask_for_the_same_share_one_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, drawn = model_of(), list[Any]()
    sample = model.sample

    def counted(*args: Any, **options: Any) -> Any:
        drawn.append(options["guidance"])
        return sample(*args, **options)

    monkeypatch.setattr(model, "sample", counted)
    examined = Examined(model, Lamps(), tmp_path, drawings=Drawings())
    again, stronger = replace(examined), replace(examined, guidance=0.5)
    values = {"label": ["bright", "dark"], "text": ["?", "!"]}
    images = [one.draw(values, [1, 2]) for one in (examined, again, stronger, stronger)]
    assert drawn == [None, 0.5]
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[2], 0.5 * images[0])


def test_a_model_that_is_told_nothing_it_reads_is_not_judged_on_silence(examined: Examined) -> None:
    with pytest.raises(UsageError, match=r"lamp reads label, and the metric tells it text, text\.en") as caught:
        examined.draw({"text": ["a cat"], "text.en": ["a cat"]}, [0])
    assert "--language" in caught.value.hint


def test_an_unconditional_model_draws_as_many_as_there_are_seeds(tmp_path: Path) -> None:
    bare = TEXT.replace("conditions:\n  label: {use: brightness}\ninjectors:\n  - {use: painter, streams: [label]}\n", "")
    model = assemble(read_spec(bare.replace("guidance: {use: dimmer}\n", ""), registry=REGISTRY))
    images = Examined(model, Lamps(), tmp_path).draw({"label": ["bright"] * 4}, [1, 2, 3, 4])
    assert torch.equal(images, torch.zeros(4, *SHAPE))


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_loss_is_what_the_caption_explains_of_the_picture(examined: Examined, level: float) -> None:
    images = torch.stack([torch.full(SHAPE, VALUE[name]) for name in ("bright", "bright", "dark")])
    losses = examined.loss(images, {"label": ["bright", "dark", "dark"]}, level, [1, 1, 2])
    assert losses.tolist() == pytest.approx([0.0, 4.0, 0.0])


def test_equal_seeds_meet_equal_noise_and_others_do_not(tmp_path: Path) -> None:
    examined = Examined(model_of("backbone.echo=1.0"), Lamps(), tmp_path)
    images = torch.ones(4, *SHAPE)
    losses = examined.loss(images, {"label": ["dark"] * 4}, 0.5, [1, 1, 2, 1])
    assert losses[0] == losses[1] == losses[3] != losses[2]


def test_more_noise_is_seen_at_a_higher_level(tmp_path: Path) -> None:
    examined = Examined(model_of("backbone.echo=1.0"), Lamps(), tmp_path)
    n = 64
    means = [
        float(examined.loss(torch.zeros(n, *SHAPE), {"label": ["bright"] * n}, level, list(range(n))).mean())
        for level in (0.05, 0.5, 0.95)
    ]
    sigmas = [examined.model.diffusion.noised(torch.zeros(1), torch.ones(1), torch.tensor([1000 * u])) for u in (0.05, 0.5, 0.95)]
    assert means == pytest.approx([1 + float(sigma) ** 2 for sigma in sigmas], rel=0.1)


def test_the_batch_changes_no_loss_and_no_picture(tmp_path: Path) -> None:
    model = model_of("backbone.echo=0.5")
    whole, pieces = Examined(model, Lamps(), tmp_path), Examined(model, Lamps(), tmp_path, batch=3)
    images, values, seeds = torch.rand(8, *SHAPE), {"label": ["bright", "dark"] * 4}, list(range(8))
    assert torch.allclose(whole.loss(images, values, 0.4, seeds), pieces.loss(images, values, 0.4, seeds), atol=1e-6)
    assert torch.allclose(whole.draw(values, seeds), pieces.draw(values, seeds), atol=1e-6)


def test_a_report_tells_how_to_get_its_figures_again(examined: Examined) -> None:
    [report] = evaluate(examined, make_metrics(examined.model.spec))
    assert report["scores"][0]["result"] == {"glow": 1.0, "n": 5}
    assert report["options"] == {"pictures": 5, "language": "en", "split": "test"}
    assert report["spec"] == examined.model.spec.digest()
    assert report["data"] == {"use": "lamps", "fingerprint": "lamps"}
    assert report["versions"]["torch"] == torch.__version__
    assert report["versions"]["metric.glow"] == "in-memory"
    assert report["scores"][0]["recipe"]["steps"] == 2
    assert json.loads(json.dumps(report)) == report


def test_a_sweep_scores_every_scale_and_leaves_the_model_as_it_was(examined: Examined) -> None:
    [report] = evaluate(examined, make_metrics(examined.model.spec), scales=(0.25, 0.5, 1.0))
    assert [score["result"]["glow"] for score in report["scores"]] == [0.25, 0.5, 1.0]
    assert examined.guidance is None
    head, titles, *rows = lines(report)
    assert head == "glow of lamp"
    assert titles.split() == ["guidance", "glow"]
    assert [row.split() for row in rows] == [["0.25", "0.25"], ["0.5", "0.5"], ["1", "1"]]


def test_options_asked_for_replace_the_specs_in_the_metrics_that_take_them() -> None:
    spec = spec_of()
    asked = make_metrics(spec, ("glow", "tally"), options={"pictures": 7, "split": "validation", "seed": None})
    assert [one.name for one in asked] == ["glow", "tally"]
    assert asked[0].options == {"pictures": 7, "language": "en", "split": "validation"}
    assert [one.file for one in asked] == ["glow-en-validation", "tally"]


def test_an_option_that_no_metric_takes_is_refused() -> None:
    with pytest.raises(UsageError, match="no metric asked for takes 'pictures'"):
        make_metrics(spec_of(), ("tally",), options={"pictures": 7})


def test_an_unknown_metric_is_named_with_its_neighbour() -> None:
    with pytest.raises(ValueError, match="glov"):
        make_metrics(spec_of(), ("glov",))


def test_a_spec_without_data_or_metrics_says_so() -> None:
    bare = read_spec(TEXT.split("data:")[0], registry=REGISTRY)
    with pytest.raises(UsageError, match="lamp has no `data:`"):
        make_dataset(bare)
    with pytest.raises(UsageError, match="lamp has no `evaluate:`"):
        make_metrics(bare)
    assert isinstance(make_dataset(spec_of()), Lamps)


def test_reports_are_files_that_replace_older_ones_and_not_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "evaluation"
    for turn in (1, 2):
        paths = write_reports([{"turn": turn, "word": "猫"}, {"turn": -turn}], ["glow", "glow"], folder)
    assert [path.name for path in paths] == ["glow.json", "glow-2.json"]
    assert [json.loads(path.read_text(encoding="utf-8"))["turn"] for path in paths] == [2, -2]
    assert "猫" in paths[0].read_text(encoding="utf-8")
    assert sorted(path.name for path in folder.iterdir()) == ["glow-2.json", "glow.json"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(EnvironmentFault, match="taken: cannot write the report"):
        write_reports([{}], ["glow"], tmp_path / "taken")


def test_lines_show_every_figure(examined: Examined) -> None:
    [report] = evaluate(examined, make_metrics(examined.model.spec, ("tally",)))
    shown = lines(report)
    assert shown[0].startswith("tally of lamp by Last(), 2 steps")
    assert shown[1:] == [
        "  hits      50.00 % [25.00 %, 75.00 %] of 8",
        "  classes",
        "    bright  50.00 % [25.00 %, 75.00 %] of 8",
        "  confused",
        "    said dark n 1",
        "  seeds     0, 1",
    ]


def test_say_reaches_whoever_listens(tmp_path: Path) -> None:
    said: list[str] = []
    tell: Callable[[str], None] = said.append
    examined = Examined(model_of(), Lamps(), tmp_path, tell=tell)
    evaluate(examined, make_metrics(examined.model.spec))
    assert said == ["glowing"]
