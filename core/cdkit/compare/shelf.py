"""shelf: the pictures of a comparison's page: two arms over each other for every prompt, and all of them in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from cdkit.compare.embed import ROOM, data


def captions(result: Mapping[str, Any]) -> list[str]:
    """What was said of each picture of an arm, in their order: row after row of all prompts."""
    count = len(result["arms"][result["reference"]]["pictures"])
    prompts: Sequence[str] = result["prompts"]
    return [prompts[at % len(prompts)] for at in range(count)]


def slider(result: Mapping[str, Any]) -> str:
    """For every prompt two arms, one over the other; a handle for where they meet, and a pointer moves one pair's alone."""
    names = list(result["arms"])
    other = next(name for name in names if name != result["reference"])
    pairs = "".join(
        f"<figure><div class='pair'><img alt=''><img alt=''></div><figcaption>{escape(said)}</figcaption></figure>"
        for said in captions(result)
    )
    return (
        f"<div class='controls'><label>left {choice('left', names, result['reference'])}</label>"
        f"<label>right {choice('right', names, other)}</label>"
        "<label>where they meet <input id='top' type='range' min='0' max='100' value='50'></label></div>"
        f"<div class='shelf'>{pairs}</div>"
    )


def choice(name: str, options: Sequence[str], chosen: str) -> str:
    made = "".join(f"<option{' selected' if option == chosen else ''}>{escape(option)}</option>" for option in options)
    return f"<select id='{name}'>{made}</select>"


def pictures(result: Mapping[str, Any], folder: Path) -> str:
    """A row a prompt, a column an arm; the page's only copy of them, from which the pairs above are taken."""
    arms: Mapping[str, Any] = result["arms"]
    said = captions(result)
    room = ROOM // (len(said) * len(arms))
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in arms)
    lines = "".join(line(arms, at, prompt, folder, room) for at, prompt in enumerate(said))
    return f"<table class='pictures'><thead><tr><th scope='col'>said</th>{head}</tr></thead><tbody>{lines}</tbody></table>"


def line(arms: Mapping[str, Any], at: int, prompt: str, folder: Path, room: int) -> str:
    shown = "".join(f"<td>{picture(name, at, prompt, folder / arm['pictures'][at], room)}</td>" for name, arm in arms.items())
    return f"<tr><th scope='row'>{escape(prompt)}</th>{shown}</tr>"


def picture(arm: str, at: int, prompt: str, path: Path, room: int) -> str:
    told = escape(f"{arm}: {prompt}", quote=True)
    return f'<img id="picture-{escape(arm)}-{at}" alt="{told}" src="{data(path, room)}">'
