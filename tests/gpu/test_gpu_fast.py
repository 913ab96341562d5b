"""On a GPU: kernels at full size against float64, recorded samplings and trainings against those step by step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.build import assemble
from cdkit.conditions import Count
from cdkit.engine.load import load
from cdkit.fast import hasten
from cdkit.fast.replayed import Replayed
from cdkit.fast.training import quick
from cdkit.kernels import fast, gelu_gate, layer_normed, normalised
from cdkit.model import Model
from cdkit.spec import read_spec
from torch import Tensor, nn

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

SPECS = Path(__file__).parents[2] / "specs"
BOUNDS = {torch.float32: 2e-6, torch.bfloat16: 6e-3}


def apart(found: Tensor, wanted: Tensor) -> float:
    found, wanted = found.detach().double(), wanted.detach().double()
    return float((found - wanted).norm() / wanted.norm())


def worst(found: Tensor, wanted: Tensor, inputs: list[Tensor], exact: list[Tensor]) -> float:
    grad = torch.randn_like(found)
    found.backward(grad)
    wanted.backward(grad.double())
    return max(apart(found, wanted), *(apart(a.grad, b.grad) for a, b in zip(inputs, exact, strict=True) if a.grad is not None))


@pytest.mark.parametrize("dtype", list(BOUNDS))
@pytest.mark.parametrize("shape", [(2, 320, 64, 64), (2, 1280, 8, 8), (3, 96, 20, 28), (16, 640, 32, 32)])
@pytest.mark.parametrize("told", [False, True])
def test_group_norm(dtype: torch.dtype, shape: tuple[int, ...], told: bool) -> None:
    x = (torch.randn(shape, device="cuda") + 1).to(dtype).to(memory_format=torch.channels_last)
    forms = [x, *(torch.randn(shape[1], device="cuda") for _ in range(2))]
    forms += [torch.randn(shape[:2], device="cuda") for _ in range(2)] if told else []
    mine, exact = [v.clone().requires_grad_() for v in forms], [v.double().requires_grad_() for v in forms]

    def modulation(values: list[Tensor]) -> dict[str, Any]:
        return {"scale": values[3], "shift": values[4]} if told else {}

    with fast():
        found = normalised(mine[0], 32, mine[1], mine[2], eps=1e-5, silu=True, **modulation(mine))
    wanted = normalised(exact[0], 32, exact[1], exact[2], eps=1e-5, silu=True, **modulation(exact))
    assert worst(found, wanted, mine, exact) < BOUNDS[dtype]


@pytest.mark.parametrize("dtype", list(BOUNDS))
def test_layer_norm_and_gate(dtype: torch.dtype) -> None:
    layer = nn.LayerNorm(640, device="cuda")
    nn.init.normal_(layer.weight)
    exact = nn.LayerNorm(640, device="cuda", dtype=torch.float64)
    exact.load_state_dict(layer.state_dict())
    x = (torch.randn(1000, 640, device="cuda") + 1).to(dtype)
    mine, true = x.clone().requires_grad_(), x.double().requires_grad_()
    with fast():
        assert worst(layer_normed(layer, mine), exact(true), [mine], [true]) < BOUNDS[dtype]
    both = torch.randn(500, 2560, device="cuda").to(dtype)
    mine, true = both.clone().requires_grad_(), both.double().requires_grad_()
    value, gate = true.chunk(2, -1)
    with fast():
        assert worst(gelu_gate(mine), value * nn.functional.gelu(gate), [mine], [true]) < BOUNDS[dtype]


@pytest.fixture(autouse=True)
def exact_convolutions() -> Iterator[None]:
    """float32 that is float32."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    yield
    torch.backends.cudnn.allow_tf32 = before


def made() -> Model:
    model = assemble(read_spec(SPECS / "digits.yaml", overrides=("sampler.steps=8", "backbone.width=64")), device="cuda").eval()
    draws = torch.Generator(device="cuda").manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1, generator=draws)
    model.ledger.counts["text"] = Count(told=9, silent=1)
    return model


def nudged(seed: int) -> Model:
    """The same, each weight changed by about a millionth of it."""
    model, draws = made(), torch.Generator(device="cuda").manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 1e-6 * torch.randn(parameter.shape, device="cuda", generator=draws))
    return model


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp_2m", "euler_ancestral", "ddpm"])
def test_recorded_samplings_draw_what_is_drawn_step_by_step(sampler: str) -> None:
    how: dict[str, Any] = {"seed": 3, "guidance": 3.0, "sampler": sampler}
    plain = made().sample(["seven", "three"], **how).images
    model = hasten(made(), torch.float32)
    first, again = (model.sample(["seven", "three"], **how).images for _ in range(2))
    other = model.sample(["one", "two"], **how).images
    assert torch.equal(first, again)
    assert apart(first, plain) < 1e-3
    assert apart(other, made().sample(["one", "two"], **how).images) < 1e-3, "another prompt is another picture"


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "heun", "euler_ancestral"])
@pytest.mark.parametrize(
    "ways",
    [
        ["{use: deep_cache, every: 3, depth: 1}"],
        ["{use: cached_cross_attention, until: 0.5}"],
        ["token_merging"],
        ["{use: deep_cache, every: 2}", "{use: cached_cross_attention, until: 0.5}", "token_merging"],
    ],
    ids=len,
)
def test_recorded_approximations_draw_what_they_draw_step_by_step(ways: list[str], sampler: str) -> None:
    """As one recording, and where fresh noise is drawn as one for each way of taking a step.

    Which tokens are merged hangs by a hair where two are equally near: then a millionth of the weights draws another picture.
    """
    how: dict[str, Any] = {"seed": 3, "guidance": 3.0, "sampler": sampler, "approximate": ways}
    plain = made().sample(["seven", "three"], **how).images
    model = hasten(made(), torch.float32)
    exact = model.sample(["seven", "three"], **{**how, "approximate": []}).images
    first, again = (model.sample(["seven", "three"], **how).images for _ in range(2))
    assert torch.equal(first, again)
    by_a_hair = [nudged(seed).sample(["seven", "three"], **how).images for seed in range(3)]
    assert min(apart(first, drawn) for drawn in (plain, *by_a_hair)) < 2e-3
    assert apart(exact, plain) > 1e-2, "what is recorded is the approximation"


def test_a_shipped_model_in_bfloat16() -> None:
    prompts = ["a cat", "a dog", "a giraffe"]
    plain = load("animals", device="cuda").sample(prompts, seed=1).images
    drawn = hasten(load("animals", device="cuda")).sample(prompts, seed=1).images
    assert apart(drawn, plain) < 0.1


def test_replayed_gradients_are_those_of_the_passes() -> None:
    model = made().train()
    x, t = torch.randn(2, *model.shape, device="cuda"), torch.tensor([10.0, 700.0], device="cuda")
    replayed = Replayed(model.backbone)
    for _ in range(3):
        grads: list[list[Tensor]] = []
        x = torch.randn_like(x)
        for call in (model.backbone, replayed):
            with quick(torch.device("cuda")):
                signals = model.prepare(model.joined(model.encode({"text": ["seven", "three"]})))
                call(x, t, signals).square().mean().backward()
            grads.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
            model.zero_grad(set_to_none=True)
        assert len(grads[0]) == len(grads[1])
        assert max(apart(b, a) for a, b in zip(*grads, strict=True) if a.norm() > 1e-6) < 2e-2


def test_a_recorded_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """Its moments come from a file, where rows alone are kept; a fused step takes them in the order of the weights."""
    from cdkit.engine.train import train

    told = ("train.steps=6", "train.checkpoint_every=3", "train.sample_every=0", "backbone.width=64")
    for minutes in (0.0, None):
        run = train(read_spec(SPECS / "digits.yaml", overrides=told), tmp_path / "run", minutes=minutes, say=lambda _: None)
    assert load(str(run.path)).ledger.counts["text"].told > 0
