"""Every key and every value of every shipped spec, bent by a rule: refused where it stands, by the reader and by the schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cdkit.registry import Registry
from cdkit.registry.names import nearest, slips
from cdkit.spec import SpecErrors, read_spec
from cdkit.spec.compose import compose
from cdkit.spec.explain import KIND_OF
from cdkit.spec.nodes import Listing, Node, Scalar, Table, plain
from cdkit.spec.place import Place
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

SPECS = Path(__file__).parents[3] / "specs"
SHIPPED = sorted(SPECS.glob("*.yaml"))
TEXTS = {path: path.read_text(encoding="utf-8") for path in SHIPPED}
OFTEN = {"sd_like", "animals", "digits"}
EACH = [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem not in OFTEN)) for path in SHIPPED]
FREE = {"conditions"}  # its keys are names of one's own
STRANGE = "{strange: 1}"  # suits no option of any part


@pytest.fixture(scope="module")
def installed() -> Registry:
    return Registry.installed()


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads((SPECS / "cdkit.schema.json").read_text(encoding="utf-8")))


def keys(node: Node, path: str = "") -> Iterator[tuple[str, str, Place]]:
    """Every key that the reader knows: its name, the path of its mapping, its place."""
    if isinstance(node, Table):
        for key, entry in node.entries.items():
            if path not in FREE:
                yield key, path, entry.place
            yield from keys(entry.node, f"{path}.{key}".lstrip("."))
    elif isinstance(node, Listing):
        for index, item in enumerate(node.items):
            yield from keys(item, f"{path}.{index}")


def values(node: Node, path: str = "") -> Iterator[tuple[str, Scalar]]:
    """Every scalar that stands under a key, with its path."""
    if isinstance(node, Table):
        for key, entry in node.entries.items():
            yield from values(entry.node, f"{path}.{key}".lstrip("."))
    elif isinstance(node, Scalar) and node.value is not None:
        yield path, node


def over_a_part(root: Node, where: str) -> bool:
    """Is a value that of a part which an extended spec names? What suits it then, no schema can say."""
    section, *rest = where.split(".")
    part = root.get(section) if isinstance(root, Table) else None
    if section == "conditions" and isinstance(part, Table):
        part = part.get(rest[0])
    return section in KIND_OF and isinstance(part, Table) and "use" not in part.entries


def bent(text: str, place: Place, old: str, new: str) -> str:
    """The text with a word changed at its place."""
    lines = text.split("\n")
    line, at = lines[place.line - 1], place.column - 1
    assert line[at:].startswith(old)
    lines[place.line - 1] = line[:at] + new + line[at + len(old) :]
    return "\n".join(lines)


def misspelt(word: str) -> Iterator[str]:
    """One letter left out, doubled, exchanged, or swapped with the next."""
    middle = len(word) // 2
    if len(word) > 2:
        yield word[:middle] + word[middle + 1 :]
        yield word[: middle - 1] + word[middle] + word[middle - 1] + word[middle + 1 :]
    yield word[:middle] + word[middle] + word[middle:]
    yield word[:middle] + "q" + word[middle + 1 :]


def problems(text: str, installed: Registry, folder: Path) -> dict[tuple[int, int], str]:
    """What the reader says of a text in the place of a shipped spec, by line and column."""
    for other in SHIPPED:
        if not (folder / other.name).exists():
            (folder / other.name).write_text(TEXTS[other], encoding="utf-8")
    (folder / "bent.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SpecErrors) as caught:
        read_spec(folder / "bent.yaml", registry=installed)
    assert {Path(problem.place.file).name for problem in caught.value.problems} <= {"bent.yaml", *(p.name for p in SHIPPED)}
    return {
        (problem.place.line, problem.place.column): problem.message
        for problem in caught.value.problems
        if problem.place.file.endswith("bent.yaml")
    }


@pytest.mark.parametrize("path", EACH)
def test_a_key_with_one_letter_wrong_is_refused_and_the_right_one_named(
    path: Path, installed: Registry, validator: Draft202012Validator, tmp_path: Path
) -> None:
    root, _ = compose(TEXTS[path], str(path))
    assert root is not None
    for key, where, place in keys(root):
        for wrong in misspelt(key):
            if wrong == key:
                continue
            text = bent(TEXTS[path], place, key, wrong)
            assert not validator.is_valid(plain(compose(text, "bent.yaml")[0] or root)), f"{where}.{wrong}"
            told = problems(text, installed, tmp_path)
            if key == "use":
                assert any(message.startswith(("missing key 'use'", "unknown key")) for message in told.values())
            else:
                assert told[place.line, place.column] == f"unknown key {wrong!r}; did you mean {key!r}?", f"{where}.{wrong}"


@pytest.mark.parametrize("path", EACH)
def test_a_mapping_in_the_place_of_a_value_is_refused(
    path: Path, installed: Registry, validator: Draft202012Validator, tmp_path: Path
) -> None:
    root, _ = compose(TEXTS[path], str(path))
    assert root is not None
    for where, scalar in values(root):
        text = bent(TEXTS[path], scalar.place, scalar.text, STRANGE)
        assert over_a_part(root, where) or not validator.is_valid(plain(compose(text, "bent.yaml")[0] or root)), where
        told = problems(text, installed, tmp_path)
        assert "mapping" in told[scalar.place.line, scalar.place.column], where


WORDS = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=3, max_size=12)


@given(WORDS, WORDS, st.data())
def test_what_is_two_slips_away_is_found(meant: str, other: str, data: st.DataObject) -> None:
    """Whatever else is known, the one that is offered is no farther away than the one that was meant."""
    wrong = meant
    for _ in range(2):
        place = data.draw(st.integers(0, len(wrong)))
        letter = data.draw(st.sampled_from(["", "x", "e"]))
        wrong = wrong[:place] + letter + wrong[place + (letter == "x") :]
    assert slips(wrong, meant) <= 2
    found = nearest(wrong, [other, meant])
    assert slips(wrong, found) <= slips(wrong, meant)


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [("film", "film", 0), ("flim", "film", 1), ("fim", "film", 1), ("fillm", "film", 1), ("film", "firm", 1), ("lr", "rl", 1),
     ("", "ab", 2), ("abcd", "badc", 2), ("kitten", "sitting", 3)],
)  # fmt: skip
def test_slips_are_counted(one: str, other: str, count: int) -> None:
    assert slips(one, other) == slips(other, one) == count


def test_nothing_is_near_what_keeps_no_letter() -> None:
    assert nearest("xy", ["lr"]) == ""
    assert nearest("zzz", ["ddim", "lms"]) == ""
    assert nearest("l", ["lr", "betas"]) == "lr"
