"""emoji: small packages made here by hand go the whole way; the real set is looked at where a fetch has left it."""

from __future__ import annotations

import colorsys
import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import cdkit_data.emoji
import cdkit_data.npm
import numpy as np
import pytest
import torch
from cdkit.parts import DataError, EnvironmentFault, Example
from cdkit_data.cache import cache_folder
from cdkit_data.emoji import HELD_OUT, Emoji
from cdkit_data.emoji_names import plain, slug
from cdkit_data.emoji_splits import side_of
from cdkit_data.emoji_styles import BY_NAME, NAMES, STYLES, TARBALLS
from cdkit_data.emoji_things import thing_of, things_of
from cdkit_data.npm import Tarball, by_hand, members, obtain
from cdkit_data.splits import SPLITS
from PIL import Image

REAL = (cache_folder() / "emoji" / "emoji.sha256").is_file()
CAT, DOG, NORWAY, BOUVET, BLANK = "1F431", "1F436", "1F1F3-1F1F4", "1F1E7-1F1FB", "2B1C"
RUNNERS = ("1F3C3", "1F3C3-200D-2640-FE0F", "1F3C3-200D-2642-FE0F")
NAMED = {
    CAT: ("cat face", "猫脸", ["cat", "kitten"], ["小猫", "宠物"]),
    DOG: ("dog face", "狗脸", ["dog", "pet"], ["狗"]),
    NORWAY: ("flag: Norway", "旗: 挪威", ["flag"], ["旗"]),
    BOUVET: ("flag: Bouvet Island", "旗: 布韦岛", ["flag"], ["旗"]),
    BLANK: ("white large square", "白色大方块", [], []),
    RUNNERS[0]: ("person running", "跑步的人", ["run"], ["跑"]),
    RUNNERS[1]: ("woman running", "跑步的女人", ["run"], ["跑"]),
    RUNNERS[2]: ("man running", "跑步的男人", ["run"], ["跑"]),
    **{f"{0x1F600 + n:X}": (f"thing {n}", f"东西{n}", [f"number {n}"], []) for n in range(60)},
}
ASKED_BY_NAME = ("noto-v1", "fluent-color", "fxemoji", "emojitwo")  # as those sets really are: they tell no codes


def tarball(path: Path, files: dict[str, bytes]) -> bytes:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path.read_bytes()


def emojibase(label: int, keywords: int) -> bytes:
    listed = [
        {"hexcode": code, "emoji": "".join(chr(int(part, 16)) for part in code.split("-")), "label": words[label],
         "tags": words[keywords], "group": 1}
        for code, words in NAMED.items()
    ]  # fmt: skip
    return json.dumps([*listed, {"hexcode": "1F1E6", "label": "regional indicator A"}]).encode()


def body(code: str, style: int) -> str:
    """A shape whose colour is the emoji's and whose place is the style's; the two flags are one picture."""
    if code == BLANK:
        return '<path fill="#fff" d="M0 0h32v32H0z"/>'
    place = list(NAMED).index(NORWAY if code == BOUVET else code)
    red, green, blue = (round(part * 200) for part in colorsys.hsv_to_rgb(place / len(NAMED), 1, 1))
    return f'<circle cx="{8 + style}" cy="{10 + 2 * style}" r="{6 + style / 2}" fill="rgb({red},{green},{blue})"/>'


def iconify(style: int, *, by_name: bool) -> dict[str, bytes]:
    drawn = {slug(NAMED[code][0]) if by_name else f"icon-{code}": {"body": body(code, style)} for code in NAMED}
    aliases: dict[str, Any] = {}
    if by_name:  # the dog under another name, and the cat only as another icon, mirrored: that is not taken
        drawn["hound"], drawn["gatto"] = drawn.pop("dogface"), drawn.pop("catface")
        aliases = {"dog_face": {"parent": "hound"}, "cat-face": {"parent": "gatto", "hFlip": True}}
    icons = {"icons": drawn, "aliases": aliases, "width": 32, "height": 32}
    chars = {} if by_name else {code.lower(): f"icon-{code}" for code in NAMED}
    return {"icons.json": json.dumps(icons).encode(), "chars.json": json.dumps(chars).encode()}


def webp(colour: int) -> bytes:
    """Transparent, with a block of colour; twice as wide as high."""
    picture = Image.new("RGBA", (80, 40), (0, 255, 0, 0))
    picture.paste((colour, 0, 200, 255), (0, 0, 37, 40))
    file = io.BytesIO()
    picture.save(file, "WEBP", lossless=True, exact=True)
    return file.getvalue()


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Tarballs by requirement, built like the real ones."""
    path = tmp_path_factory.mktemp("packages") / "package.tgz"
    made = {NAMES.requirement: tarball(path, {"en/data.json": emojibase(0, 2), "zh/data.json": emojibase(1, 3)})}
    for place, style in enumerate(STYLES):
        if style.name == "fluent-3d":
            files = {f"assets/{code.lower()}.webp": webp(3 * n) for n, code in enumerate(NAMED) if code != BLANK}
            files["assets/1f431-1f3fb.webp"] = webp(255)  # with a skin tone: not one of the emoji that we know
        else:
            files = iconify(place, by_name=style.name in ASKED_BY_NAME)
        made[style.tarball.requirement] = tarball(path, files)
    return made


def laid_out(folder: Path, packages: dict[str, bytes]) -> tuple[Tarball, ...]:
    """The tarballs in a cache folder, as if put there by hand, and their pins."""
    pytest.importorskip("resvg_py", reason='drawing needs resvg-py: pip install "cdkit[emoji]"')
    pinned = tuple(Tarball(name, hashlib.sha256(content).hexdigest()) for name, content in packages.items())
    assert [pin.requirement for pin in pinned] == [real.requirement for real in TARBALLS]
    (folder / "emoji").mkdir(parents=True)
    for pin in pinned:
        (folder / "emoji" / pin.file).write_bytes(packages[pin.requirement])
    return pinned


@pytest.fixture
def cache(tmp_path: Path, packages: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder in which the packages lie."""
    monkeypatch.setattr(cdkit_data.emoji, "TARBALLS", laid_out(tmp_path, packages))
    monkeypatch.setenv("CDKIT_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, packages: dict[str, bytes]) -> Path:
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cdkit_data.emoji, "TARBALLS", laid_out(folder, packages))
        Emoji.fetch(folder)
    return folder


@pytest.fixture
def fetched(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The set, made once for all of these tests."""
    monkeypatch.setenv("CDKIT_CACHE", str(made))


fetch = pytest.mark.usefixtures("fetched")


def everything(**options: Any) -> list[Example]:
    emoji = Emoji(**options)
    return [example for name in SPLITS for example in emoji.split(name)]


def one(label: str, style: str, **options: Any) -> Example:
    (found,) = [e for e in everything(**options) if label in e.values["label"] and e.values["style"] == (style,)]
    return found


# --------------------------------------------------------------------------- fetching


def test_every_style_is_drawn_and_said_so(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Emoji.fetch(cache)
    said = capsys.readouterr().err
    assert "emoji: twemoji: 68 drawn, 66 distinct, 1 show nothing" in said, "the white square, and a flag that two places share"
    counts = {style.name: 0 for style in STYLES}
    for example in everything():
        counts[example.values["style"][0]] += 1
    assert counts == {name: 65 if name in ASKED_BY_NAME else 67 if name == "fluent-3d" else 66 for name in counts}
    Emoji.fetch(cache)
    assert "already in" in capsys.readouterr().err


def test_it_is_read_without_any_tool(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Emoji.fetch(cache)
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    monkeypatch.setattr(cdkit_data.npm.subprocess, "run", lambda *_, **__: pytest.fail("npm was asked"))
    for pin in TARBALLS:
        (cache / "emoji" / pin.file).unlink()
    Emoji.fetch(cache)
    assert len(Emoji().split("train")) > 300


def test_a_damaged_cache_is_not_read_and_fetching_mends_it(cache: Path) -> None:
    Emoji.fetch(cache)
    for file in ("emoji-32.npz", "emoji.jsonl"):
        path = cache / "emoji" / file
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(DataError, match=rf"{file}: damaged, its content is not what was fetched") as caught:
            Emoji().split("train")
        assert "cdkit data fetch emoji" in caught.value.hint
        Emoji.fetch(cache)
        assert path.read_bytes() == content, "the same files give the same set"


def test_what_is_not_there_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDKIT_CACHE", str(tmp_path))
    with pytest.raises(DataError, match=r"emoji is not here \(.*\); run: cdkit data fetch emoji") as caught:
        Emoji().split("train")
    assert "npm pack emojibase-data@17.0.0 @iconify-json/twemoji@1.2.5" in caught.value.hint
    assert str(tmp_path / "emoji") in caught.value.hint


def test_without_the_rasteriser_nothing_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(EnvironmentFault, match="drawing emoji needs resvg-py") as caught:
        Emoji.fetch(tmp_path)
    assert caught.value.hint == 'pip install "cdkit[emoji]"'
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------- pictures and words


@fetch
def test_pictures_lie_on_white_and_are_halved_by_the_mean() -> None:
    large, small = one("cat face", "twemoji", size=64), one("cat face", "twemoji")
    assert large.image.shape == (3, 64, 64)
    assert small.image.shape == (3, 32, 32) == tuple(Emoji().shape)
    assert large.id == small.id
    torch.testing.assert_close(small.image, torch.nn.functional.avg_pool2d(large.image, 2), atol=1.01 / 255, rtol=0)
    assert torch.equal(large.image[:, -1, -1], torch.ones(3)), "white where nothing is drawn"
    inside = (large.image[:, 20, 16] + 1) * 127.5  # the circle's centre (8, 10) of 32, at 64
    assert inside.round().tolist() == [200, 0, 0], "the cat comes first: hue 0"


@fetch
def test_a_picture_that_is_no_square_keeps_its_shape() -> None:
    image = (one("cat face", "fluent-3d", size=64).image + 1) * 127.5
    rows = (image.mean(dim=(0, 2)) < 254).nonzero().flatten()
    assert rows.min() in (15, 16)
    assert rows.max() in (47, 48)
    assert image[1, 30, 60] == 255, "what is transparent is white, whatever colour it hides"
    assert (image[1] - image[0]).abs().max() < 1.5, "nor does that colour, green, bleed into the edge between blue and white"


@fetch
def test_captions_name_thing_and_style_in_both_languages() -> None:
    values = one("cat face", "fluent-flat").values
    assert values["text.en"] == ("cat face, fluent flat style", "cat, fluent flat style", "kitten, fluent flat style")
    assert values["text.zh"] == ("猫脸，fluent 平面风格", "小猫，fluent 平面风格", "宠物，fluent 平面风格")
    assert values["text"] == (*values["text.en"], *values["text.zh"])
    assert (values["label"], values["style"]) == (("cat face",), ("fluent-flat",))
    assert (values["licence"], values["author"]) == (("MIT",), ("Microsoft",))
    assert one("cat face", "openmoji").values["licence"] == ("CC-BY-SA-4.0",)
    assert one("cat face", "twemoji", keywords=False).values["text"] == ("cat face, twemoji style", "猫脸，twemoji 风格")
    assert set(values) == set(Emoji.columns)


@fetch
def test_equal_pictures_are_one_with_all_that_is_said_of_them() -> None:
    values = one("flag: Norway", "noto").values
    assert values["label"] == ("flag: Bouvet Island", "flag: Norway")
    assert values["text.en"] == ("flag: Bouvet Island, noto style", "flag: Norway, noto style", "flag, noto style")


@fetch
def test_a_set_that_tells_no_codes_is_known_by_names() -> None:
    drawn = {label for e in everything() if e.values["style"] == ("fxemoji",) for label in e.values["label"]}
    assert "dog face" in drawn, "an alias"
    assert "cat face" not in drawn, "an alias that mirrors is another picture"
    red = (one("dog face", "fxemoji", size=64).image[:, 44, 28] + 1) * 127.5
    hue = colorsys.rgb_to_hsv(*(red / 200).tolist())[0]
    assert abs(hue - 1 / len(NAMED)) < 0.01, "the dog's colour, the second"


# --------------------------------------------------------------------------- what is held out


@pytest.mark.parametrize(
    ("code", "thing"),
    [
        ("1F3C3", "1F3C3"),
        (plain("1F3C3-200D-2640-FE0F-200D-27A1-FE0F"), "1F3C3"),  # a woman running, facing right
        ("1F468-200D-1F692", "1F9D1-1F692"),
        ("1F9D1-200D-1F692", "1F9D1-1F692"),
        ("2640", "2640"),
        ("27A1", "27A1"),
        ("1F431", "1F431"),
    ],
)
def test_whoever_does_it_it_is_one_thing(code: str, thing: str) -> None:
    assert thing_of(code) == thing


def test_emoji_that_look_alike_are_one_thing_and_so_are_theirs() -> None:
    things = things_of([["1F431"], [NORWAY, BOUVET], ["1F436", "1F439"], [BOUVET, "1F439"], ["1F42E"]])
    assert things[NORWAY] == things[BOUVET] == things["1F436"] == things["1F439"]
    assert len({things["1F431"], things["1F42E"], things[NORWAY]}) == 3


@fetch
def test_no_thing_and_no_artwork_stands_on_two_sides() -> None:
    emoji = Emoji()
    where: dict[tuple[str, str], set[str]] = {}
    for name in SPLITS:
        for values in emoji.split(name).values:
            family = BY_NAME[values["style"][0]].family
            what = "running" if values["label"][0].endswith("running") else values["label"][0]
            where.setdefault((what, family), set()).add(f"{name}/{values['split_kind'][0]}")
    assert all(len(sides) == 1 for sides in where.values())
    assert {side for sides in where.values() for side in sides} == {"train/seen", "validation/pair", "test/pair", "test/thing"}
    new = {what for (what, _), sides in where.items() if sides == {"test/thing"}}
    assert new
    assert not [key for key, sides in where.items() if key[0] in new and sides != {"test/thing"}]
    ids = [id for name in SPLITS for id in emoji.split(name).ids]
    assert len(ids) == len(set(ids))


@fetch
def test_held_out_chooses_what_test_holds_and_never_trains_on_the_rest() -> None:
    both, pairs, things = (Emoji(held_out=held_out) for held_out in HELD_OUT)
    for name in ("train", "validation"):
        assert both.split(name).ids == pairs.split(name).ids == things.split(name).ids
    assert {values["split_kind"] for values in pairs.split("test").values} == {("pair",)}
    assert {values["split_kind"] for values in things.split("test").values} == {("thing",)}
    assert sorted((*pairs.split("test").ids, *things.split("test").ids)) == sorted(both.split("test").ids)


def test_five_of_a_hundred_are_held_out_each_time() -> None:
    sides = [side_of(f"thing {n}", "noto") for n in range(20_000)]
    things = sum(side == "thing" for side, _ in sides) / len(sides)
    pairs = sum(side == "pair" and not validates for side, validates in sides) / len(sides)
    assert things == pytest.approx(0.05, abs=0.006)
    assert pairs == pytest.approx(0.95 * 0.05, abs=0.006)
    assert sum(validates for _, validates in sides) / len(sides) == pytest.approx(0.95**2 * 0.05, abs=0.006)
    assert [side_of("1F431", family) for family in ("noto", "twemoji", "fluent")] == [
        ("pair", True),
        ("seen", False),
        ("seen", False),
    ], "never moves"


@fetch
def test_the_fingerprint_follows_what_is_said_shown_and_held_out() -> None:
    prints = [Emoji(**options).fingerprint() for options in ({}, {"size": 64}, {"held_out": "pairs"}, {"keywords": False})]
    assert len(set(prints)) == 4
    assert Emoji().fingerprint() == prints[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 48}, "size is 48; emoji come in 32 and 64"),
        ({"held_out": "all"}, "held_out is 'all'; expected both, pairs, things"),
    ],
)
def test_options_that_there_are_not(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Emoji(**options)


# --------------------------------------------------------------------------- npm


def test_a_tarball_is_called_as_npm_calls_it() -> None:
    assert Tarball("@iconify-json/noto-v1@1.2.5", "").file == "iconify-json-noto-v1-1.2.5.tgz"
    assert NAMES.file == "emojibase-data-17.0.0.tgz"


def test_another_tarball_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tiny-1.0.0.tgz").write_bytes(b"another")
    with pytest.raises(EnvironmentFault, match=r"tiny-1\.0\.0\.tgz: sha256 is .*…, expected 000000000000…"):
        obtain([Tarball("tiny@1.0.0", "0" * 64)], tmp_path)


def test_without_npm_the_way_by_hand_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    tiny = Tarball("@cdkit/no-such-package@1.0.0", "0" * 64)
    with pytest.raises(EnvironmentFault, match="1 npm packages are needed, and there is no npm") as caught:
        obtain([tiny], tmp_path / "cache")
    assert caught.value.hint == by_hand([tiny], tmp_path / "cache")
    assert "`npm pack @cdkit/no-such-package@1.0.0`" in caught.value.hint
    assert not list((tmp_path / "cache").iterdir())


def test_what_npm_says_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code E404' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(EnvironmentFault, match=r"could not download tiny-1\.0\.0\.tgz: npm error code E404"):
        obtain([Tarball("tiny@1.0.0", "0" * 64)], tmp_path / "cache")


def test_what_npm_packs_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = tarball(tmp_path / "packed.tgz", {"a.txt": b"hello"})
    npm = tmp_path / "npm"
    npm.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncp {tmp_path}/packed.tgz cdkit-tiny-1.0.0.tgz\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    tiny = Tarball("@cdkit/tiny@1.0.0", hashlib.sha256(content).hexdigest())
    (path,) = obtain([tiny], tmp_path / "cache")
    assert members(path, lambda _: True) == {"a.txt": b"hello"}
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["cdkit-tiny-1.0.0.tgz"]
    asked = (tmp_path / "asked").read_text().split()
    assert asked[0] == "pack"
    assert {"--ignore-scripts", "@cdkit/tiny@1.0.0"} <= {*asked}


def test_a_tarball_is_read_in_memory_and_within_bounds(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    content = tarball(path, {"../../out.txt": b"x", "a.txt": b"hello", "b.txt": b"b" * 2000})
    assert members(path, lambda name: name == "a.txt") == {"a.txt": b"hello"}
    with pytest.raises(DataError, match=r"b\.txt has more than 1,000 bytes"):
        members(path, lambda name: name == "b.txt", largest=1000)
    for broken in (b"no gzip", content[: len(content) // 2]):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="not a tarball that can be read"):
            members(path, lambda _: True)
    assert [file.name for file in tmp_path.rglob("*")] == ["a.tgz"]


# --------------------------------------------------------------------------- the real one


@pytest.mark.skipif(not REAL, reason="cdkit data fetch emoji was not run")
def test_the_real_emoji() -> None:
    emoji = Emoji()
    assert [len(emoji.split(name)) for name in SPLITS] == [11461, 598, 1280]
    assert [len(Emoji(held_out=held_out).split("test")) for held_out in ("pairs", "things")] == [646, 634]
    trained = {label for values in emoji.split("train").values for label in values["label"]}
    for values in emoji.split("test").values:
        if values["split_kind"] == ("thing",):
            assert not trained & {*values["label"]}
    pairs = [values for values in emoji.split("test").values if values["split_kind"] == ("pair",)]
    assert np.mean([bool(trained & {*values["label"]}) for values in pairs]) > 0.97, "what is new is the pair"
    everyone = [values for name in SPLITS for values in emoji.split(name).values]
    assert len({values["style"] for values in everyone}) == 9
    assert all(values["text.en"] and values["text.zh"] and values["licence"] for values in everyone)
    corners = torch.stack([example.image[:, 0, 0] for example in emoji.split("validation")])
    assert (corners > 0.99).all(dim=1).float().mean() > 0.8, "the ground is white"
