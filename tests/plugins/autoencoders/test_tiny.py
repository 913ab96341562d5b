"""tiny: shapes, unit variance whatever the weights, a posterior of fixed width, and a loss that a step lowers."""

from __future__ import annotations

import pytest
import torch
from cdkit.parts import DataError
from cdkit_autoencoders.tiny import Tiny
from torch import Tensor


def made(**options: object) -> Tiny:
    torch.manual_seed(0)
    return Tiny(**{"width": 8, **options})  # pyright: ignore[reportArgumentType]


def pixels(n: int = 2, height: int = 16, width: int = 32) -> Tensor:
    return torch.rand((n, 3, height, width), generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("factor", [2, 4, 8, 16])
@pytest.mark.parametrize("channels", [1, 4])
def test_shapes(factor: int, channels: int) -> None:
    tiny = made(factor=factor, channels=channels, depth=0)
    latents = tiny.encode(pixels())
    assert latents.shape == (2, channels, 16 // factor, 32 // factor)
    back = tiny.decode(latents)
    assert back.shape == pixels().shape
    assert float(back.detach().abs().max()) <= 1


@pytest.mark.parametrize("stretched", [0.01, 1.0, 100.0])
def test_every_picture_has_latents_of_mean_0_and_variance_1(stretched: float) -> None:
    tiny = made()
    with torch.no_grad():
        tiny.encoder[-1][-1].weight.mul_(stretched)  # pyright: ignore[reportIndexIssue, reportArgumentType]
    latents = tiny.encode(pixels(5)).detach().flatten(1)
    assert torch.allclose(latents.mean(1), torch.zeros(5), atol=1e-4)
    assert torch.allclose(latents.var(1, unbiased=False), torch.ones(5), atol=0.2 if stretched < 1 else 1e-2)


def test_a_picture_s_latents_are_its_own() -> None:
    tiny, many = made(), pixels(4)
    assert torch.allclose(tiny.encode(many)[2:3], tiny.encode(many[2:3]), atol=1e-5)


def test_a_draw_from_the_posterior_is_the_mean_and_noise_of_one_width() -> None:
    tiny = made(noise=0.25)
    x = pixels(1, 64, 64).expand(64, -1, -1, -1)
    noise = tiny.encode(x, torch.Generator().manual_seed(0)) - tiny.encode(x)
    assert abs(float(noise.detach().std()) - 0.25) < 0.01
    again = tiny.encode(x, torch.Generator().manual_seed(0)) - tiny.encode(x)
    assert torch.equal(noise, again)


def test_the_loss_hears_the_noise_and_reaches_every_weight() -> None:
    tiny, noise = made(), torch.randn((2, 4, 4, 8), generator=torch.Generator().manual_seed(0))
    loss = tiny.loss(pixels(), noise)
    assert not torch.equal(loss, tiny.loss(pixels(), torch.zeros_like(noise)))
    loss.backward()
    # What shifts every latent alike is taken out again when they are normalised.
    silent = [name for name, weight in tiny.named_parameters() if weight.grad is None or not bool(weight.grad.any())]
    assert silent == []


def test_no_gradient_is_lost_where_the_picture_is_clipped() -> None:
    tiny = made()
    with torch.no_grad():
        tiny.decoder[-1][-1].bias.fill_(5.0)  # pyright: ignore[reportIndexIssue, reportArgumentType]
    tiny.loss(pixels(), torch.zeros(2, 4, 4, 8)).backward()
    assert bool(tiny.decoder[-1][-1].bias.grad.ne(0).all())  # pyright: ignore[reportIndexIssue]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="pictures of 10 x 16: tiny needs multiples of 4"):
        made().encode(torch.zeros(1, 3, 10, 16))
    with pytest.raises(ValueError, match="width is 12; expected a multiple of 8"):
        Tiny(width=12)
