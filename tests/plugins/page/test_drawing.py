"""What the page is told is what the model drew: every step, the picture with its recipe, and where each word acts."""

from __future__ import annotations

import base64
import io
import json
import time
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from .conftest import Served


def asked(**changed: Any) -> dict[str, Any]:
    return {"prompt": "the digit seven", "runs": ["one", "two"], "seed": 3, **changed}


def picture(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def of(events: list[dict[str, Any]], kind: str, run: str = "one") -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == kind and event["run"] == run]


@pytest.fixture(scope="module")
def events(served: Served) -> list[dict[str, Any]]:
    return served.events(asked())


def test_every_step_is_told(events: list[dict[str, Any]]) -> None:
    for run in ("one", "two"):
        steps = of(events, "step", run)
        assert [step["index"] for step in steps] == [0, 1, 2, 3]
        assert [step["sigma"] for step in steps] == sorted((step["sigma"] for step in steps), reverse=True)
    assert events[-1] == {"event": "end"}


def test_runs_begin_with_the_same_noise(events: list[dict[str, Any]]) -> None:
    first, second = (of(events, "step", run)[0] for run in ("one", "two"))
    assert first["noisy"] == second["noisy"]


def test_the_picture_is_what_the_model_draws_and_says_how(events: list[dict[str, Any]], served: Served) -> None:
    drawn = picture(of(events, "picture")[0]["picture"])
    alone = served.models["one"].sample("the digit seven", seed=3)
    assert drawn.tobytes() == alone.picture(0).tobytes()
    recipe = json.loads(drawn.text["cdkit"])  # type: ignore[attr-defined]
    assert recipe["captions"] == ["the digit seven"]
    assert recipe["seeds"] == [3]


def test_the_animation_has_every_step(events: list[dict[str, Any]]) -> None:
    forming = picture(of(events, "picture")[0]["animation"])
    assert forming.n_frames == 4  # type: ignore[attr-defined]
    assert forming.format == "WEBP"


def test_words_are_told(events: list[dict[str, Any]]) -> None:
    found = of(events, "words")[0]
    assert found["words"] == ["the", "digit", "seven"]
    assert len(found["maps"]) == 3
    assert len(found["maps"][0]) == len(found["sigmas"])
    assert picture(found["maps"][0][0]).mode == "RGBA"


def test_what_is_asked_for_is_done(served: Served) -> None:
    found = served.events(asked(runs=["two"], steps=2, sampler="euler", guidance=1.0, words=False))
    assert [event["event"] for event in found] == ["step", "step", "picture", "end"]
    recipe = json.loads(picture(found[2]["picture"]).text["cdkit"])  # type: ignore[attr-defined]
    assert recipe["sampler"].startswith("Euler")
    assert recipe["steps"] == 2


def test_what_cannot_be_drawn_is_said_of_that_run_alone(served: Served) -> None:
    served.models["two"].ledger.counts["text"].silent = 0
    try:
        found = served.events(asked(guidance=2.0, words=False))
    finally:
        served.models["two"].ledger.counts["text"].silent = 1
    assert of(found, "picture")
    assert "never trained with condition 'text' silent" in of(found, "failed", "two")[0]["error"]


def test_one_job_at_a_time(served: Served) -> None:
    with served.asked(asked(runs=["one"], steps=150, words=False)) as busy:
        busy.readline()
        with served.asked(asked()) as second:
            assert second.status == 429
            assert b"one at a time" in second.read()
    for _ in range(100):  # nobody listens on: the job is stopped, and the next one can begin
        with served.asked(asked(runs=["one"], words=False)) as answer:
            if answer.status == 200:
                assert json.loads(answer.read().splitlines()[-1]) == {"event": "end"}
                return
        time.sleep(0.1)
    pytest.fail("who closed the page keeps the chair")


def test_an_unknown_run_is_refused_on_the_command_line() -> None:
    from cdkit.cli.app import cdkit as program

    result = CliRunner().invoke(program, ["demo", "no-such-run", "--no-open"])
    assert result.exit_code != 0
    assert "no-such-run" in str(result.exception)
