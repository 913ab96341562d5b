"""drawing_svg: a drawing as an SVG of its own: conditions on the left, methods between, the network on the right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from cdkit.spec.drawing import Block, Drawing, Method, Told

LEFT, BETWEEN, RIGHT = 12, 292, 572  # where the three columns begin
WIDE = 216  # of a condition's and a method's box
NETWORK = 336  # of a block's, at full resolution
STEP = 18  # that each halving takes off on either side
MOST = 5  # halvings that there is room for
LINE, GAP, TOP = 17, 14, 44
GREY = "#767f8b"
STYLE = (
    "text{font:13px system-ui,'Noto Sans CJK SC',sans-serif;fill:#1c1f23}.s{fill:#56606b;font-size:12px}.t{font-size:15px;"
    "font-weight:600}rect{fill:#fff;stroke:#767f8b}.b{fill:#f3f5f8}"
)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with lines of text, the first of them its name."""

    left: float
    top: float
    width: float
    lines: tuple[str, ...]
    ink: str = GREY
    kind: str = ""

    @property
    def height(self) -> float:
        return LINE * len(self.lines) + 12

    @property
    def middle(self) -> float:
        return self.top + self.height / 2

    def drawn(self) -> str:
        kind = f' class="{self.kind}"' if self.kind else ""
        frame = (
            f'x="{self.left:g}" y="{self.top:g}" width="{self.width:g}" height="{self.height:g}" rx="5" style="stroke:{self.ink}"'
        )
        return f"<rect {frame}{kind}/>" + "".join(self._line(place, line) for place, line in enumerate(self.lines))

    def _line(self, place: int, line: str) -> str:
        soft = ' class="s"' if place else ""
        y = self.top + 6 + LINE * (place + 0.78)
        return f'<text x="{self.left + 9:g}" y="{y:.1f}"{soft}>{escape(fitted(line, self.width - 16))}</text>'


def svg(drawing: Drawing) -> str:
    """The drawing. It needs no font, script or file beside it, and says in `aria-label` what it shows."""
    inks = {method.name: ink(place, len(drawing.methods)) for place, method in enumerate(drawing.methods)}
    told = stacked(LEFT, [(lines_of(one), GREY) for one in drawing.conditions])
    ways = stacked(BETWEEN, [(way(one), inks[one.name]) for one in drawing.methods])
    network = list(column(drawing))
    arrows = [
        *(arrow(source, target, GREY) for source, target in spoken(drawing, told, ways)),
        *(arrow(source, target, inks[name]) for name, source, target in entering(drawing, ways, network[1:-1])),
        *(down(one, two) for one, two in pairwise(network)),
    ]
    boxes = [*told, *ways, *network]
    return sheet(drawing, "".join(arrows), "".join(box.drawn() for box in boxes), max(box.top + box.height for box in boxes) + 12)


def sheet(drawing: Drawing, arrows: str, boxes: str, height: float) -> str:
    size = f'width="{RIGHT + NETWORK + 12}" height="{height:g}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {RIGHT + NETWORK + 12} {height:g}" {size} role="img" '
        f'aria-label="{escape(drawing.summary, quote=True)}"><style>{STYLE}</style><rect {size} style="stroke:none"/>'
        f'<text x="{LEFT}" y="26" class="t">{escape(drawing.title)}</text>'
        f'<g fill="none" stroke-width="1.4">{arrows}</g>{boxes}</svg>\n'
    )


def lines_of(told: Told) -> tuple[str, ...]:
    return tuple(line for line in (told.name, f"{told.reader} reads {told.source}", told.forms, told.size) if line)


def way(method: Method) -> tuple[str, ...]:
    named = method.name if method.part == method.name else f"{method.name}: {method.part}"
    return tuple(line for line in (named, method.note) if line)


def stacked(left: float, rows: Sequence[tuple[tuple[str, ...], str]]) -> list[Box]:
    """Boxes one below the other."""
    found: list[Box] = []
    top: float = TOP
    for lines, colour in rows:
        found.append(Box(left, top, WIDE, lines, colour))
        top += found[-1].height + GAP
    return found


def column(drawing: Drawing) -> Iterator[Box]:
    """The network from noise to picture."""
    top: float = TOP
    rows: list[tuple[tuple[str, ...], int]] = [((drawing.begins,), 0)]
    rows += [((block.name, block.note, *filled(block)), block.narrow) for block in drawing.blocks]
    rows.append((drawing.ends, 0))
    for place, (lines, narrow) in enumerate(rows):
        inset = STEP * min(narrow, MOST)
        box = Box(RIGHT + inset, top, NETWORK - 2 * inset, lines, kind="b" if 0 < place < len(rows) - 1 else "")
        yield box
        top += box.height + GAP


def filled(block: Block) -> Iterator[str]:
    """A line a method that enters here."""
    for name, kinds in block.fills.items():
        if "somewhere" not in kinds:
            yield f"{name}: {', '.join(f'{count} × {kind}' for kind, count in kinds.items())}"


def spoken(drawing: Drawing, told: Sequence[Box], ways: Sequence[Box]) -> Iterator[tuple[Box, Box]]:
    """Conditions and the methods that read them."""
    boxes = {condition.name: box for condition, box in zip(drawing.conditions, told, strict=True)}
    for method, box in zip(drawing.methods, ways, strict=True):
        yield from ((boxes[stream], box) for stream in method.streams)


def entering(drawing: Drawing, ways: Sequence[Box], network: Sequence[Box]) -> Iterator[tuple[str, Box, Box]]:
    """Methods and the blocks that they enter."""
    boxes = {method.name: box for method, box in zip(drawing.methods, ways, strict=True)}
    for block, box in zip(drawing.blocks, network, strict=True):
        yield from ((name, boxes[name], box) for name in block.fills)


def down(one: Box, two: Box) -> str:
    return f'<path d="M{RIGHT + NETWORK / 2:g} {one.top + one.height:g}V{two.top:g}" stroke="{GREY}"/>'


def arrow(source: Box, target: Box, colour: str) -> str:
    """A curve from one box's right edge to another's left one."""
    x, y, u, v = source.left + source.width, source.middle, target.left, target.middle
    bend = (u - x) / 2
    return f'<path d="M{x:g} {y:g}C{x + bend:g} {y:g} {u - bend:g} {v:g} {u:g} {v:g}" stroke="{colour}"/>'


def ink(place: int, count: int) -> str:
    return f"hsl({(210 + 360 * place / count) % 360:.0f} 70% 38%)"


def fitted(text: str, width: float) -> str:
    """Cut to about a width in pixels: a letter takes 6.6 of them, a Chinese one twice that."""
    room = width / 6.6
    for place, letter in enumerate(text):
        room -= 2 if ord(letter) >= 0x2E80 else 1
        if room < 1 and place < len(text) - 1:
            return text[:place] + "…"
    return text
