"""drawing: what is asked for, drawn run after run from the same noise, told step by step as events for the page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import cdkit
from cdkit.parts import CdkitError

from cdkit_page.asked import Asked
from cdkit_page.pictures import overlay, picture, uri

Tell = Callable[[dict[str, Any]], None]  # takes an event; raises Stopped where nobody listens any more
log = logging.getLogger("cdkit")


class Stopped(Exception):
    """The page was closed: nobody waits for the rest."""


def draw(models: Mapping[str, cdkit.Model], asked: Asked, tell: Tell) -> None:
    """Tell `step` for every step of every run, `picture` and `words` at its end, or `failed` with a sentence."""
    for name, model in models.items():
        try:
            drawn_by(name, model, asked, tell)
        except CdkitError as error:
            tell({"event": "failed", "run": name, "error": str(error), "hint": error.hint})
        except Stopped:
            raise
        except Exception:  # a page that hangs would tell less
            log.exception("%s could not draw %r", name, asked.prompt)
            tell({"event": "failed", "run": name, "error": "an error of the program; the terminal has it", "hint": ""})
    tell({"event": "end"})


def drawn_by(name: str, model: cdkit.Model, asked: Asked, tell: Tell) -> None:
    """One run's steps, picture and words."""
    trajectory = cdkit.Trajectory()

    def shown(moment: cdkit.Moment) -> None:
        trajectory(moment)
        pictures = {"noisy": picture(moment.noisy[0]), "clean": picture(moment.clean[0])}
        tell({"event": "step", "run": name, "index": moment.index, "steps": moment.steps, "sigma": moment.sigma, **pictures})

    values = [asked.prompt] if model.columns else []
    how = {"steps": asked.steps, "guidance": asked.guidance, "sampler": asked.sampler, "watch": shown}
    samples = model.sample(values, seeds=[asked.seed], **how)
    files = {"picture": uri(samples.png(), "png"), "animation": uri(trajectory.animation("webp"), "webp")}
    tell({"event": "picture", "run": name, **files})
    if asked.words and model.columns and asked.prompt.strip():
        tell({"event": "words", "run": name, **words(model, asked, samples)})


def words(model: cdkit.Model, asked: Asked, samples: cdkit.Samples) -> dict[str, Any]:
    """Where each word acts in the picture that was drawn: a map a word and noise level, and how far each moves it."""
    try:
        found = cdkit.influence(model, asked.prompt, seed=asked.seed, picture=samples.images[0], places={})
    except CdkitError as error:
        return {"words": [], "why": str(error)}
    top = float(found.maps.max()) or 1.0
    maps = [[overlay(level / top) for level in word] for word in found.maps]
    return {"words": list(found.words), "sigmas": list(found.sigmas), "maps": maps, "whole": found.whole.mean(dim=1).tolist()}
