"""card: a run as a model card: what it is, how it is told, what it learned from and how it scored, out of what it left."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from cdkit.engine.journal import losses_of
from cdkit.engine.licences import licences
from cdkit.engine.run import Run
from cdkit.engine.scores import lines as score_lines
from cdkit.engine.shelf import standing
from cdkit.engine.sparkline import sparkline
from cdkit.spec import Spec
from cdkit.spec.drawing import drawing_of
from cdkit.spec.drawing_mermaid import mermaid

EVALUATION = "evaluation"  # the folder in a run where `cdkit evaluate` leaves its reports


def card(run: Run) -> str:
    """Markdown with the metadata that model hubs read."""
    spec = run.spec()
    return "\n".join([head(spec), *body(run, spec, reports(run))]) + "\n"


def reports(run: Run) -> list[Mapping[str, Any]]:
    """What `cdkit evaluate` left in the run, one report a metric; those of a sweep too."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((run.path / EVALUATION).glob("*.json"))]
    return [report for report in found if isinstance(report, dict) and "scores" in report]


def head(spec: Spec) -> str:
    """Metadata in YAML: tags, and the data's name."""
    facts: dict[str, Any] = {"library_name": "cdkit", "pipeline_tag": "text-to-image", "tags": ["diffusion", *ways(spec)]}
    if spec.data is not None:
        facts["datasets"] = [spec.data.name]
    return f"---\n{yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)}---"


def ways(spec: Spec) -> list[str]:
    return list(dict.fromkeys(injector.part.name for injector in spec.injectors))


def body(run: Run, spec: Spec, reports: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    shape = spec.sample
    told = ", ".join(f"{name} ({condition.part.use})" for name, condition in spec.conditions.items()) or "nothing"
    yield f"\n# {spec.name}\n"
    yield f"A diffusion model that draws {shape.height} × {shape.width} with {shape.channels} channels, told {told}"
    yield f"by {', '.join(ways(spec)) or 'no method'}, made with cdkit.\n"
    yield f"```console\n$ cdkit sample {run.path.name} --prompt {quoted(spec)} --out drawn\n```\n"
    yield f"## How it is made\n\n```mermaid\n{mermaid(drawing_of(spec))}```\n"
    yield from training(run, spec)
    yield from scored(reports)
    yield "\n## On what terms\n"
    yield "What was taken from others, as its part states it:\n"
    yield from (f"- {part}: {licence or 'not stated'}" for part, licence in licences([spec]).items())
    yield f"\n## The filled spec\n\n```yaml\n{spec.to_yaml()}```"


def quoted(spec: Spec) -> str:
    prompts = spec.train.prompts or ()
    return f'"{prompts[0]}"' if prompts else '"a prompt"'


def training(run: Run, spec: Spec) -> Iterator[str]:
    """How far it came, and its losses as a line of blocks."""
    now, losses = standing(run), list(losses_of(run.path).values())
    data = f"`{spec.data.use}`" if spec.data else "data that the spec does not name"
    yield f"## Training\n\n{now.step:,} of {now.steps or now.step:,} steps of batch {spec.train.batch} on {data}; {now.state}."
    if losses:
        yield f"\nLoss, from {losses[0]:.3g} to {losses[-1]:.3g}: `{sparkline(losses)}`"


def scored(reports: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "\n## Scores\n"
    if not reports:
        yield "Not evaluated yet: `cdkit evaluate RUN`, and then `cdkit card RUN` again."
    for report in reports:
        yield "```text\n" + "\n".join(score_lines(report)) + "\n```"
