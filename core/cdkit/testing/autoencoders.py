"""check_autoencoder: pixels and latents have the sizes that it declares, each picture's are its own, and it can be kept."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cdkit.parts import Autoencoder
from cdkit.testing.elsewhere import require_at_home, require_copies, require_layout
from cdkit.testing.verdict import require, require_apart, require_close, require_equal, run

ROUNDING = 1e-4  # float32: a batch of another size sums in another order
ROWS, COLUMNS = 4, 6  # of the latents


@dataclass(frozen=True, slots=True)
class AutoencoderCase:
    """An autoencoder's factory, its options bound."""

    factory: Callable[[], Autoencoder]

    def made(self) -> Autoencoder:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.factory().eval()

    def pixels(self, autoencoder: Autoencoder, n: int = 3) -> Tensor:
        """n pictures (n, 3, H, W) in [-1, 1] whose latents are ROWS x COLUMNS."""
        draws = torch.Generator().manual_seed(0)
        return torch.rand((n, 3, ROWS * autoencoder.factor, COLUMNS * autoencoder.factor), generator=draws) * 2 - 1


def check_sizes(case: AutoencoderCase) -> None:
    """Latents are `factor` times smaller and have `channels`; what comes back has the pictures' size, within [-1, 1]."""
    autoencoder = case.made()
    pixels = case.pixels(autoencoder)
    with torch.no_grad():
        latents = autoencoder.encode(pixels)
        back = autoencoder.decode(latents)
    shape = (len(pixels), autoencoder.channels, ROWS, COLUMNS)
    require("sizes", tuple(latents.shape) == shape, "latents", measured=tuple(latents.shape), allowed=shape)
    require("sizes", back.shape == pixels.shape, "pictures", measured=tuple(back.shape), allowed=tuple(pixels.shape))
    for what, value in (("latents", latents), ("pictures", back)):
        require("sizes", bool(value.isfinite().all()), what, measured="not finite", allowed="finite")
    largest = float(back.abs().max())
    require("sizes", largest <= 1, "the largest pixel that comes back", measured=largest, allowed="at most 1")


def check_batch(case: AutoencoderCase) -> None:
    """A picture's latents, and what comes back of them, are the same alone and among others."""
    autoencoder = case.made()
    pixels = case.pixels(autoencoder)
    with torch.no_grad():
        whole = autoencoder.encode(pixels)
        for what, code, given in (("encode", autoencoder.encode, pixels), ("decode", autoencoder.decode, whole)):
            require_close("batch", code(given[1:2]), code(given)[1:2], ROUNDING, f"{what} of one picture, against it among three")


def check_hears(case: AutoencoderCase) -> None:
    """Another picture has other latents, and other latents another picture."""
    autoencoder = case.made()
    pixels = case.pixels(autoencoder)
    with torch.no_grad():
        latents = autoencoder.encode(pixels)
        require_apart("hears", latents[:1], latents[1:2], 1e-4, "latents of two pictures")
        back = autoencoder.decode(torch.cat([latents[:1], latents[:1].flip(2)]))
        require_apart("hears", back[:1], back[1:], 1e-6, "pictures of two latents")


def check_repeatable(case: AutoencoderCase) -> None:
    """Without a generator it draws nothing; with one, the same seed gives the same latents. Global random state is kept."""
    autoencoder = case.made()
    pixels = case.pixels(autoencoder)
    before = torch.random.get_rng_state()
    with torch.no_grad():
        require_equal("repeatable", autoencoder.encode(pixels), autoencoder.encode(pixels), "latents, without a generator")
        first, second = (autoencoder.encode(pixels, torch.Generator().manual_seed(3)) for _ in range(2))
        require_equal("repeatable", second, first, "latents, from the same seed")
    kept = torch.equal(before, torch.random.get_rng_state())
    require("repeatable", kept, "torch's random state after encoding", measured="moved", allowed="kept")


def check_learns(case: AutoencoderCase) -> None:
    """Where it can be trained, its loss is one number whose gradient reaches every weight that learns."""
    autoencoder = case.made()
    if not autoencoder.trainable:
        return
    noise = torch.randn((3, autoencoder.channels, ROWS, COLUMNS), generator=torch.Generator().manual_seed(1))
    loss = autoencoder.loss(case.pixels(autoencoder), noise)
    require("learns", loss.dim() == 0, "the loss", measured=tuple(loss.shape), allowed="a scalar")
    loss.backward()  # pyright: ignore[reportUnknownMemberType]
    deaf = [name for name, weight in autoencoder.named_parameters() if weight.requires_grad and weight.grad is None]
    require("learns", not deaf, "weights without a gradient", measured=deaf, allowed="none")


def check_state_dict(case: AutoencoderCase) -> None:
    """Weights loaded into another one encode and decode the same, bit for bit."""
    first, second = case.made(), case.made()
    with torch.no_grad():
        for weight in first.parameters():
            weight += 0.01
        second.load_state_dict(first.state_dict())
        pixels = case.pixels(first)
        require_equal("state dict", second.encode(pixels), first.encode(pixels), "latents, after its weights were loaded")


def check_meta(case: AutoencoderCase) -> None:
    """Made on the meta device it has the weights that it has on the CPU, and no numbers: so `cdkit build` lays out."""
    require_layout(case.factory)


def check_devices(case: AutoencoderCase) -> None:
    """Moved to another device it codes there: every tensor that it keeps is a parameter or a buffer."""
    autoencoder = case.made()
    pixels = case.pixels(autoencoder)

    def answer(device: torch.device) -> Tensor:
        there = copy.deepcopy(autoencoder).to(device)
        return there.decode(there.encode(pixels.to(device)))

    require_at_home(answer)


def check_copies(case: AutoencoderCase) -> None:
    """A deep copy (an average of weights) and a pickled copy (another process) encode the same, bit for bit."""

    def encoded(autoencoder: Autoencoder) -> Tensor:
        with torch.no_grad():
            return autoencoder.encode(case.pixels(autoencoder))

    require_copies(case.made(), encoded)


AUTOENCODER_CHECKS: Mapping[str, Callable[[AutoencoderCase], None]] = {
    "sizes": check_sizes,
    "batch": check_batch,
    "hears": check_hears,
    "repeatable": check_repeatable,
    "learns": check_learns,
    "state dict": check_state_dict,
    "meta": check_meta,
    "copies": check_copies,
    "devices": check_devices,
}


def check_autoencoder(factory: Callable[[], Autoencoder], *, exceptions: Mapping[str, str] | None = None) -> None:
    """Run every check on an autoencoder: `factory()`, its options bound with functools.partial."""
    run(AUTOENCODER_CHECKS, AutoencoderCase(factory), exceptions or {})
