"""A drawing of a spec: what its boxes say, and where they lie. A drawing is right where nothing overlaps and every way ends."""
# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cdkit.registry import Registry
from cdkit.spec import Spec, read_spec
from cdkit.spec.drawing import Block, Drawing, Method, Told, begins, drawing_of, ends, options
from cdkit.spec.drawing_mermaid import mermaid
from cdkit.spec.drawing_svg import fitted, ink, svg
from cdkit.spec.model import PartSpec
from cdkit.spec.place import Place

Read = Callable[..., Spec]

DRAWING = Drawing(
    title='a "b" & <c>',
    conditions=(
        Told("text", "clip", "column caption", "tokens 768", "123.1 M parameters"),
        Told("kind", "label", "column label"),
        Told("both", "join", "text + kind", size="2 parameters"),
    ),
    methods=(Method("film", "film", ("text",)), Method("seeing", "cross_attention", ("text", "both"), "heads 4"), Method("add", "add", ("kind",))),
    blocks=(
        Block("embed", "of time", 0, {"film": {"embed": 1}}),
        Block("down.0", "8 × 8", 0, {"film": {"norm": 2, "branch": 1}, "add": {"branch": 3}}),
        Block("down.1", "4 × 4", 1, {"seeing": {"attend": 1}}),
        Block("mid", "2 × 2", 2, {"seeing": {"somewhere": 1}}),
    ),
    begins="noise, 1 × 8 × 8 pixels",
    ends=("predicts v", "not guided"),
)  # fmt: skip
MERMAID = """\
flowchart LR
  told0("text<br>clip reads column caption<br>tokens 768<br>123.1 M parameters")
  told1("kind<br>label reads column label")
  told2("both<br>join reads text + kind<br>2 parameters")
  method0{{"film"}}
  method1{{"seeing: cross_attention<br>heads 4"}}
  method2{{"add"}}
  subgraph network ["a #34;b#34; #38; #60;c#62;"]
    direction TB
    noise(["noise, 1 × 8 × 8 pixels"])
    block0["embed<br>of time"]
    block1["down.0<br>8 × 8"]
    block2["down.1<br>4 × 4"]
    block3["mid<br>2 × 2"]
    picture(["predicts v<br>not guided"])
    noise --> block0
    block0 --> block1
    block1 --> block2
    block2 --> block3
    block3 --> picture
  end
  told0 --> method0
  told0 --> method1
  told2 --> method1
  told1 --> method2
  method0 -->|"1 × embed"| block0
  method0 -->|"2 × norm, 1 × branch"| block1
  method2 -->|"3 × branch"| block1
  method1 -->|"1 × attend"| block2
  method1 --> block3
"""


def test_mermaid() -> None:
    assert mermaid(DRAWING) == MERMAID


@dataclass(frozen=True)
class Seen:
    """A box of the drawing as a viewer finds it."""

    left: float
    top: float
    width: float
    height: float
    kind: str
    colour: str
    lines: tuple[str, ...]
    soft: tuple[bool, ...]
    feet: tuple[tuple[float, float], ...]  # where each line's text begins

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    @property
    def middle(self) -> float:
        return self.top + self.height / 2


@dataclass(frozen=True)
class Sheet:
    width: float
    height: float
    label: str
    title: str
    boxes: list[Seen]
    curves: list[tuple[list[float], str]]  # numbers of the path, colour
    straight: list[tuple[list[float], str]]

    @property
    def columns(self) -> tuple[list[Seen], list[Seen], list[Seen]]:
        """Of DRAWING: what is told, the methods, the network."""
        return self.boxes[:3], self.boxes[3:6], self.boxes[6:]


def looked_at(drawing: Drawing) -> Sheet:
    """The drawing read back from its SVG, every box with the texts that follow it."""
    root = ElementTree.fromstring(svg(drawing))
    plain = [(element.tag.rpartition("}")[2], element) for element in root.iter()]
    rows: list[tuple[ElementTree.Element, list[ElementTree.Element]]] = []
    title = ""
    for tag, element in plain:
        if tag == "rect":
            rows.append((element, []))
        elif tag == "text" and element.get("class") == "t":
            title = element.text or ""
        elif tag == "text":
            rows[-1][1].append(element)
    (sheet, _), *boxes = rows
    assert [root.get(side) for side in ("width", "height")] == [sheet.get(side) for side in ("width", "height")]
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
    paths = [(element.get("d") or "", element.get("stroke") or "") for tag, element in plain if tag == "path"]
    drawn = [(path, [float(number) for number in re.findall(r"-?[\d.]+", path)], colour) for path, colour in paths]
    return Sheet(
        float(root.get("width", 0)),
        float(root.get("height", 0)),
        root.get("aria-label", ""),
        title,
        [seen(box, texts) for box, texts in boxes],
        [(numbers, colour) for path, numbers, colour in drawn if "C" in path],
        [(numbers, colour) for path, numbers, colour in drawn if "V" in path],
    )


def seen(box: ElementTree.Element, texts: list[ElementTree.Element]) -> Seen:
    left, top, width, height = (float(box.get(name, 0)) for name in ("x", "y", "width", "height"))
    colour = (box.get("style") or "").removeprefix("stroke:")
    feet = tuple((float(text.get("x", 0)), float(text.get("y", 0))) for text in texts)
    lines = tuple(text.text or "" for text in texts)
    return Seen(
        left, top, width, height, box.get("class", ""), colour, lines, tuple(text.get("class") == "s" for text in texts), feet
    )


GREY = "#767f8b"


@pytest.fixture(scope="module")
def sheet() -> Sheet:
    return looked_at(DRAWING)


def test_every_box_says_what_it_is(sheet: Sheet) -> None:
    told, ways, network = sheet.columns
    assert sheet.title == DRAWING.title
    assert [box.lines for box in told] == [
        ("text", "clip reads column caption", "tokens 768", "123.1 M parameters"),
        ("kind", "label reads column label"),
        ("both", "join reads text + kind", "2 parameters"),
    ]
    assert [box.lines for box in ways] == [("film",), ("seeing: cross_attention", "heads 4"), ("add",)]
    assert [box.lines for box in network] == [
        ("noise, 1 × 8 × 8 pixels",),
        ("embed", "of time", "film: 1 × embed"),
        ("down.0", "8 × 8", "film: 2 × norm, 1 × branch", "add: 3 × branch"),
        ("down.1", "4 × 4", "seeing: 1 × attend"),
        ("mid", "2 × 2"),
        ("predicts v", "not guided"),
    ]
    assert all(box.soft == (False, *[True] * (len(box.lines) - 1)) for box in sheet.boxes), "the first line is its name"
    assert [box.kind for box in network] == ["", "b", "b", "b", "b", ""]


def test_who_cannot_see_it_is_told_the_whole(sheet: Sheet) -> None:
    told = "film tells it text; seeing tells it text and both; add tells it kind"
    assert sheet.label == DRAWING.summary == f'a "b" & <c>: {told}; 4 blocks from noise, 1 × 8 × 8 pixels'
    assert replace(DRAWING, methods=()).summary == 'a "b" & <c>: it is told nothing; 4 blocks from noise, 1 × 8 × 8 pixels'


def test_text_lies_in_its_box(sheet: Sheet) -> None:
    """A letter of 13 pixels reaches 10 above its foot and 3 below."""
    for box in sheet.boxes:
        assert {x - box.left for x, _ in box.feet} == {9}
        heights = [y for _, y in box.feet]
        assert all(two - one >= 16 for one, two in pairwise(heights))
        above, below = heights[0] - 10 - box.top, box.bottom - 3 - heights[-1]
        assert above > 5
        assert below > 5
        assert abs(above - below) < 3


def test_boxes_stand_in_columns_with_even_gaps_and_margins(sheet: Sheet) -> None:
    told, ways, network = sheet.columns
    for column in (told, ways, network):
        assert len({two.top - one.bottom for one, two in pairwise(column)}) == 1
        assert column[1].top - column[0].bottom > 5
        assert column[0].top == told[0].top
    assert {box.left for box in told} == {left := told[0].left}
    assert len({(box.left, box.width) for box in ways}) == 1
    assert ways[0].width == told[0].width
    assert ways[0].left - told[0].right == network[0].left - ways[0].right > 40
    assert left == sheet.width - network[0].right == sheet.height - max(box.bottom for box in sheet.boxes)


def test_each_halving_makes_a_block_narrower_as_long_as_there_is_room() -> None:
    """And all of them stand above one another."""
    blocks = tuple(Block(f"down.{narrow}", "", narrow) for narrow in range(9))
    drawn = looked_at(replace(DRAWING, blocks=blocks)).boxes[6:]
    assert len({box.left + box.width / 2 for box in drawn}) == 1
    widths = [box.width for box in drawn[1:-1]]
    assert widths[0] == drawn[0].width == drawn[-1].width
    assert len(set(widths)) == 6
    assert sorted(widths, reverse=True) == widths
    assert widths[5] == widths[8] > 100


def test_every_way_leads_from_a_box_to_a_box(sheet: Sheet) -> None:
    """From the middle of a right edge to the middle of a left one, in the colour of the method."""
    told, ways, network = sheet.columns
    places = {(box.right, box.middle): box.lines[0] for box in [*told, *ways]}
    goals = {(box.left, box.middle): box.lines[0] for box in [*ways, *network]}
    film, seeing, add = (box.colour for box in ways)
    found = [(places[numbers[0], numbers[1]], goals[numbers[-2], numbers[-1]], colour) for numbers, colour in sheet.curves]
    assert found == [
        ("text", "film", GREY),
        ("text", "seeing: cross_attention", GREY),
        ("both", "seeing: cross_attention", GREY),
        ("kind", "add", GREY),
        ("film", "embed", film),
        ("film", "down.0", film),
        ("add", "down.0", add),
        ("seeing: cross_attention", "down.1", seeing),
        ("seeing: cross_attention", "mid", seeing),
    ]
    assert len({GREY, film, seeing, add}) == 4
    assert {box.colour for box in [*told, *network]} == {GREY}


def test_ways_leave_and_arrive_level_and_bend_midway(sheet: Sheet) -> None:
    for (x, y, x1, y1, x2, y2, u, v), _ in sheet.curves:
        assert (y1, y2) == (y, v)
        assert x1 == x2 == (x + u) / 2


def test_the_network_is_connected_from_noise_to_picture(sheet: Sheet) -> None:
    _, _, network = sheet.columns
    centre = network[0].left + network[0].width / 2
    assert sheet.straight == [([centre, one.bottom, two.top], GREY) for one, two in pairwise(network)]


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_colours_are_spread_evenly(count: int) -> None:
    hues = [int(ink(place, count).removeprefix("hsl(").partition(" ")[0]) for place in range(count)]
    assert hues == [round((hues[0] + 360 * place / count) % 360) for place in range(count)]
    assert all(0 <= hue < 360 for hue in hues)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("a" * 10, "a" * 10),
        ("a" * 11, "a" * 9 + "…"),
        ("七" * 5, "七" * 5),
        ("七" * 6, "七" * 4 + "…"),
        ("⺀" * 6, "⺀" * 4 + "…"),
        ("é" * 11, "é" * 9 + "…"),
        ("七" + "a" * 8, "七" + "a" * 8),
        ("七" + "a" * 9, "七" + "a" * 7 + "…"),
    ],
)
def test_a_text_is_cut_to_the_room_of_ten_letters(text: str, shown: str) -> None:
    assert fitted(text, 66) == shown
    assert fitted(text, 66.5) == shown


def test_long_lines_stay_in_their_boxes() -> None:
    long = replace(DRAWING, begins="n" * 200, conditions=(Told("t" * 200, "r" * 200, "s"),), methods=(), blocks=())
    for box in looked_at(long).boxes:
        assert all(9 + 6.6 * len(line) <= box.width - 6 for line in box.lines)
        assert all(line.endswith("…") and 9 + 6.6 * len(line) > box.width - 20 for line in box.lines if line[:9] == line[0] * 9)


def part(**given: object) -> PartSpec:
    return PartSpec("backbone", "net", given, Place("s.yaml"), {}, "cdkit==1")


def test_the_first_three_options_that_say_something_are_shown() -> None:
    given = part(a=None, b=(), c=[], d="", e=0, f=False, g=(1, 2.5, "x"), h="more")
    assert options(given) == "e 0, f False, g 1 2.5 x"
    assert options(given, 1) == "e 0"
    assert options(part(lr=1e-4, scale=3.0, sides=[[8, 8], [4, 4]])) == "lr 0.0001, scale 3, sides 8 8 4 4"
    assert options(part()) == ""


def test_a_spec_is_drawn_as_it_is_written(read: Read, good: str) -> None:
    drawing = drawing_of(read(good))
    assert drawing.title == "good"
    assert drawing.conditions == (Told("text", "words", "column text"), Told("label", "label", "column label"))
    assert drawing.methods == (Method("film", "film", ("text",), "heads 2"), Method("add", "add", ("text", "label"), "heads 4"))
    fills = {"film": {"somewhere": 1}, "add": {"somewhere": 1}}
    assert drawing.blocks == (Block("net", "width 64, mult 1 2 4, depth 1", 0, fills),)
    assert drawing.begins == "noise, 1 × 8 × 8 pixels"
    assert drawing.ends == ("predicts v, cosine schedule", "guided by cfg scale 2.5", "ddim, 20 steps")


BARE = "cdkit: 1\nname: bare\nsample: {channels: 4, height: 8, width: 16}\nbackbone: {use: net}\nautoencoder: {use: kl}\n"


def test_a_spec_that_names_little_says_so(read: Read) -> None:
    spec = read(BARE)
    assert begins(spec) == "noise, 4 × 8 × 16 latents"
    assert ends(spec)[1:] == ("not guided", "no sampler named", "autoencoder kl: latents to pixels")


def test_joined_conditions_are_their_parts(read: Read, good: str) -> None:
    joined = good.replace("injectors:\n", "  both: {use: join, of: [text, label]}\ninjectors:\n").replace(
        "streams: [text, label]", "streams: [both]"
    )
    assert drawing_of(read(joined)).conditions[2] == Told("both", "join", "text + label")


def test_in_a_notebook_the_filled_spec_lies_under_its_drawing(tmp_path: Path, good: str, registry: Registry) -> None:
    (tmp_path / "s.yaml").write_text(good.replace("dim: 16", 'model: "<b>"'), encoding="utf-8")
    spec = read_spec(tmp_path / "s.yaml", registry=registry)
    shown = spec._repr_html_()
    assert shown.startswith("<div style='max-width:100%;overflow-x:auto'><svg ")
    assert svg(drawing_of(spec)) in shown
    assert "<details><summary>the filled spec</summary><pre>" in shown
    assert "&lt;b&gt;" in shown.partition("<pre>")[2]
    assert "<b>" not in shown
