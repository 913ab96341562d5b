"""Every value of a filled spec has its path and its origin, and `cdkit spec` tells them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cdkit.cli.app import cdkit
from cdkit.errors import UsageError
from cdkit.registry import Registry
from cdkit.spec import read_spec
from cdkit.spec.explain import Explained, explain, lines, said_of, sentences
from cdkit.spec.layers import layered
from cdkit.spec.leaves import Leaf, leaves
from cdkit.spec.options import REQUIRED
from click.testing import CliRunner

SPECS = Path(__file__).parents[3] / "specs"
FILM = SPECS / "film.yaml"
SHIPPED = sorted(SPECS.glob("*.yaml"))


def at(path: str, rows: list[Leaf]) -> Leaf:
    (found,) = [row for row in rows if row.path == path]
    return found


def line_of(file: Path, leaf: Leaf) -> str:
    assert leaf.place is not None
    return file.read_text(encoding="utf-8").splitlines()[leaf.place.line - 1][leaf.place.column - 1 :]


def test_a_value_is_where_it_was_said_last() -> None:
    rows = leaves(FILM, ["train.lr=0.5"])
    assert at("backbone.width", rows).origin.startswith(f"{SPECS / 'sd_like.yaml'}:")
    assert line_of(SPECS / "sd_like.yaml", at("backbone.width", rows)).startswith("320")
    assert line_of(FILM, at("injectors.0.use", rows)).startswith("film")
    assert at("train.lr", rows) == Leaf("train.lr", 0.5, at("train.lr", rows).place)
    assert at("train.lr", rows).origin == "--set train.lr"
    assert at("backbone.dropout", rows).origin == "default of unet"
    assert at("train.batch", rows).origin == "default"


def test_a_null_has_a_place_where_it_is_the_value(good: str, registry: Registry) -> None:
    """And none where it asks for another: the encoder's own habit here."""
    text = good.replace("dim: 16", "dim: 16, trainable: null").replace("lr: 1e-4", "ema: null")
    rows = leaves(text, registry=registry)
    assert at("conditions.text.trainable", rows) == Leaf("conditions.text.trainable", False, None, "words")
    assert at("train.ema", rows).origin == "<text>:22:8"
    assert at("train.clip", rows).origin == "default"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_leaves_are_the_filled_spec(path: Path) -> None:
    """Put together again by their paths they are what `filled` says; and what has a place is what stands there."""
    rows = leaves(path)
    assert len({row.path for row in rows}) == len(rows)
    whole = read_spec(path).filled()
    for row in rows:
        found: object = whole
        for key in row.path.split("."):
            found = found[int(key)] if isinstance(found, list) else found[key]  # type: ignore[index]
        assert found == row.value, row.path


def test_show_with_origin() -> None:
    out = CliRunner().invoke(cdkit, ["spec", "show", str(FILM), "--origin", "--set", "seed=3"])
    lines = {line.split(" = ")[0]: line for line in out.output.splitlines()}
    assert lines["seed"].split() == ["seed", "=", "3", "--set", "seed"]
    assert lines["backbone.width"].endswith(f"{SPECS / 'sd_like.yaml'}:10:30")
    rows = json.loads(CliRunner().invoke(cdkit, ["spec", "show", str(FILM), "--json"]).output)
    assert {"path": "train.batch", "value": 32, "origin": "default"} in rows


def test_fill_says_what_build_fill_says() -> None:
    filled = CliRunner().invoke(cdkit, ["spec", "fill", str(FILM)]).output
    assert filled == CliRunner().invoke(cdkit, ["build", str(FILM), "--fill"]).output
    assert read_spec(filled).to_yaml() == filled


def test_diff_tells_both_sides_and_where() -> None:
    out = CliRunner().invoke(cdkit, ["spec", "diff", str(SPECS / "sd_like.yaml"), str(FILM)])
    assert out.exit_code == 1
    assert f"- injectors.0.use = cross_attention  ({SPECS / 'sd_like.yaml'}:9:11)" in out.output.splitlines()
    assert f"+ injectors.0.use = film  ({FILM}:7:11)" in out.output.splitlines()
    assert not [line for line in out.output.splitlines() if not line[2:].startswith(("name", "injectors."))]
    same = CliRunner().invoke(cdkit, ["spec", "diff", str(FILM), str(FILM)])
    assert (same.exit_code, same.output) == (0, f"{FILM} and {FILM} say the same\n")


def test_explain_a_key_of_a_section_and_of_a_part() -> None:
    registry = Registry.installed()
    lr = explain("train.lr", registry)
    assert (lr.expects, lr.default, lr.doc) == ("a number greater than 0", 3e-4, "after the warmup.")
    width = explain("backbone.unet.width", registry)
    assert width == explain("backbone.cdkit/unet.width", registry)._replace(key="backbone.unet.width")
    assert width.expects == "an integer greater than 0"
    assert width.doc == "channels at the finest level."
    assert explain("encoder.bytes.dropout", registry).provider == "cdkit"


def test_a_key_at_the_top_is_explained() -> None:
    seed = explain("seed", Registry.installed())
    assert (seed.key, seed.provider, seed.default, seed.doc) == ("seed", "cdkit", 0, "of the weights at birth.")


@pytest.mark.parametrize(
    ("default", "shown"), [(REQUIRED, "required"), (None, "null"), ("猫", '"猫"'), ((1, 2), "[1, 2]"), (Path("x"), '"x"')]
)
def test_an_explanation_for_a_person(default: object, shown: str) -> None:
    head = ["data.root  (cdkit==1)", "  expects  text", f"  default  {shown}"]
    assert lines(Explained("data.root", "text", default, "cdkit==1", "where it lies.")) == [*head, "  where it lies."]
    assert lines(Explained("data.root", "text", default, "cdkit==1", "")) == head


def test_the_nearest_docstring_that_says_something_counts() -> None:
    class Above:
        """A part. size: of all of it. depth: of its net."""

    class Below(Above):
        """A part. depth: its own."""

    def made() -> None:
        """size: as it was made."""

    assert (said_of(Below, "depth"), said_of(Below, "size"), said_of(Below, "width")) == ("its own.", "of all of it.", "")
    assert (said_of(made, "size"), said_of(made, "depth")) == ("as it was made.", "")


def test_a_part_that_cannot_be_described_stands_in_no_other_ones_way() -> None:
    def bad(*, scale=3.0): ...  # no hint, so no option

    registry = Registry.installed().extended({("guider", "bad"): bad})
    with pytest.raises(UsageError) as caught:
        explain("guidance.scale", registry)
    assert caught.value.hint == "write guidance.cfg.scale"


def test_every_key_of_training_is_explained() -> None:
    from cdkit.spec.options import options_of
    from cdkit.spec.sections import TrainSection

    registry = Registry.installed()
    assert not [name for name in options_of(TrainSection) if not explain(f"train.{name}", registry).doc]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("traim.lr", r"'traim\.lr' is no key; did you mean 'train'\?"),
        ("train.lrr", r"'train\.lrr' is no key; did you mean 'lr'\?"),
        ("backbone.unet", r"'backbone\.unet' names no option of a part"),
        ("guidance.scale", r"'guidance\.scale' names no option of a part"),
        ("backbone.unet.widht", r"backbone 'unet' has no option 'widht'; did you mean 'width'\?"),
    ],
)
def test_a_wrong_key_is_told_with_the_nearest(key: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        explain(key, Registry.installed())


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("guidance.scale", "write guidance.cfg.scale"),
        ("injectors.film", "its keys are use, streams, name, sites, inner: write injectors.film.KEY"),
        ("injectors", "write injectors.NAME.KEY"),
    ],
)
def test_half_a_key_is_told_how_to_be_whole(key: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        explain(key, Registry.installed())
    assert caught.value.hint == hint


def test_a_key_is_explained_by_use_by_its_path_in_a_spec_and_for_every_part() -> None:
    registry = Registry.installed()
    inner = explain("injector.film.inner", registry)
    assert inner.doc == "hidden channels of an MLP, with SiLU, from the vector to scale and shift."
    for key in ("injectors.use=film.inner", "injectors.0.use=film.inner", "injectors.cdkit/film.inner"):
        assert explain(key, registry) == inner._replace(key=key)
    root, _ = layered(FILM, ())
    assert explain("injectors.0.inner", registry, root) == inner._replace(key="injectors.0.inner")
    assert explain("conditions.text.layer", registry, root).provider == registry.provider("encoder", "clip")
    assert explain("injectors.streams", registry).doc == "the conditions that it reads."


def test_the_command_explains_a_path_of_a_spec() -> None:
    out = CliRunner().invoke(cdkit, ["spec", "explain", "injectors.0.inner", str(FILM)])
    assert out.exit_code == 0
    assert "  default  null" in out.output.splitlines()


def test_sentences_end_where_another_key_begins() -> None:
    doc = "A part.\n\nfirst, second: one thing; or two. third: another,\nlonger. fourth: last; fifth: end."
    assert sentences(doc, "second") == "one thing; or two."
    assert sentences(doc, "third") == "another, longer."
    assert sentences(doc, "fourth") == "last."
    assert sentences(doc, "sixth") == ""
