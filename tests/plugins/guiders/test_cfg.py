"""cfg: what it asks for, that it is affine in its scale, and where its interval, rescaling and several scales act."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from cdkit.diffusion.denoiser import Branches, Denoiser
from cdkit.diffusion.process import Diffusion
from cdkit.parts import Grid, Signals
from cdkit.testing import check_guider
from cdkit_guiders.cfg import Cfg
from torch import Tensor

TOLD, SILENT = frozenset[str](), frozenset({"text"})
GRID = Diffusion().grid(10)
OPTIONS: list[dict[str, Any]] = [
    {},
    {"scale": 1.0},
    {"scale": 0.0},
    {"scale": -1.0},
    {"rescale": 0.7},
    {"interval": (200.0, 800.0)},
    {"scales": {"text": 7.5, "label": 1.5}},
    {"scales": {"label": 2.0}},
    {"scales": {"label": 3.0}},
    {"scale": 1.0, "scales": {"text": 2.0}},
    {"scale": 0.0, "scales": {"text": 2.0}, "rescale": 1.0},
]


def picture(seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn((2, 3, 4, 4), generator=torch.Generator().manual_seed(seed), dtype=dtype)


class Network:
    """A smooth function of picture, time and what it was told (0 where silent); counts its rows."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.asked: list[Branches] = []

    def predict(self, x: Tensor, t: Tensor, signals: Signals, _at: Any) -> Tensor:
        self.rows.append(len(x))
        return torch.tanh(x * 0.5 + signals["site"]["method"][:, None, None, None].to(x) + t[:, None, None, None] * 1e-4)

    def signals(self, branches: Branches) -> Signals:
        self.asked.append(branches)
        strength = {"text": 1.0, "label": 0.3}
        told = [sum(value for name, value in strength.items() if name not in branch) for branch in branches]
        return {"site": {"method": torch.tensor(told).repeat_interleave(2)}}


def drawn(guider: Any, i: int = 4, *, x: Tensor | None = None, conditions: Sequence[str] = ("text",)) -> tuple[Tensor, Network]:
    network = Network()
    diffusion = Diffusion(prediction="v")
    denoiser = Denoiser(
        predict=network.predict,
        signals=network.signals,
        diffusion=diffusion,
        grid=GRID,
        guider=guider,
        conditions=conditions,
    )
    return denoiser(picture(0) if x is None else x, i), network


def alone(silent: frozenset[str], i: int = 4, x: Tensor | None = None) -> Tensor:
    """What one branch draws, asked for by itself."""

    class One(Cfg):
        def branches(self, conditions: Sequence[str], grid: Grid, index: int) -> Sequence[frozenset[str]]:
            del conditions, grid, index
            return [silent]

    return drawn(One(), i, x=x)[0]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_conformance(options: dict[str, Any]) -> None:
    check_guider(partial(Cfg, **options))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("scale", "silent"), [(1.0, TOLD), (0.0, SILENT)])
def test_one_and_nothing_are_one_branch_bit_for_bit(scale: float, silent: frozenset[str], dtype: torch.dtype) -> None:
    x = picture(0, dtype)
    guided, network = drawn(Cfg(scale=scale), x=x)
    assert torch.equal(guided, alone(silent, x=x))
    assert network.rows == [2]
    assert network.asked == [(silent,)]


def test_guidance_is_one_call_of_twice_the_rows() -> None:
    guided, network = drawn(Cfg(scale=3.0))
    assert network.rows == [4]
    told, silent = alone(TOLD), alone(SILENT)
    assert torch.allclose(guided, silent + 3 * (told - silent), atol=1e-14)


def test_affine_in_the_scale() -> None:
    at = {scale: drawn(Cfg(scale=scale))[0] for scale in (-1.5, 0.0, 0.5, 1.0, 2.0, 7.5)}
    for scale, guided in at.items():
        assert torch.allclose(guided, at[0.0] + scale * (at[1.0] - at[0.0]), atol=1e-13)


def test_the_same_on_the_picture_as_on_the_prediction() -> None:
    """silent + scale * (told - silent) of v, turned into a picture, is what comes out: both are affine at one noise level."""
    network, diffusion, x = Network(), Diffusion(prediction="v"), picture(0)
    alpha, sigma, t = float(GRID.alpha[4]), float(GRID.sigma[4]), GRID.t[4].expand(2)
    told, silent = (network.predict(x, t, network.signals((branch,)), None) for branch in (TOLD, frozenset({"text"})))
    of_output = diffusion.clean_at(silent + 5 * (told - silent), x, alpha, sigma)
    assert torch.allclose(drawn(Cfg(scale=5.0))[0], of_output, atol=1e-12)


def test_the_interval_guides_inside_its_ends_and_tells_all_outside() -> None:
    guider = Cfg(scale=3.0, interval=(299.0, 799.0))
    for i in range(10):
        guided, network = drawn(guider, i)
        inside = 299 <= float(GRID.t[i]) <= 799
        assert network.rows == [4 if inside else 2]
        assert torch.equal(guided, drawn(Cfg(scale=3.0))[0] if inside and i == 4 else guided)
        if not inside:
            assert torch.equal(guided, alone(TOLD, i))
    assert [float(GRID.t[i]) for i in range(10) if len(guider.branches(["text"], GRID, i)) == 2] == [799, 699, 599, 499, 399, 299]


def test_rescaling_gives_the_told_pictures_contrast_back() -> None:
    told = alone(TOLD).std(dim=(1, 2, 3))
    plain, half, full = (drawn(Cfg(scale=6.0, rescale=share))[0].std(dim=(1, 2, 3)) for share in (0.0, 0.5, 1.0))
    assert not torch.allclose(plain, told, rtol=1e-2)
    assert torch.allclose(full, told, rtol=1e-12)
    assert torch.allclose(half, (plain + told) / 2, rtol=1e-12)


def test_rescaling_is_diffusers() -> None:
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    told, silent = picture(1), picture(2)
    theirs = rescale_noise_cfg(silent + 4 * (told - silent), told, guidance_rescale=0.7)
    assert torch.allclose(Cfg(scale=4.0, rescale=0.7).combine([told, silent], GRID, 0), theirs, atol=1e-12)


def test_a_flat_picture_is_rescaled_to_itself() -> None:
    flat = torch.ones(2, 1, 4, 4)
    assert torch.equal(Cfg(scale=2.0, rescale=1.0).combine([flat, flat], GRID, 0), flat)


def test_conditions_with_scales_of_their_own_speak_one_after_another() -> None:
    """InstructPix2Pix, eq. 3: nothing, then the label at its scale, then the text at its own."""
    guider, conditions = Cfg(scales={"label": 1.5, "text": 7.5}), ("text", "label")
    nobody, label = frozenset({"text", "label"}), frozenset({"text"})
    assert list(guider.branches(conditions, GRID, 0)) == [TOLD, label, nobody]
    everything, some, nothing = picture(1), picture(2), picture(3)
    wanted = nothing + 1.5 * (some - nothing) + 7.5 * (everything - some)
    assert torch.allclose(guider.combine([everything, some, nothing], GRID, 0), wanted, atol=1e-13)


@pytest.mark.parametrize(("scale", "own"), [(3.0, 3.0), (1.0, 4.0), (2.0, 1.0), (0.0, 2.0), (3.0, 0.0), (2.0, 5.0)])
@pytest.mark.parametrize("conditions", [("text",), ("text", "label"), ("size", "text", "label")])
def test_whatever_the_scales_the_chain_of_differences_comes_out(scale: float, own: float, conditions: tuple[str, ...]) -> None:
    """Branches that count nothing are left out, with and without conditions that have no scale of their own."""
    guider = Cfg(scale=scale, scales={"text": own})
    rest = tuple(name for name in conditions if name != "text")
    pictures = {frozenset(conditions): picture(1), frozenset({"text"}): picture(2), TOLD: picture(3)}
    asked = guider.branches(conditions, GRID, 0)
    wanted = pictures[frozenset(conditions)]
    if rest:
        wanted = wanted + scale * (pictures[frozenset({"text"})] - wanted)
        wanted = wanted + own * (pictures[TOLD] - pictures[frozenset({"text"})])
    else:
        wanted = wanted + own * (pictures[TOLD] - wanted)
    assert torch.allclose(guider.combine([pictures[branch] for branch in asked], GRID, 0), wanted, atol=1e-13)


def test_nothing_to_guide_is_one_branch() -> None:
    assert list(Cfg(scales={"text": 2.0}).branches((), GRID, 0)) == [TOLD]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("interval [800.0, 200.0]; expected its lower end first")):
        Cfg(interval=(800.0, 200.0))
    with pytest.raises(ValueError, match="guidance scales 'txet', which is told nothing here; what is told: text, label"):
        Cfg(scales={"txet": 2.0}).branches(("text", "label"), GRID, 0)
    with pytest.raises(ValueError, match="3 branches to combine; this guidance asks for another number"):
        Cfg().combine([picture(0)] * 3, GRID, 0)
