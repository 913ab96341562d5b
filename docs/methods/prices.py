"""What each method adds to one U-Net: the table of docs/methods/index.md, and a line on the method's own page.

python docs/methods/prices.py                      # print the table, with the times that stand on the page
python docs/methods/prices.py --write              # count again, and put table and lines on the pages; times stay
python docs/methods/prices.py --write --measure    # measure the times again too: about three minutes
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cdkit.compare.price import Price, price_of
from cdkit.spec import Spec, read_spec

HERE = Path(__file__).parent
PAGE = HERE / "index.md"
TABLE = re.compile(r"(<!-- prices -->\n).*?(<!-- /prices -->)", re.DOTALL)
LINE = re.compile(r"(<!-- price -->\n).*?(<!-- /price -->)", re.DOTALL)
HOW = re.compile(r"(<!-- measured -->\n).*?(<!-- /measured -->)", re.DOTALL)
TIMED = r"([\d.]+) ms, ([\d.]+) x"
TIMES = re.compile(rf"^\| [^|]*?`([^|]+?)`[^|]*\|(?:[^|]*\|){{4}} {TIMED} \| {TIMED} \|$", re.MULTILINE)
UNTOLD = "U-Net"
NETWORK = """
cdkit: 1
name: priced
sample: {{channels: 3, height: 32, width: 32}}
conditions: {{{conditions}}}
injectors: [{injectors}]
backbone: {{use: unet, width: 64, mult: [1, 2, 2], blocks: 2, attention: [1, 2], heads: 4}}
"""
WORDS = "use: sentencepiece, vocab: 1000, dim: 256, depth: 1, heads: 4"
STREAMS = {
    "text": f"text: {{{WORDS}}}",
    "image": f"image: {{{WORDS}, column: image}}",  # an image as an encoder gives it: tokens, as many as words
    "map": "map: {use: map, channels: 3}",
    "hint": "hint: {use: map, channels: 3, scale: 8}",
    "sizes": "sizes: {use: size, count: 6, dim: 256}",
}


@dataclass(frozen=True, slots=True)
class Method:
    """A row: its page, the streams that it reads, and the injectors of the spec."""

    page: str
    streams: tuple[str, ...]
    injectors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Time:
    """Milliseconds, and how often the unconditional network's: of a training step, and of a call of the denoiser."""

    step: float
    step_ratio: float
    call: float
    call_ratio: float


def alone(name: str, *streams: str) -> Method:
    return Method(name, streams, (f"{{use: {name}, streams: [{', '.join(streams)}]}}",))


METHODS = {
    "add": alone("add", "text"),
    "film": alone("film", "text"),
    "film_gain": alone("film_gain", "text"),
    "adagn": alone("adagn", "text"),
    "adaln_zero": alone("adaln_zero", "text"),
    "adaln_single": alone("adaln_single", "text"),
    "weights": alone("weights", "text"),
    "cross_attention": alone("cross_attention", "text"),
    "text_query": alone("text_query", "text"),
    "perceiver": alone("perceiver", "text"),
    "gated": alone("gated", "text"),
    "decoupled": alone("decoupled", "text", "image"),
    "in_context": alone("in_context", "text"),
    "added_kv": alone("added_kv", "text"),
    "concat": alone("concat", "map"),
    "concat_multi": alone("concat_multi", "map"),
    "spade": alone("spade", "map"),
    "hint": alone("hint", "hint"),
    "size, add": Method("micro_conditioning", ("sizes",), ("{use: add, streams: [sizes]}",)),
    "cross_attention, add": Method(
        "combinations", ("text",), ("{use: cross_attention, streams: [text]}", "{use: add, streams: [text]}")
    ),
}


def spec_of(method: Method | None) -> Spec:
    """The U-Net told by a method, or told nothing."""
    told = method or Method("", (), ())
    conditions = ", ".join(STREAMS[name] for name in told.streams)
    return read_spec(NETWORK.format(conditions=conditions, injectors=", ".join(told.injectors)))


@cache
def added(name: str) -> Price:
    """What a method adds, counted."""
    base, price = price_of(spec_of(None)), price_of(spec_of(METHODS[name]))
    return Price(0, price.taps, 0, price.prepare - base.prepare, price.forward - base.forward)


def table(times: Mapping[str, Time]) -> str:
    """A row a method: its page, and what it adds in weights, in MACs and in time. KeyError for a method that has no times."""
    base = price_of(spec_of(None))
    head = (
        "| method | reads | parameters | MACs a step (millions) | once a prompt (millions) "
        "| a training step | a denoiser call |\n"
        "|---|---|---|---|---|---|---|"
    )
    itself = f"| the `{UNTOLD}` itself | | {base.parameters:,} | {base.forward / 1e6:,.1f} | | {timed(times[UNTOLD])} |"
    return "\n".join([head, itself, *(row(name, times[name]) for name in METHODS), ""])


def row(name: str, time: Time) -> str:
    price, method = added(name), METHODS[name]
    counted = f"{price.taps:,} | {price.forward / 1e6:,.1f} | {price.prepare / 1e6:,.1f}"
    return f"| [`{name}`]({method.page}.md) | {', '.join(method.streams)} | {counted} | {timed(time)} |"


def timed(time: Time) -> str:
    return f"{time.step:.1f} ms, {time.step_ratio:.2f} x | {time.call:.1f} ms, {time.call_ratio:.2f} x"


def line(name: str, time: Time) -> str:
    """What stands on a method's own page."""
    price = added(name)
    counted = f"{price.taps:,} parameters, {price.forward / 1e6:,.1f} million MACs a step and"
    return (
        f"**Its price** on the network of [the table](index.md): {counted}\n{price.prepare / 1e6:,.1f} million once a prompt; "
        f"{time.step_ratio:.2f} times the training step, {time.call_ratio:.2f} times the denoiser call.\n"
    )


def kept(text: str) -> dict[str, Time]:
    """The times that stand on the page, by method."""
    found = TIMES.findall(text)
    return {name: Time(float(step), float(step_x), float(call), float(call_x)) for name, step, step_x, call, call_x in found}


def pages(times: Mapping[str, Time]) -> dict[Path, str]:
    """Every page with its prices in place, as it should stand on disk."""
    made = table(times)
    text = PAGE.read_text(encoding="utf-8")
    filled = {PAGE: TABLE.sub(lambda found: f"{found[1]}{made}\n{found[2]}", text)}
    for name, method in METHODS.items():
        path = HERE / f"{method.page}.md"
        said = line(name, times[name])
        filled[path] = LINE.sub(lambda found, said=said: f"{found[1]}{said}{found[2]}", path.read_text(encoding="utf-8"))
    return filled


def main(arguments: list[str]) -> None:
    times = kept(PAGE.read_text(encoding="utf-8"))
    if "--measure" in arguments:
        from milliseconds import circumstances, measured

        specs = {UNTOLD: spec_of(None), **{name: spec_of(method) for name, method in METHODS.items()}}
        times = {name: Time(*found) for name, found in measured(specs, UNTOLD).items()}
        how = circumstances()
        PAGE.write_text(HOW.sub(lambda found: f"{found[1]}{how}\n{found[2]}", PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    if "--write" in arguments:
        for path, text in pages(times).items():
            path.write_text(text, encoding="utf-8")
    else:
        print(table(times))


if __name__ == "__main__":
    main(sys.argv[1:])
