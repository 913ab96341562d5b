"""The page of `cdkit demo` in a browser: type "a cat", wait, see a cat; switch the run, save, with a keyboard and on a phone."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import cdkit
import pytest
from browser import Browser, browser, waited
from cdkit.cache import cache_folder
from cdkit.engine.examinee import Examined
from cdkit.errors import CdkitError
from cdkit_metrics.evaluator import evaluator_of
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from .conftest import Checked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SHOTS = "CDKIT_SCREENSHOTS"  # a folder: the pictures of docs/pictures are made by these tests
STANDS = "document.querySelector('#drawn').getAttribute('aria-busy')"
DRAWN = f"return {STANDS} === 'false' && /drawn|画好/.test(document.querySelector('#status').textContent)"
WATCHED = """
window.shown = new Set();
const look = () => document.querySelectorAll("[data-run=animals] .picture[src]").forEach((one) => window.shown.add(one.src));
new MutationObserver(look).observe(document.querySelector("#drawn"), { subtree: true, childList: true, attributes: true });
"""


def shoot(window: Browser, name: str) -> None:
    if folder := os.environ.get(SHOTS):
        window.picture(Path(folder) / f"{name}.png")


def opened(window: Browser, address: str) -> None:
    window.open(address)
    window.wait("return document.querySelectorAll('#runs input').length === 2")


def ask(window: Browser, prompt: str) -> None:
    window.type("#prompt", prompt)
    window.press("enter")
    window.wait(f"return {STANDS} === 'true'")
    window.wait(DRAWN, seconds=300)


def saved(window: Browser, run: str, which: int) -> Image.Image:
    """What a run's link would save."""
    script = "return document.querySelectorAll(`[data-run='${arguments[0]}'] .save`)[arguments[1]].href"
    return Image.open(io.BytesIO(base64.b64decode(window.run(script, run, which).partition(",")[2])))


def seen(picture: Image.Image) -> str:
    """What the evaluator, which learned real animals, takes a picture for."""
    model = cdkit.load("animals", device="cpu")
    assert model.spec.data is not None
    dataset = model.spec.data.factory()(**model.spec.data.keywords)
    try:
        dataset.split("test")
    except CdkitError as error:
        pytest.skip(f"the evaluator needs real animals: {error}")
    evaluator = evaluator_of(Examined(model, dataset, cache_folder()), epochs=8)
    assert evaluator.accuracy.value > 0.9  # of real pictures that it did not learn from; a guess would be a tenth
    image = pil_to_tensor(picture).float().div(127.5).sub(1)
    return evaluator.classes[int(evaluator.recognise(image.unsqueeze(0)))]


@pytest.fixture(scope="module")
def cat(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The window after "a cat" was typed and drawn."""
    with browser(tmp_path_factory.mktemp("window")) as window:
        opened(window, address)
        ask(window, "a cat")
        yield window


def test_the_page_is_clean(cat: Browser, checked: Checked) -> None:
    cat.click("[data-run=animals] .word:last-child input")
    assert "acts" in cat.run("return document.querySelector('[data-run=animals] .veil').alt")
    checked(cat)


def test_every_run_draws_from_the_same_noise(cat: Browser) -> None:
    assert cat.run("return [...document.querySelectorAll('figure')].map((one) => one.dataset.run)") == ["animals", "schema-1"]
    assert cat.run(
        "return [...document.querySelectorAll('.picture')].every((one) => one.alt.includes('a cat') && one.naturalWidth)"
    )


def test_a_cat_was_drawn(cat: Browser) -> None:
    picture = saved(cat, "animals", 0)
    assert picture.size == (28, 28)
    assert json.loads(picture.text["cdkit"])["captions"] == ["a cat"]  # type: ignore[attr-defined]
    assert seen(picture) == "cat"


def test_it_can_be_watched_forming(cat: Browser) -> None:
    script = "return document.querySelector('[data-run=animals] .picture').src"
    last = cat.run(script)
    cat.run(
        "const step = document.querySelector('[data-run=animals] .step'); step.value = 0; step.dispatchEvent(new Event('input'))"
    )
    assert cat.run(script) != last
    assert "Step 1 of 25" in cat.text("[data-run=animals] .moment")
    cat.click("[data-run=animals] .play")
    cat.wait("return document.querySelector('[data-run=animals] .moment').textContent.startsWith('After 25')")
    assert cat.run(script) == last
    assert saved(cat, "animals", 1).n_frames == 25  # type: ignore[attr-defined]


def test_a_picture_is_saved(address: str, tmp_path: Path) -> None:
    with browser(tmp_path) as window:
        window.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        opened(window, address)
        window.click("#runs label:first-child input")  # switch the run: the other one alone
        window.run("document.querySelector('#words').checked = false")
        ask(window, "seven")
        assert window.run("return [...document.querySelectorAll('figure')].map((one) => one.dataset.run)") == ["schema-1"]
        window.click(".save")
        waited(lambda: (tmp_path / "seven.png").is_file(), "seven.png is saved", 20)
        with Image.open(tmp_path / "seven.png") as picture:
            assert picture.size == (8, 8)


def test_one_run_alone(shown: str, tmp_path: Path) -> None:
    with browser(tmp_path, width=820, height=1180) as window:
        opened(window, shown)
        window.click("#runs label:last-child input")
        ask(window, "a cat")
        window.click("[data-run=animals] .word:last-child input")
        window.run("document.querySelector('[data-run=animals] .sigma').value = 1")
        window.run("document.querySelector('[data-run=animals] .sigma').dispatchEvent(new Event('input')); scrollTo(0, 0)")
        assert not window.run("return document.querySelector('[data-run=animals] .veil').hidden")
        shoot(window, "page")


def test_with_a_keyboard_alone(address: str, tmp_path: Path) -> None:
    with browser(tmp_path) as window:
        opened(window, address)
        reached: list[str] = []
        for _ in range(30):
            window.press("tab")
            reached.append(
                window.run("const now = document.activeElement; return now.id || now.className || now.value || now.tagName")
            )
            outline = window.run("return getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none" or reached[-1] == "BODY", reached[-1]
        for name in ("language", "prompt", "draw", "animals", "seed", "other", "steps", "guidance", "sampler", "words"):
            assert name in reached


def test_in_chinese_on_a_phone(address: str, tmp_path: Path, checked: Checked) -> None:
    with browser(tmp_path, width=360, height=760, dark=True) as window:
        opened(window, address)
        window.click("#language")
        ask(window, "一只猫")
        assert window.run("return document.documentElement.lang") == "zh-CN"
        assert window.run("return document.documentElement.scrollWidth") <= 360
        shown = window.run("return document.body.innerText")
        assert "Save" not in shown
        assert "保存图片" in shown
        window.run("document.querySelector('#drawn').scrollIntoView()")
        shoot(window, "page-phone")
        checked(window)


def test_who_wants_no_motion_sees_none(address: str, tmp_path: Path) -> None:
    with browser(tmp_path, reduced=True) as window:
        opened(window, address)
        window.run(WATCHED)
        ask(window, "a cat")
        assert window.run("return window.shown.size") == 1


def test_a_refusal_is_said(address: str, tmp_path: Path) -> None:
    with browser(tmp_path) as window:
        opened(window, address)
        window.run("document.querySelector('#guidance').value = 99; document.querySelector('#form').noValidate = true")
        window.type("#prompt", "a cat")
        window.press("enter")
        window.wait("return document.querySelector('#status').textContent.startsWith('Refused: guidance')")
