"""A course takes a network's calls by their detours: what they keep comes back to its rows, and the network stays as it was."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cdkit
import pytest
import torch
from cdkit.build import assemble
from cdkit.build.recipe import chosen
from cdkit.diffusion.denoiser import At
from cdkit.errors import SpecError, UsageError
from cdkit.fast import stepped
from cdkit.fast.stepped import Stepped
from cdkit.model.course import Course, called
from cdkit.parts import Approximation, Detour, SampleShape
from cdkit.registry import Registry
from cdkit.spec import read_spec
from torch import Tensor, nn

DIGITS = Path(__file__).parents[3] / "specs" / "digits.yaml"
TOLD, SILENT = frozenset[str](), frozenset({"text"})
SAMPLE = SampleShape(1, 2, 2)


class Doubling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor, *, plus: float = 0.0) -> Tensor:
        self.seen.append(x)
        return 2 * x + plus


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Doubling()

    def forward(self, x: Tensor, t: Tensor, signals: Any) -> Tensor:
        del t, signals
        return self.inner(x, plus=1.0) - x


@dataclass(frozen=True)
class Again(Approximation):
    """What the inner module answered at the last step that `every` divides."""

    every: int = 2

    def detours(self, network: nn.Module, sample: SampleShape) -> Sequence[Detour]:
        del sample
        if not isinstance(network, Network):
            raise ValueError("expected a network with an inner one")
        return [Detour(network.inner, again)]

    def phase(self, index: int, steps: int) -> Hashable:
        del steps
        return index % self.every == 0


def again(own: Callable[..., Any], given: tuple[Any, ...], phase: Hashable, kept: Tensor | None) -> tuple[Any, Tensor | None]:
    if kept is not None and not phase:
        return kept, None
    answer = own(*given)
    return answer, answer


def x(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)


def asked(course: Course, values: Sequence[float], step: int, *branches: frozenset[str]) -> list[float]:
    return course(x(*values), torch.zeros(len(values)), {}, At(step, branches))[:, 0, 0, 0].tolist()


def test_without_approximations_the_network_answers() -> None:
    network = Network()
    assert asked(Course(network, (), SAMPLE, 4), [1.0, 2.0], 0, TOLD) == [2.0, 3.0]
    assert "forward" not in vars(network.inner)


def test_what_was_kept_comes_back_to_the_rows_of_its_branch() -> None:
    network = Network()
    course = Course(network, (Again(),), SAMPLE, 6)
    assert asked(course, [1.0, 2.0, 3.0, 4.0], 0, TOLD, SILENT) == [2.0, 3.0, 4.0, 5.0]
    assert asked(course, [0.0] * 4, 1, TOLD, SILENT) == [3.0, 5.0, 7.0, 9.0]
    assert asked(course, [0.0] * 4, 1, SILENT, TOLD) == [7.0, 9.0, 3.0, 5.0]
    assert asked(course, [0.0] * 2, 1, SILENT) == [7.0, 9.0]
    assert len(network.inner.seen) == 1


def test_a_branch_that_was_never_asked_is_asked_with_all_that_stand_beside_it() -> None:
    network = Network()
    course = Course(network, (Again(),), SAMPLE, 6)
    asked(course, [1.0], 0, TOLD)
    assert asked(course, [5.0, 6.0], 1, TOLD, SILENT) == [6.0, 7.0]
    assert asked(course, [0.0, 0.0], 3, TOLD, SILENT) == [11.0, 13.0]


def test_a_course_begins_with_nothing() -> None:
    network = Network()
    for _ in range(2):
        assert asked(Course(network, (Again(),), SAMPLE, 6), [1.0], 1, TOLD) == [2.0]


def test_two_detours_of_one_module_go_one_through_the_other() -> None:
    network = Network()
    course = Course(network, (Again(2), Again(3)), SAMPLE, 7)
    for step in range(7):
        asked(course, [float(step)], step, TOLD)
    assert [float(each.mean()) for each in network.inner.seen] == [0.0, 6.0], "at step 3 the second asks, and the first has kept"


def test_a_forward_that_stood_there_stands_there_again() -> None:
    network = Network()
    network.inner.forward = mine = lambda x, *, plus: 3 * x + plus
    assert asked(Course(network, (Again(),), SAMPLE, 6), [1.0], 0, TOLD) == [3.0]
    assert network.inner.forward is mine


# --------------------------------------------------------------------------- recorded step by step


class Taped:
    """A recording without a GPU: what it did when it was made it does at every call, of other tensors of the same shapes."""

    made = 0

    def __init__(self, function: Callable[..., Any], inputs: Sequence[Tensor], constants: Sequence[Tensor] = ()) -> None:
        type(self).made += 1
        self.function, self.shapes = function, [tensor.shape for tensor in (*inputs, *constants)]

    def __call__(self, inputs: Sequence[Tensor], constants: Sequence[Tensor] = ()) -> Any:
        assert self.shapes == [tensor.shape for tensor in (*inputs, *constants)]
        return self.function(*inputs, *constants)


@pytest.fixture
def taped(monkeypatch: pytest.MonkeyPatch) -> type[Taped]:
    monkeypatch.setattr(stepped, "Captured", Taped)
    monkeypatch.setattr(Taped, "made", 0)
    return Taped


@pytest.mark.parametrize("approximations", [(), (Again(),), (Again(3), Again(2))])
def test_recorded_step_by_step_it_is_the_same(approximations: tuple[Approximation, ...], taped: type[Taped]) -> None:
    plain, recorded = (
        Course(Network(), approximations, SAMPLE, 12, call)
        for call in (called, Stepped(8))  # two networks of one kind
    )
    for step in range(12):
        branches = (TOLD, SILENT) if step < 8 else (TOLD,)
        values = [float(step + row) for row in range(2 * len(branches))]
        assert asked(recorded, values, step, *branches) == asked(plain, values, step, *branches), step
    assert taped.made <= 2 * (1 + 3 * len(approximations)), "one for each way of taking a step, and not one a step"


# --------------------------------------------------------------------------- what asks for them


def test_a_spec_names_them_and_is_the_same_when_it_is_read_again() -> None:
    plain = read_spec(DIGITS)
    spec = read_spec(DIGITS, overrides=["approximate=[{use: deep_cache, every: 2}, {use: token_merging}]"])
    assert spec.filled()["approximate"][0] == {"use": "deep_cache", "every": 2, "depth": 0}
    assert read_spec(spec.to_yaml()).filled() == spec.filled()
    assert "approximation.deep_cache" in spec.provenance
    assert "approximate" not in plain.filled(), "it is off unless a spec names it"
    assert spec.digest() == plain.digest(), "no weight means anything else by it"


def test_what_is_asked_for_takes_the_place_of_what_the_spec_says() -> None:
    model = cdkit.load("animals")
    how: dict[str, Any] = {"seed": 3, "steps": 3}
    exact = model.sample(["a cat"], **how)
    quick = model.sample(["a cat"], approximate=["{use: deep_cache, every: 3}"], **how)
    assert not torch.equal(quick.images, exact.images)
    assert quick.recipe["approximate"] == ["DeepCache(every=3, depth=0)"]
    parts = read_spec(DIGITS, overrides=["approximate=[{use: deep_cache, every: 3}]"]).approximations
    model.spec = replace(model.spec, approximations=parts)
    assert torch.equal(model.sample(["a cat"], **how).images, quick.images)
    assert torch.equal(model.sample(["a cat"], approximate=[], **how).images, exact.images)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deep_cash", "there is no approximation 'deep_cash'; did you mean 'deep_cache'"),
        ("{use: deep_cache, evry: 2}", "unknown key 'evry'; did you mean 'every'?"),
        ("{every: 2}", "missing key 'use'; expected the name of an approximation"),
        ("{use: deep_cache, depth: 99}", "depth is 99"),
        ("[deep_cache]", "expected a mapping with `use`"),
    ],
)
def test_what_is_asked_for_wrongly_is_told_so(text: str, message: str) -> None:
    model = assemble(read_spec(DIGITS))
    with pytest.raises((SpecError, UsageError, ValueError)) as refused:
        model.sample(["seven"], approximate=[text], guidance=1.0)
    assert message in str(refused.value)
    assert "--approximate" in str(refused.value)


def test_the_command_line_can_ask_for_none() -> None:
    assert chosen(()) is None
    assert chosen(("none",)) == ()
    assert chosen(("deep_cache", "token_merging")) == ("deep_cache", "token_merging")


def test_a_stranger_may_bring_one() -> None:
    registry = Registry.installed().extended({("approximation", "again"): Again})
    with pytest.raises(SpecError, match=r"approximate: again: expected a network with an inner one"):
        assemble(read_spec(DIGITS, overrides=["approximate=[{use: again, every: 2}]"], registry=registry), device="meta")
