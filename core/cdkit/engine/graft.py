"""graft: a way of telling mounted on a trained model, which draws at first exactly what it drew before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from cdkit.build import assemble
from cdkit.build.liveness import prove
from cdkit.diffusion.random import generator
from cdkit.engine.birth import give_birth
from cdkit.engine.inherit import inherit
from cdkit.engine.load import find_run, load
from cdkit.engine.run import SPEC, Run
from cdkit.errors import CheckpointError, UsageError
from cdkit.model import Model
from cdkit.parts import Stream
from cdkit.spec import InjectorSpec, Spec
from cdkit.spec.layers import layered, merge
from cdkit.spec.nodes import Table
from cdkit.spec.read import read_tree

Say = Callable[[str], None]
TOLD = 2  # pictures that are compared


def graft(source: str, over: Path, out: Path, *, say: Say = print) -> Path:
    """Leave `out`: a run at step 0 of the model in `source` with what `over` mounts on it; returns its path.

    over: a YAML file of the sections to add or change, such as conditions, injectors and guidance. UsageError for a method that
    changes what the model draws before it has learned anything, and for a file that changes the network itself.
    """
    run = find_run(source)
    spec = grafted(run, over)
    prove(assemble(spec, device="meta"))
    before = load(run.path, device="cpu")
    check_identity(before, spec, run)
    path = give_birth(spec, out, init_from=[str(run.path)], say=say)
    say(f"{path}: at step 0 every output is bit-equal to that of {run.path}, whatever is said")
    return path


def grafted(run: Run, over: Path) -> Spec:
    """The run's spec with the file's sections over it."""
    base, problems = layered(run.path / SPEC, ())
    added, more = layered(over, ())
    whole = merge(base, added)
    assert isinstance(whole, Table)
    before, spec = run.spec(), read_tree(whole, [*problems, *more], run.spec().registry)
    for section in ("backbone", "sample", "autoencoder", "diffusion"):
        if before.filled().get(section) != spec.filled().get(section):
            raise UsageError(
                f"{over}: changes {section}; a graft mounts a method on the network as it is, and changes nothing of it"
            )
    name = spec.name if spec.name != before.name else f"{before.name}_grafted"
    return replace(spec, name=name)


def check_identity(before: Model, spec: Spec, run: Run) -> None:
    """UsageError that names the methods without an identity at birth: those that change an output, even by the last bit."""
    after = with_weights(spec, run)
    if torch.equal(*answers(before, after)):
        return
    guilty = [injector.name for injector in new_injectors(before, spec) if changes(before, alone(spec, injector, before), run)]
    raise UsageError(
        f"{' and '.join(guilty) or 'the methods together'} changes what {run.path} draws before it has learned anything",
        hint="take a method that is the identity at birth, or one with a gate, such as gated",
    )


def with_weights(spec: Spec, run: Run) -> Model:
    """The new model with all that the run has learned."""
    model, checkpoint = assemble(spec), run.latest()
    if checkpoint is None:
        raise CheckpointError(f"{run.path}: has no checkpoint yet")
    inherit(model, run, checkpoint)
    return model.eval()


def new_injectors(before: Model, spec: Spec) -> Iterator[InjectorSpec]:
    there = {injector.name for injector in before.spec.injectors}
    yield from (injector for injector in spec.injectors if injector.name not in there)


def alone(spec: Spec, injector: InjectorSpec, before: Model) -> Spec:
    """The run's own methods and this one."""
    there = {other.name for other in before.spec.injectors}
    return replace(spec, injectors=[other for other in spec.injectors if other.name in there or other is injector])


def changes(before: Model, spec: Spec, run: Run) -> bool:
    return not torch.equal(*answers(before, with_weights(spec, run)))


@torch.no_grad()
def answers(before: Model, after: Model) -> tuple[Tensor, Tensor]:
    """What both make of the same noise at several times, the new one told at random."""
    x = torch.randn((TOLD, *before.shape), generator=generator(0, "graft"))
    times = [torch.full((TOLD,), level) for level in (1.0, 500.0, 999.0)]
    old = [before.backbone(x, t, before.prepare(before.joined(streams(before)))) for t in times]
    new = [after.backbone(x, t, after.prepare(after.joined(streams(after)))) for t in times]
    return torch.stack(old), torch.stack(new)


def streams(model: Model) -> dict[str, Stream]:
    """Random streams of the widths that its encoders declare, the same for a condition of one name in any model."""
    return {name: drawn(name, model) for name in model.told}


def drawn(name: str, model: Model) -> Stream:
    widths, draws = model.readers[name].encoder.widths, generator(0, "graft", name)
    shapes = {
        "tokens": (TOLD, 5, widths.tokens),
        "pooled": (TOLD, widths.pooled),
        "spatial": (TOLD, widths.spatial, *model.shape[1:]),
    }
    return Stream(**{form: torch.randn(shape, generator=draws) for form, shape in shapes.items() if getattr(widths, form)})
