"""The table of docs/methods/index.md: what each method adds to one U-Net, counted.

python docs/methods/prices.py            # print it
python docs/methods/prices.py --write    # put it on the page
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from cdkit.compare.price import Price, price_of
from cdkit.spec import read_spec

PAGE = Path(__file__).parent / "index.md"
BLOCK = re.compile(r"(<!-- prices -->\n).*?(<!-- /prices -->)", re.DOTALL)
NETWORK = """
cdkit: 1
name: priced
sample: {{channels: 3, height: 32, width: 32}}
conditions:
  text: {{use: sentencepiece, vocab: 1000, dim: 256, depth: 1, heads: 4}}
  map: {{use: map, channels: 3}}
injectors: [{injectors}]
backbone: {{use: unet, width: 64, mult: [1, 2, 2], blocks: 2, attention: [1, 2], heads: 4}}
"""
# What hears neither is told beside it by `film` or `concat`, whose price is taken off again.
WORDS = (
    "add",
    "film",
    "film_gain",
    "adagn",
    "adaln_zero",
    "adaln_single",
    "weights",
    "cross_attention",
    "text_query",
    "perceiver",
    "gated",
    "in_context",
    "added_kv",
)
MAPS = ("concat", "spade", "concat_multi")
BESIDE = {"text": "{use: film, name: beside, streams: [text]}", "map": "{use: concat, name: beside_map, streams: [map]}"}


def bare() -> Price:
    return priced(", ".join(BESIDE.values()))


def priced(injectors: str) -> Price:
    return price_of(read_spec(NETWORK.format(injectors=injectors)))


def rows() -> Iterator[str]:
    """A row a method: its page, and what it adds in weights, in MACs a step and once a prompt."""
    base = bare()
    yield f"| (the U-Net itself) | | {base.parameters - base.taps:,} | {base.forward / 1e6:,.1f} | |"
    for name in (*WORDS, *MAPS):
        stream = "text" if name in WORDS else "map"
        price = priced(f"{{use: {name}, streams: [{stream}]}}, {', '.join(BESIDE.values())}")
        added = (price.forward - base.forward) / 1e6, (price.prepare - base.prepare) / 1e6
        told = f"[`{name}`]({name}.md)" if (PAGE.parent / f"{name}.md").is_file() else f"`{name}`"
        yield f"| {told} | {stream} | {price.taps - base.taps:,} | {added[0]:,.1f} | {added[1]:,.1f} |"


def table() -> str:
    head = "| method | reads | parameters | MACs a step (millions) | once a prompt (millions) |\n|---|---|---|---|---|"
    return "\n".join([head, *rows(), ""])


def main(arguments: list[str]) -> None:
    made = table()
    if "--write" in arguments:
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(BLOCK.sub(lambda found: f"{found[1]}{made}\n{found[2]}", text), encoding="utf-8")
    else:
        print(made)


if __name__ == "__main__":
    main(sys.argv[1:])
