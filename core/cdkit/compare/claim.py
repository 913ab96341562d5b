"""read_claim: a published finding as a file: a comparison, what is expected of it, and what each scale lays over it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from cdkit.compare.expectation import MARGINS, Expectation
from cdkit.compare.read import Comparison, comparison_of, plain_keys
from cdkit.registry import Registry
from cdkit.registry.names import quoted
from cdkit.spec.draft import Draft
from cdkit.spec.keys import section_keys
from cdkit.spec.layers import layered, merge
from cdkit.spec.nodes import Entry, Node, Scalar, Table, named
from cdkit.spec.place import Place
from cdkit.spec.problem import Problem, refusal
from cdkit.spec.validate import unknown_key, validated

ScaleName: TypeAlias = Literal["tiny", "small", "gpu"]
SCALES: tuple[ScaleName, ...] = get_args(ScaleName)
OWN = ("comparison", "expect", "scales")
MADE = ("compare", "name")  # keys of a comparison that a claim gives it
FILES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimKeys:
    """says: the finding in a sentence. paper: where it was published. found: by what numbers. here: what is compared instead."""

    claim: Literal[1]
    name: str
    says: str
    paper: str
    found: str
    here: str


@dataclass(frozen=True)
class Claim:
    """What was registered. `expect`: of each arm beside the reference. `digest`: sha256 of the file's bytes."""

    keys: ClaimKeys
    expect: Mapping[str, Expectation]
    path: Path
    digest: str
    tree: Table
    registry: Registry

    def at(self, scale: ScaleName) -> Comparison:
        """The comparison of a scale, named after both. SpecErrors with every problem and its place."""
        draft, place, name = Draft(self.registry), self.tree.place, f"{self.keys.name}-{scale}"
        said, scales = self.tree.get("comparison"), self.tree.get("scales")
        assert isinstance(said, Table)
        assert isinstance(scales, Table)
        whole = merge(said, scales.entries[scale].node)
        assert isinstance(whole, Table)
        given = {"compare": Scalar("1", 1, place), "name": Scalar(name, name, place)}
        tree = Table({**whole.entries, **{key: Entry(place, node) for key, node in given.items()}}, whole.place)
        comparison = comparison_of(draft, tree, self.path.parent)
        if problems := misplaced(self, comparison):
            raise refusal(problems)
        return comparison


def find_claim(name: str, registry: Registry | None = None) -> Claim:
    """The claim that an installed package hands over under this name, or one in a file. UnknownPart names the nearest."""
    known = registry or Registry.installed()
    path = Path(name) if name.endswith(FILES) else known.get("claim", name)
    return read_claim(path, registry=known)


def read_claim(path: Path, *, registry: Registry | None = None) -> Claim:
    """Read and check all of a claim but its scales. SpecErrors with every problem and its place; UsageError for no such file."""
    known = registry or Registry.installed()
    root, problems = layered(path, ())
    draft = Draft(known)
    draft.problems += problems
    values = plain_keys(draft, root, ClaimKeys, OWN, "a claim")
    expect = read_expectations(draft, root)
    check_shape(draft, root)
    if draft.problems or values is None:
        raise refusal(draft.problems)
    return Claim(ClaimKeys(**values), expect, path, hashlib.sha256(path.read_bytes()).hexdigest(), root, known)


def read_expectations(draft: Draft, root: Table) -> dict[str, Expectation]:
    """By arm. A margin of nothing forgives nothing, so no number of seeds could show that it is kept."""
    node = root.get("expect")
    if not isinstance(node, Table) or not node.entries:
        draft.problems.append(Problem(place_of(node, root), "expect", shape_of(node, "an arm's {sign, threshold} at least")))
        return {}
    read: dict[str, Expectation] = {}
    for arm, entry in node.entries.items():
        where = f"expect.{arm}"
        if not isinstance(entry.node, Table):
            draft.blame(entry, where, shape_of(entry.node, "{sign: better, threshold: 0.02}"), code="type")
            continue
        values, problems = validated(entry.node, section_keys(Expectation), where, "an expectation")
        draft.problems += problems
        if problems:
            continue
        read[arm] = Expectation(**values)
        if read[arm].sign in MARGINS and not read[arm].threshold:
            message = f"{read[arm].sign} needs a threshold above 0, the margin that is forgiven"
            draft.blame(entry.node, where, message, code="value")
    return read


def check_shape(draft: Draft, root: Table) -> None:
    """A comparison, and every scale over it; what they say is read when one is asked for."""
    said, scales = root.get("comparison"), root.get("scales")
    if not isinstance(said, Table):
        draft.problems.append(Problem(place_of(said, root), "comparison", shape_of(said, "what a file of `cdkit compare` says")))
    if not isinstance(scales, Table):
        draft.problems.append(Problem(place_of(scales, root), "scales", shape_of(scales, ", ".join(SCALES))))
        return
    check_scales(draft, scales)
    laid = {"comparison": said, **{f"scales.{key}": entry.node for key, entry in scales.entries.items()}}
    draft.problems += [
        Problem(table.entries[key].place, f"{where}.{key}", f"{key!r} follows from the claim", "take it away", "unknown-key")
        for where, table in laid.items()
        if isinstance(table, Table)
        for key in MADE
        if key in table.entries
    ]


def check_scales(draft: Draft, scales: Table) -> None:
    """All of them and no other, each a mapping."""
    known: dict[str, None] = dict.fromkeys(SCALES)
    for key, entry in scales.entries.items():
        if key not in known:
            draft.problems.append(unknown_key(key, entry.place, "scales", known, "scales"))
        elif not isinstance(entry.node, Table):
            draft.blame(entry, f"scales.{key}", shape_of(entry.node, "what it lays over the comparison"), code="type")
    missing = [scale for scale in SCALES if scale not in scales.entries]
    if missing:
        draft.blame(scales, "scales", f"there is no {', '.join(missing)}; expected {', '.join(SCALES)}", code="missing-key")


def misplaced(claim: Claim, comparison: Comparison) -> list[Problem]:
    """Expectations of arms that there are not, and of the reference beside itself."""
    node = claim.tree.get("expect")
    assert isinstance(node, Table)
    others = [arm for arm in comparison.arms if arm != comparison.reference]
    return [
        Problem(
            node.entries[arm].place,
            f"expect.{arm}",
            f"{quoted(arm)} is the reference itself" if arm == comparison.reference else f"there is no arm {quoted(arm)}",
            f"arms beside the reference are {', '.join(others)}",
        )
        for arm in claim.expect
        if arm not in others
    ]


def place_of(node: Node | None, root: Table) -> Place:
    return root.place if node is None else node.place


def shape_of(node: Node | None, wanted: str) -> str:
    return f"{'missing' if node is None else named(node)}; expected {wanted}"
