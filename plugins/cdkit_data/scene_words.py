"""What is true of a scene, in English and Chinese."""

from __future__ import annotations

from typing import Any

from cdkit_data.captions import unique
from cdkit_data.scene import Scene, Thing

COLOURS = {"red": "红", "green": "绿", "blue": "蓝", "yellow": "黄", "purple": "紫", "white": "白"}
SHAPES = {"circle": "圆", "square": "方块", "triangle": "三角形"}
SIZES = {"small": "小", "large": "大"}
RELATIONS = {"left of": "左边", "right of": "右边", "above": "上面", "below": "下面"}
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


def values(scene: Scene, objects: int) -> dict[str, tuple[Any, ...]]:
    """The columns of a scene: captions by language; exact attributes as colour.1, shape.1, size.1, …; relation.

    Where a scene has fewer things than `objects`, what would be said of the missing one is "none".
    """
    en, zh = (english(scene), chinese(scene))
    columns: dict[str, tuple[Any, ...]] = {"text": (*en, *zh), "text.en": en, "text.zh": zh}
    columns["label"] = (plain(scene.things[0]),)
    for place in range(objects):
        thing = scene.things[place] if place < len(scene.things) else None
        colour, shape, size = (thing.colour, thing.shape, thing.size) if thing else ("none", "none", "none")
        columns |= {f"colour.{place + 1}": (colour,), f"shape.{place + 1}": (shape,), f"size.{place + 1}": (size,)}
    return columns | ({"relation": (scene.relation or "none",)} if objects > 1 else {})


def plain(thing: Thing) -> str:
    """ "red circle": colour and shape."""
    return f"{thing.colour} {thing.shape}"


def english(scene: Scene) -> tuple[str, ...]:
    """Captions with and without sizes; of two things, seen from either."""
    full, short = ([f"a {size}{plain(thing)}" for thing, size in _sized(scene, sized)] for sized in (True, False))
    if scene.relation is None:
        return unique((*full, *short, f"a picture of {full[0]}", f"one {plain(scene.things[0])}"))
    back = OPPOSITE[scene.relation]
    both = [form for one, other in (full, short) for form in (f"{one} {scene.relation} {other}", f"{other} {back} {one}")]
    return unique((*both, f"{full[0]} {scene.relation} {short[1]}", f"{full[1]} {back} {short[0]}"))


def _sized(scene: Scene, sized: bool) -> list[tuple[Thing, str]]:
    return [(thing, f"{thing.size} " if sized else "") for thing in scene.things]


def chinese(scene: Scene) -> tuple[str, ...]:
    """Captions with and without sizes: 蓝色方块左边的小红圆, 小红圆在大蓝方块的左边."""
    full = [f"{SIZES[thing.size]}{COLOURS[thing.colour]}{SHAPES[thing.shape]}" for thing in scene.things]
    short = [f"{COLOURS[thing.colour]}色{SHAPES[thing.shape]}" for thing in scene.things]
    if scene.relation is None:
        return (full[0], short[0], f"一个{full[0]}", f"一个{short[0]}")
    there, back = RELATIONS[scene.relation], RELATIONS[OPPOSITE[scene.relation]]
    both = [
        form
        for one, other in (full, short)
        for form in (f"{other}{there}的{one}", f"{one}{back}的{other}", f"{one}在{other}的{there}", f"一个{one}在{other}{there}")
    ]
    return unique((*both, f"{short[1]}{there}的{full[0]}", f"{short[0]}{back}的{full[1]}"))
