"""The report as a browser opens it: from disk, without a network, on a phone; and that what it says is what was measured."""

from __future__ import annotations

import base64
import io
import json
import re
import shlex
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import pytest
from cdkit.cli.app import cdkit
from cdkit.compare.acting import longest, maps_of
from cdkit.compare.embed import data
from cdkit.compare.losses import POINTS, losses, split
from cdkit.compare.maps import png
from cdkit.compare.report import report
from cdkit.engine.licences import licences
from cdkit.spec import read_spec
from click.testing import CliRunner
from PIL import Image

PROMPTS = ["seven", "the digit seven", "手写的五"]
BASE = """
cdkit: 1
name: base
sample: {channels: 1, height: 8, width: 8}
conditions:
  text: {use: bytes, dim: 8, depth: 1, heads: 1, dropout: 0.2}
injectors:
  - {use: cross_attention, streams: [text], heads: 1}
  - {use: add, streams: [text]}
backbone: {use: unet, width: 8, mult: [1], blocks: 1, attention: [0], heads: 1}
diffusion: {schedule: cosine, prediction: v}
guidance: {use: cfg, scale: 1.5}
sampler: {use: euler, steps: 2}
data: {use: digits}
train: {steps: 12, batch: 4, lr: 0.01, warmup: 1, log_every: 1, sample_every: 0, checkpoint_every: 12, prompts: [seven]}
"""
COMPARISON = f"""
compare: 1
name: small
base: base.yaml
seeds: [0, 1]
guidance: [1.0]
arms:
  asked:
  none: {{conditions: null, injectors: [], guidance: null, train: {{prompts: null}}}}
score: {{use: identification, pairs: 12, candidates: 4, levels: [0.5]}}
prompts: {json.dumps(PROMPTS, ensure_ascii=False)}
"""


class Made(NamedTuple):
    """A comparison by the command line, and what it left."""

    arguments: list[str]
    folder: Path
    result: dict[str, Any]
    page: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    path = tmp_path_factory.mktemp("of us")
    (path / "base.yaml").write_text(BASE, encoding="utf-8")
    (path / "small.yaml").write_text(COMPARISON, encoding="utf-8")
    arguments = [str(path / "small.yaml"), "--out", str(path / "out"), "--device", "cpu", "--minutes", "9.5"]
    assert CliRunner().invoke(cdkit, ["compare", *arguments], catch_exceptions=False).exit_code == 0
    folder = path / "out"
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return Made(arguments, folder, result, (folder / "report.html").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_command_can_be_given_again(made: Made) -> None:
    found = re.search(r"<h2>How it was made</h2>\s*<pre>(.*?)</pre>", made.page, re.DOTALL)
    assert found is not None
    assert shlex.split(unescape(found[1])) == ["cdkit", "compare", *made.arguments]


@pytest.mark.slow
def test_where_each_word_acts(made: Made) -> None:
    told = made.result["arms"]["asked"]["words"]
    assert told["prompt"] == "手写的五", "the one of most words"
    assert told["words"] == list("手写的五")
    assert set(told["places"]) == {"attend", "embed"}
    maps = maps_of(made.folder / told["kept"], told)
    assert maps.shape == (4, 4, 8, 8)
    assert maps.max() == pytest.approx(told["most"])
    assert [[float(level.mean()) for level in word] for word in maps] == [pytest.approx(row, rel=1e-3) for row in told["whole"]]
    assert told["most"] > 0
    assert len(re.findall(r'<img class="map" alt="without ', made.page)) == 4 * 4
    assert "none</h3><p>hears nothing.</p>" in made.page


def test_what_was_measured_is_not_measured_again(made: Made) -> None:
    kept = made.folder / made.result["arms"]["asked"]["words"]["kept"]
    told = {**json.loads(kept.read_text(encoding="utf-8")), "sigmas": [4, 3, 2, 1]}
    before = kept.read_text(encoding="utf-8")
    try:
        kept.write_text(json.dumps(told), encoding="utf-8")
        CliRunner().invoke(cdkit, ["compare", *made.arguments], catch_exceptions=False)
        again = json.loads((made.folder / "result.json").read_text(encoding="utf-8"))
        assert again["arms"]["asked"]["words"]["sigmas"] == [4, 3, 2, 1]
    finally:
        kept.write_text(before, encoding="utf-8")


def test_an_arm_of_which_no_word_can_be_left_out_says_why(made: Made) -> None:
    arms = {name: {**arm, "words": {"why": "it was <never> silent"}} for name, arm in made.result["arms"].items()}
    page = report({**made.result, "arms": arms}, made.folder)
    assert "asked</h3><p>it was &lt;never&gt; silent.</p>" in page
    assert "No arm hears a prompt of which a word could be left out" in page


def test_a_map_is_as_bright_as_its_number() -> None:
    import torch

    uri = png(torch.tensor([[0.0, 0.5], [1.0, 7.0]]))
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        assert [picture.getpixel(at) for at in ((0, 0), (1, 0), (0, 1), (1, 1))] == [0, 128, 255, 255]


def test_the_longest_has_most_words() -> None:
    assert longest(["extraordinarily", "a cat", "红色的猫"]) == "红色的猫"


def test_losses_are_means_of_spans(tmp_path: Path) -> None:
    journals = [tmp_path / name / "metrics.jsonl" for name in ("0", "1")]
    for seed, journal in enumerate(journals):
        journal.parent.mkdir()
        lines = [{"step": step, "loss": float(step + seed)} for step in range(1, 201)]
        lines += [{"step": 200, "loss": 0.0}]  # trained again after an interruption
        journal.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    found = losses(journals)
    assert len(found["steps"]) == POINTS
    assert found["steps"][:2] == [4, 8]
    assert found["seeds"][0][:2] == [2.5, 6.5]
    assert found["seeds"][1][0] == 3.5
    assert found["seeds"][0][-1] == fmean([197, 198, 199, 0])
    assert split([1, 2], 4) == [[], [1], [], [2]]


def test_training_is_shown(made: Made) -> None:
    found = made.result["arms"]["asked"]["losses"]
    assert found["steps"] == list(range(1, 13))
    assert [len(seed) for seed in found["seeds"]] == [12, 12]
    assert re.search(r'aria-label="loss over steps, [^"]*: asked ends at [\d.]+; none ends at [\d.]+"', made.page)


def test_licences_are_told_or_said_to_be_untold(made: Made) -> None:
    assert made.result["licences"] == {
        "dataset digits": "CC-BY-4.0 at UCI; scikit-learn's copy comes with a BSD-3-Clause package"
    }
    assert "<td>dataset digits</td><td>CC-BY-4.0 at UCI" in made.page
    unknown = report({**made.result, "licences": {"dataset folder": ""}}, made.folder)
    assert "<td>dataset folder</td><td>not stated</td>" in unknown


def test_of_encoders_those_that_come_trained_are_told(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(BASE, encoding="utf-8")
    trained = ("conditions.more={use: minilm}", "injectors=[{use: add, streams: [text]}, {use: film, streams: [more]}]")
    found = licences([read_spec(spec), read_spec(spec, overrides=(*trained, "data.use=shapes"))])
    assert list(found) == ["dataset digits", "dataset shapes", "encoder minilm"], "`bytes` starts from nothing"
    assert found["encoder minilm"] == "Apache-2.0"


def test_pictures_stand_beside_each_other_prompt_by_prompt(made: Made) -> None:
    """A row a prompt, a column an arm; each is the PNG that lies in the folder, and its prompt is text, in any script."""
    section = made.page.partition("<h2>All pictures</h2>")[2].partition("<h2>")[0]
    lines = re.findall(r"<tr><th scope='row'>([^<]*)</th>(.*?)</tr>", section)
    assert [prompt for prompt, _ in lines] == PROMPTS
    for at, (prompt, line) in enumerate(lines):
        shown = re.findall(r'<img id="([^"]*)" alt="([^"]*)" src="data:image/png;base64,([^"]*)">', line)
        assert [found[:2] for found in shown] == [(f"picture-{arm}-{at}", f"{arm}: {prompt}") for arm in ("asked", "none")]
        for arm, (*_, content) in zip(("asked", "none"), shown, strict=True):
            assert base64.b64decode(content) == (made.folder / made.result["arms"][arm]["pictures"][at]).read_bytes()
    assert re.findall(r"<figcaption>([^<]*)</figcaption></figure>", made.page.partition("shelf'>")[2])[: len(PROMPTS)] == PROMPTS


def test_what_a_score_asks_is_said(made: Made) -> None:
    assert "<strong>identification</strong>: Asks of each picture which of K captions is its own. More is better." in made.page


def test_every_picture_says_what_it_is_and_none_is_elsewhere(made: Made) -> None:
    pictures = re.findall(r"<img[^>]*>", made.page)
    assert pictures
    assert all(" alt=" in picture for picture in pictures)
    assert not re.search(r"(?:src|href)=['\"]?(?!data:)[^'\" >]*[.:/]", made.page)
    assert "default-src 'none'; img-src data:" in made.page
    assert len(made.page.encode()) < 10_000_000


@pytest.mark.parametrize("room", [200_000, 20_000])
def test_a_picture_is_made_to_fit(tmp_path: Path, room: int) -> None:
    """The hardest to compress: noise."""
    import torch

    noise = torch.randint(256, (256, 256, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    path = tmp_path / "noise.png"
    Image.fromarray(noise.numpy()).save(path)
    kind, _, content = data(path, room).partition(",")
    whole = base64.b64decode(content)
    assert kind == ("data:image/png;base64" if room > path.stat().st_size else "data:image/webp;base64")
    assert len(whole) <= room
    with Image.open(io.BytesIO(whole)) as picture:
        assert picture.size == ((256, 256) if room > path.stat().st_size else (128, 128))


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on PATH to open the page with")


def opened(page: Path, *options: str) -> tuple[str, str]:
    """A page after its scripts have run: its DOM, and what the console said."""
    assert CHROMIUM is not None
    quiet = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-pings")
    profile = f"--user-data-dir={page.parent / 'profile'}"
    how = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", profile, *quiet, "--enable-logging=stderr")
    done = subprocess.run(
        [CHROMIUM, *how, "--virtual-time-budget=3000", *options, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@chromium
def test_a_browser_has_nothing_to_complain_about_and_asks_nobody(made: Made, tmp_path: Path) -> None:
    page, log = tmp_path / "report.html", tmp_path / "net.json"
    page.write_text(made.page, encoding="utf-8")
    dom, said = opened(page, f"--log-net-log={log}")
    assert said == ""
    pair = re.search(r'<div class="pair" style="--share: 50%;"><img alt="([^"]*)" src="(data:[^"]*)"><img alt="([^"]*)"', dom)
    assert pair is not None, "the slider's script has run"
    assert (pair[1], pair[3]) == ("asked: seven", "none: seven")
    assert f'<img id="picture-asked-0" alt="asked: seven" src="{pair[2]}">' in dom, "it is the picture of the table"
    asked = re.findall(
        r'"initiator":"(?!not an origin)[^"]*"[^}]*"url":"(?!data:|file:)([^"]*)"', log.read_text(encoding="utf-8")
    )
    assert asked == []


@chromium
def test_a_complaint_would_be_heard(made: Made, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(made.page.replace("<h1>", "<img alt='' src='https://example.org/a.png'><h1>", 1), encoding="utf-8")
    assert "Content Security Policy" in opened(page)[1]


@chromium
@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_wider_than_the_screen(made: Made, tmp_path: Path, width: int) -> None:
    page = tmp_path / "framed.html"
    read = "document.title = document.getElementById('frame').contentDocument.documentElement.scrollWidth"
    frame = f"<iframe id='frame' style='border:0;width:{width}px;height:900px' srcdoc='{escape(made.page, quote=True)}'></iframe>"
    page.write_text(f"<!doctype html><title></title>{frame}<script>onload = () => {{ {read} }};</script>", encoding="utf-8")
    found = re.search(r"<title>(\d+)</title>", opened(page, "--window-size=1400,1000")[0])
    assert found is not None
    assert 0 < int(found[1]) <= width
