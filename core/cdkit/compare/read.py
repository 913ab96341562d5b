"""read_comparison: a base spec and what varies from arm to arm -> every arm as a Spec, or everything that is wrong at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from annotated_types import Ge, MinLen

from cdkit.compare.table import rows
from cdkit.registry import Registry
from cdkit.registry.names import quoted
from cdkit.spec import PartSpec, Spec
from cdkit.spec.draft import Draft
from cdkit.spec.keys import section_keys
from cdkit.spec.layers import layered, merge
from cdkit.spec.model import Place
from cdkit.spec.nodes import Node, Table, is_null, named, text_of
from cdkit.spec.problem import Problem, SpecErrors, refusal
from cdkit.spec.read import FILE_STEM, IDENTIFIER, read_tree
from cdkit.spec.sections import Length, NonNegative, Positive
from cdkit.spec.validate import unknown_key, validated

BASE = re.compile(r"(\.\./)*[^\W_][\w./-]*\.ya?ml")
Scale: TypeAlias = Annotated[float, Ge(0)]
Axis: TypeAlias = Literal["steps", "parameters", "macs", "seconds"]
By: TypeAlias = Literal["steps", "inner", "backbone"]
WAYS: Mapping[Axis, tuple[By, ...]] = {  # by what each axis can be matched, the first where nothing is said
    "steps": ("steps",),
    "parameters": ("inner", "backbone"),
    "macs": ("steps", "inner", "backbone"),
    "seconds": ("steps",),
}
IN_WORDS: Mapping[By, str] = {
    "steps": "the number of steps",
    "inner": "the inner width of methods",
    "backbone": "the backbone's width",
}
Init: TypeAlias = Literal["zero", "unit_response"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonKeys:
    """base: a spec, by its path from here. reference: the arm that the others are held against; the first where it is empty.

    vary: the sections in which arms may differ; in all others they are to be alike. match: what every arm gets the same of, as
    much as the reference takes. by: what follows from it, the number of `steps`, the `inner` width of the arms' injectors, or the
    width of their `backbone`. init: how loudly a method speaks at birth: as it was
    made (`zero`), or all alike (`unit_response`). guidance: scales, and ema: relative lengths of the average of weights, of
    which each arm takes the pair that is best on the validation split. prompts: what the report shows; the data set's own where
    there are none. shown: rows of pictures of them. timing: what each arm takes is measured at the end, alone.
    """

    compare: Literal[1]
    name: str
    base: str
    reference: str = ""
    seeds: Annotated[tuple[NonNegative, ...], MinLen(1)] = (0, 1, 2)
    vary: tuple[str, ...] = ("conditions", "injectors", "guidance")
    match: Axis = "steps"
    by: By | None = None
    init: Init = "zero"
    guidance: Annotated[tuple[Scale, ...], MinLen(1)] = (1.0, 1.5, 2.0)
    ema: tuple[Length, ...] = ()
    prompts: tuple[str, ...] = ()
    shown: Positive = 1
    timing: bool = True


@dataclass(frozen=True)
class Comparison:
    """What is compared. `arms`: the spec of each, by name. `score`: the metric of the verdict; `also`: others, reported.

    `heard`: the metric by which it is asked after how many steps words are heard; None: nobody asks.
    """

    keys: ComparisonKeys
    arms: Mapping[str, Spec]
    score: PartSpec
    also: tuple[PartSpec, ...]
    place: Place
    heard: PartSpec | None = None

    @property
    def reference(self) -> str:
        return self.keys.reference or next(iter(self.arms))

    @property
    def by(self) -> By:
        """What is solved for, so that all arms get the same."""
        return self.keys.by or WAYS[self.keys.match][0]

    @property
    def differences(self) -> dict[str, list[str]]:
        """What each arm's filled spec says otherwise than the reference's, as a diff."""
        reference = self.arms[self.reference].to_yaml().splitlines()
        return {
            arm: list(difflib.unified_diff(reference, spec.to_yaml().splitlines(), lineterm="", n=0))[2:]
            for arm, spec in self.arms.items()
            if arm != self.reference
        }

    def _repr_html_(self) -> str:
        """In a notebook: the arms, and what each says otherwise than the reference."""
        keys, told = self.keys, self.differences
        head = f"{keys.name}: {len(self.arms)} arms, {len(keys.seeds)} seeds, matched in {keys.match}, by {self.score.use}"
        body = ([arm, "\n".join(told.get(arm, ["the reference"]))] for arm in self.arms)
        table = rows(["arm", "what it says otherwise"], body).replace("<td>", "<td style='white-space:pre'>")
        return f"<p>{escape(head)}</p>{table}"


def read_comparison(path: str | Path, *, registry: Registry | None = None) -> Comparison:
    """Read and check a comparison. SpecErrors with every problem and its place; UsageError if there is no such file."""
    root, problems = layered(Path(path), ())
    draft = Draft(registry or Registry.installed())
    draft.problems += problems
    return comparison_of(draft, root, Path(path).parent)


def comparison_of(draft: Draft, root: Table, folder: Path) -> Comparison:
    """The comparison that a tree says, its base looked for from a folder. SpecErrors with all of the draft's problems."""
    keys = read_keys(draft, root)
    score, also = read_scores(draft, root)
    heard = draft.part("metric", root.get("heard"), "heard")
    arms = read_arms(draft, root, folder)
    if keys is not None:
        draft.problems += unlike(keys, arms, root)
    if draft.problems or keys is None or score is None:
        raise refusal(draft.problems)
    return Comparison(keys, arms, score, also, root.place, heard.spec if heard else None)


OWN = ("arms", "score", "also", "heard", "every")


def read_keys(draft: Draft, root: Table) -> ComparisonKeys | None:
    """The plain keys of a comparison; what is matched must be one of those that its `by` can match."""
    values = plain_keys(draft, root, ComparisonKeys, OWN, "a comparison")
    if values is None:
        return None
    by, ways = values["by"], WAYS[values["match"]]
    if by not in (None, *ways):
        message = f"{values['match']} cannot be matched by {IN_WORDS[by]}; expected {' or '.join(ways)}"
        draft.blame(root.get("by") or root, "by", message, code="value")
    return ComparisonKeys(**values)


def plain_keys(draft: Draft, root: Table, section: type[Any], own: tuple[str, ...], owner: str) -> dict[str, Any] | None:
    """A file's keys but its own ones, which are read apart; unknown ones are told so beside those that there are."""
    options = section_keys(section)
    known = {**options.options, **dict.fromkeys(own)}
    strangers = [(key, entry) for key, entry in root.entries.items() if key not in known]
    draft.problems += [unknown_key(key, entry.place, "", known, owner) for key, entry in strangers]
    table = Table({key: entry for key, entry in root.entries.items() if key in options.options}, root.place)
    values, problems = validated(table, options, "", owner)
    draft.problems += problems
    if problems:
        return None
    if not FILE_STEM.fullmatch(values["name"]):
        draft.blame(table.get("name") or root, "name", f"{quoted(values['name'])} is no name of a folder", code="name")
    return values


def read_scores(draft: Draft, root: Table) -> tuple[PartSpec | None, tuple[PartSpec, ...]]:
    """The metric that decides, which must have a figure to decide by, and others."""
    node = root.get("score")
    if node is None:
        draft.problems.append(Problem(root.place, "", "missing key 'score'; expected a metric, such as {use: said_drawn}"))
    found = draft.part("metric", node, "score")
    others = [part for _, part in draft.parts("metric", root.get("also"), "also") if part]
    for part in (found, *others):
        if part is not None and not getattr(part.factory, "figure", ""):
            problem = f"{part.spec.use} has no figure that arms could be compared by"
            draft.problems.append(Problem(part.spec.place, "score", problem, code="value"))
    for place, part in enumerate(others, 1):
        if part.spec.use in [other.spec.use for other in (found, *others)[:place] if other]:
            problem = f"a second {part.spec.use}; scores are told apart by their names"
            draft.problems.append(Problem(part.spec.place, "also", problem, code="duplicate-name"))
    return (found.spec if found else None), tuple(part.spec for part in others)


def read_arms(draft: Draft, root: Table, folder: Path) -> dict[str, Spec]:
    """Each arm laid over the base and what `every` says over that; a mistake in one hides none in another."""
    base, node = base_of(draft, root, folder), root.get("arms")
    if base is not None and (every := root.get("every")) is not None:
        base = laid_over(base, every)
    if not isinstance(node, Table) or len(node.entries) < 2:
        what = "missing key 'arms'" if node is None else f"{named(node)} of {len(getattr(node, 'entries', ()))}"
        where = root.place if node is None else node.place
        draft.problems.append(Problem(where, "arms", f"{what}; expected a mapping of two arms at least", code="arms"))
        return {}
    read: dict[str, Spec] = {}
    for name, entry in node.entries.items():
        if not IDENTIFIER.fullmatch(name):
            message = f"{quoted(name)} is no name; expected lower-case letters, digits and `_`"
            draft.blame(entry, f"arms.{name}", message, code="name")
        elif base is not None:
            try:
                read[name] = read_tree(laid_over(base, entry.node), (), draft.registry)
            except SpecErrors as error:
                draft.problems += error.problems
    return read


def base_of(draft: Draft, root: Table, folder: Path) -> Table | None:
    node = root.get("base")
    name = text_of(node)
    if node is None or name is None:
        return None  # which read_keys has told
    if not BASE.fullmatch(name):
        draft.blame(node, "base", f"{quoted(name)} is no path from here; expected a spec such as ../digits.yaml", code="base")
        return None
    tree, problems = layered(folder / name, ())
    draft.problems += problems
    return tree


def laid_over(base: Table, arm: Node) -> Table:
    """The base with what the arm says over it; an arm that says nothing is the base."""
    merged = base if is_null(arm) else merge(base, arm)
    assert isinstance(merged, Table)
    return merged


def unlike(keys: ComparisonKeys, arms: Mapping[str, Spec], root: Table) -> list[Problem]:
    """What makes a comparison unfair: an arm that differs in a section that is not said to vary, a reference that is no arm."""
    problems: list[Problem] = []
    node = root.get("arms")
    if keys.reference and arms and keys.reference not in arms:
        place = (root.get("reference") or root).place
        problems.append(Problem(place, "reference", f"there is no arm {quoted(keys.reference)}; arms are {', '.join(arms)}"))
    if not arms or not isinstance(node, Table):
        return problems
    first, *others = arms.items()
    alike = sections(first[1], keys.vary)
    for name, spec in others:
        different = [key for key, value in sections(spec, keys.vary).items() if value != alike.get(key)]
        different += [key for key in alike if key not in sections(spec, keys.vary)]
        if different:
            message = f"differs from {first[0]!r} in {', '.join(different)}, and arms may differ in {', '.join(keys.vary)} alone"
            hint = f"make them alike, or say so: vary: [{', '.join([*keys.vary, *different])}]"
            problems.append(Problem(node.entries[name].place, f"arms.{name}", message, hint, "unfair"))
    return problems


def sections(spec: Spec, vary: tuple[str, ...]) -> dict[str, Any]:
    """A filled spec's sections that are not to vary; its name and its prompts are its own."""
    whole = spec.filled()
    whole["train"] = {key: value for key, value in whole["train"].items() if key != "prompts"}
    return {key: value for key, value in whole.items() if key not in {*vary, "name", "evaluate"}}
