"""first: a spec that trains in two minutes on a CPU, with one of its parts exchanged for another."""

from __future__ import annotations

FIRST = """\
# Ten handwritten digits, said and drawn: cdkit train {file} --out runs/{run}, two minutes on a CPU.
cdkit: 1
name: digits
sample: {{channels: 1, height: 8, width: 8}}
conditions:
  {condition}
injectors:
  - {injector}
backbone: {backbone}
guidance: {guider}
sampler: {sampler}
{approximate}data: {dataset}
train: {{steps: 800, batch: 64, lr: 2.0e-3, warmup: 100, ema: 0.995{prompts}}}
{callback}evaluate:
  - {metric}
"""
USUAL = {
    "file": "digits.yaml",
    "run": "digits",
    "condition": "text: {use: bytes, dim: 64, depth: 1, heads: 2, dropout: 0.1}",
    "injector": "{use: cross_attention, streams: [text], heads: 2}",
    "backbone": "{use: unet, width: 24, mult: [1, 2], blocks: 1, attention: [1], heads: 2}",
    "guider": "{use: cfg, scale: 1.5}",
    "sampler": "{use: dpmpp_2m, steps: 20}",
    "dataset": "{use: digits}",
    "prompts": ", prompts: [three, seven]",
    "approximate": "",
    "callback": "",
    "metric": "{use: said_drawn, pictures: 500}",
}
OTHERS = {
    "text_encoder": {"condition": "text: {{use: {part}, dim: 64, dropout: 0.1}}"},
    "encoder": {
        "condition": "label: {{use: {part}, dim: 64, dropout: 0.1}}",
        "injector": "{{use: add, streams: [label]}}",
        "prompts": "",
    },
    "injector": {"injector": "{{use: {part}, streams: [text]}}"},
    "backbone": {"backbone": "{{use: {part}, width: 24}}", "injector": "{{use: film, streams: [text]}}"},
    "sampler": {"sampler": "{{use: {part}, steps: 20}}"},
    "approximation": {"approximate": "approximate:\n  - {{use: {part}}}\n"},
    "guider": {"guider": "{{use: {part}, scale: 1.5}}"},
    "dataset": {"dataset": "{{use: {part}}}", "prompts": ", prompts: [a bright one, a dark one]"},
    "metric": {"metric": "{{use: {part}, pictures: 100}}"},
    "callback": {"callback": "callbacks:\n  - {{use: {part}}}\n"},
}  # what the first spec says otherwise, to use a part of each kind


def first_spec(what: str = "", part: str = "") -> str:
    """The spec, with the named part in the place of its kind's; as it is by default."""
    others = {place: text.format(part=part) for place, text in OTHERS.get(what, {}).items()}
    stem = part.replace("-", "_")
    named = {"file": f"specs/{stem}.yaml", "run": stem} if part else {}
    return FIRST.format(**{**USUAL, **named, **others})


def first_prompt(what: str) -> str:
    """What a model of that spec can be told to draw."""
    return "a bright one" if what == "dataset" else "seven"
