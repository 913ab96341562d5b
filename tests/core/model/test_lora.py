"""LoRA's arithmetic, on every backbone: nothing at birth, the merged weights' answer, and no trace when it is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.build import assemble
from cdkit.errors import SpecError
from cdkit.model import Model
from cdkit.model.lora import TRAINED, Lora, LoraSet, chosen, drawn
from cdkit.parts import Adaptable
from cdkit.spec import read_spec
from torch import Tensor, nn

DIGITS = Path(__file__).parents[3] / "specs" / "digits.yaml"
BACKBONES = {
    "unet": "{use: unet, width: 16, mult: [1, 2], blocks: 1, attention: [1], heads: 2}",
    "unet_linear": "{use: unet, width: 16, mult: [1, 2], blocks: 1, attention: [1], heads: 2, projection: linear}",
    "unet_classic": "{use: unet_classic, width: 16, mult: [1, 2], heads: 2, head_dim: 8, up_attention: true}",
    "controlnet": "{use: controlnet, width: 16, mult: [1, 2], blocks: 1, attention: [1], heads: 2}",
    "dit": "{use: dit, width: 16, depth: 2, heads: 2}",
    "mmdit": "{use: mmdit, width: 16, depth: 2, heads: 2}",
}
INJECTORS = "[{use: %s, streams: [text]}, {use: film, streams: [text]}, {use: add, streams: [text]}]"
WORDS = {
    "unet": "cross_attention",
    "unet_linear": "text_query",
    "unet_classic": "cross_attention",
    "controlnet": "cross_attention",
    "dit": "in_context",
    "mmdit": "in_context",
}
EVERYTHING = "*"


@pytest.fixture(params=BACKBONES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def model_of(name: str, *overrides: str) -> Model:
    """In float64, with weights that hide nothing: whatever starts at zero is drawn."""
    told = (
        f"backbone={BACKBONES[name]}",
        f"injectors={INJECTORS % WORDS[name]}",
        "conditions.text={use: bytes, dim: 8, depth: 1}",
    )
    model = assemble(read_spec(DIGITS, overrides=(*told, *overrides)))
    arm(model.backbone)
    return model.double().eval()


@torch.no_grad()
def arm(module: nn.Module, seed: int = 0, size: float = 1.0) -> None:
    draws = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 16
        parameter.copy_(size * torch.randn(parameter.shape, generator=draws) / fan_in**0.5)


@torch.no_grad()
def answer(model: Model) -> Tensor:
    draws = torch.Generator().manual_seed(7)
    x = torch.randn(3, 1, 8, 8, generator=draws, dtype=torch.float64)
    return model(x, torch.tensor([10.0, 400.0, 900.0], dtype=torch.float64), {"text": ["one", "two", "thirty-three"]})


def grown(model: Model, seed: int = 1) -> LoraSet:
    """A LoRA of every layer, with weights that are felt."""
    made = drawn(model.layers(), rank=3, alpha=2.0, seed=seed).double()
    arm(made, seed, 0.5)
    return made


def kept(model: Model) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_at_birth_it_corrects_nothing_and_keeps_every_name(name: str) -> None:
    plain, adapted = model_of(name), model_of(name, "lora={targets: ['*']}")
    assert len(adapted.loras[TRAINED]) == len(adapted.layers())  # pyright: ignore[reportArgumentType]
    plain.requires_grad_(False)  # as the adapted one is: torch multiplies frozen weights in another order
    assert torch.equal(answer(plain), answer(adapted))
    assert same(kept(plain), kept(adapted))


def test_attached_says_what_merged_says(name: str) -> None:
    model = model_of(name)
    before = answer(model)
    model.loras["one"], model.loras["two"] = grown(model, 1), grown(model, 2)
    model.loras["two"].strengthen(-0.7)  # pyright: ignore[reportCallIssue]
    attached = answer(model)
    assert (attached - before).abs().max() > 0.1, "a correction that is not felt would agree with anything"
    model.merge_loras()
    assert not model.loras
    assert torch.allclose(answer(model), attached, rtol=0, atol=1e-12 * float(attached.abs().max()))


def test_detached_it_was_never_there(name: str) -> None:
    model = model_of(name)
    before, weights = answer(model), kept(model)
    made = grown(model)
    assert not torch.equal(answer(model), before)
    made.detach_()
    assert torch.equal(answer(model), before)
    assert same(kept(model), weights)
    assert not any(layer.layer._forward_hooks for layer in model.layers().values())  # pyright: ignore[reportPrivateUsage]


def test_every_layer_that_is_declared_is_felt(name: str) -> None:
    model = model_of(name)
    made = grown(model)
    model.zero_grad()
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model(x, torch.tensor([300.0, 700.0], dtype=torch.float64), {"text": ["one", "two"]}).square().sum().backward()
    for path, parameter in made.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.any()), path  # noqa: PT018


@pytest.mark.parametrize("name", ["unet_classic", "dit"])
def test_rows_of_a_fused_layer_stand_alone(name: str) -> None:
    model = model_of(name)
    layers = model.layers()
    fused = next(path for path in layers if path.endswith("to_k"))
    target = layers[fused]
    assert target.rows is not None
    before, rows = target.layer.weight.detach().clone(), range(*target.rows.indices(target.layer.weight.shape[0]))
    x = torch.randn(5, before.shape[1], *[4] * (before.dim() - 2), dtype=torch.float64)
    plain = target.layer(x)
    made = drawn({fused: target}, rank=2, alpha=2.0, seed=0).double()
    arm(made)
    changed = (target.layer(x) != plain).transpose(0, 1).flatten(1).any(1)
    assert changed.nonzero().flatten().tolist() == list(rows)
    made.merge_()
    moved = (target.layer.weight != before).flatten(1).any(1)
    assert moved.nonzero().flatten().tolist() == list(rows)


def test_a_convolution_by_hand() -> None:
    """up @ down is the convolution's own kernel: stride, padding and dilation are the layer's."""
    layer = nn.Conv2d(3, 5, 3, stride=2, padding=2, dilation=2).double()
    lora = Lora(Adaptable(layer), rank=2, alpha=3.0)
    lora.double()
    arm(lora)
    kernel = torch.einsum("or,rihw->oihw", lora.up[:, :, 0, 0], lora.down) * 3.0 / 2
    x = torch.randn(2, 3, 9, 7, dtype=torch.float64)
    expected = nn.functional.conv2d(x, layer.weight + kernel, layer.bias, 2, 2, 2)
    lora.attach()
    assert torch.allclose(layer(x), expected, atol=1e-13)


@pytest.mark.parametrize("odd", [{"groups": 3}, {"padding": 1, "padding_mode": "circular"}])
def test_a_convolution_that_it_cannot_imitate_is_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="takes no LoRA"):
        Lora(Adaptable(nn.Conv2d(3, 3, 3, **odd)), rank=1, alpha=1.0)


def test_half_precision_weights_are_corrected_in_float32() -> None:
    layer = nn.Linear(8, 8).bfloat16()
    lora = Lora(Adaptable(layer), rank=2, alpha=2.0)
    assert lora.down.dtype == torch.float32
    arm(lora)
    lora.attach()
    x = torch.randn(4, 8).bfloat16()
    assert layer(x).dtype == torch.bfloat16


def test_its_weights_depend_on_seed_and_name_alone() -> None:
    few, many = model_of("unet", "lora={targets: [to_q]}"), model_of("unet", "lora={targets: ['*']}")
    other = model_of("unet", "lora={targets: [to_q]}", "seed=1")
    ours, theirs = (dict(model.loras[TRAINED].named_parameters()) for model in (few, many))
    assert all(torch.equal(tensor, theirs[path]) for path, tensor in ours.items())
    downs = {path: tensor for path, tensor in other.loras[TRAINED].named_parameters() if path.endswith("down")}
    assert not any(torch.equal(tensor, ours[path]) for path, tensor in downs.items())


def test_targets_are_names_ends_of_names_or_patterns() -> None:
    names = ["down.0.attn1.to_q", "up.0.attn1.to_q", "up.0.attn2.to_q", "up.0.not_to_q"]
    assert chosen(names, "to_q") == set(names[:3])
    assert chosen(names, "attn1.to_q") == set(names[:2])
    assert chosen(names, "up.*.to_q") == set(names[1:3])
    assert chosen(names, "to") == set()


def test_a_target_that_means_nothing_is_refused_with_what_there_is() -> None:
    with pytest.raises(SpecError, match=r"lora\.targets: 'to_x' means no layer of unet") as caught:
        model_of("unet", "lora={targets: [to_q, to_x]}")
    assert "to_q" in caught.value.hint
    with pytest.raises(SpecError, match="is empty"):
        model_of("unet", "lora={targets: []}")


@pytest.mark.slow
def test_it_may_be_compiled() -> None:
    model = model_of("unet")
    grown(model)
    plain = answer(model)
    model.backbone.compile(backend="eager", fullgraph=True)
    assert torch.allclose(answer(model), plain, atol=1e-12)
