"""kl: the autoencoder of latent diffusion (Rombach et al. 2022), in diffusers' network, with weights from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Autoencoder, DataError, EnvironmentFault, PositiveFloat
from torch import Tensor, nn

from cdkit_autoencoders.weights import located, renamed, shape_of


class Kl(Autoencoder):
    """Pixels (B, 3, H, W) in [-1, 1] <-> latents (B, C, H / factor, W / factor) of about unit variance; always frozen.

    model: a name whose configuration ships with us ("stabilityai/sd-vae-ft-mse", what SD 1 and 2 draw in, or
    "stabilityai/sdxl-vae"), a folder in diffusers' layout, or a name in the local cache. scale: what latents are
    multiplied by; the configuration's own where it is not given (0.18215 for SD 1 and 2).
    Nothing is imported or read before its first use, and its weights are no part of the state dict.
    """

    origin: Tensor

    def __init__(self, *, model: str = "stabilityai/sd-vae-ft-mse", scale: PositiveFloat | None = None) -> None:
        super().__init__()
        self.model = model
        self.shape, self.folder = shape_of(model)
        self.scale: float = scale or self.shape.scaling_factor
        self.factor = 2 ** (len(self.shape.block_out_channels) - 1)
        self.channels = self.shape.latent_channels
        self.register_buffer("origin", torch.zeros(()), persistent=False)  # where, and in which dtype, it works
        self._network: list[nn.Module] = []  # in a list, so that it is no submodule: nothing saves or counts it

    def encode(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The mean, or a draw from the posterior where a generator is given. DataError for sides that factor does not divide."""
        if pixels.shape[-1] % self.factor or pixels.shape[-2] % self.factor:
            raise DataError(f"pictures of {pixels.shape[-2]} x {pixels.shape[-1]}: kl needs multiples of {self.factor}")
        with torch.no_grad():
            posterior = self.network().encode(pixels).latent_dist
            return (posterior.mode() if generator is None else posterior.sample(generator)) * self.scale

    def decode(self, latents: Tensor) -> Tensor:
        with torch.no_grad():
            return self.network().decode(latents / self.scale).sample.clamp(-1, 1)

    def network(self) -> Any:
        """diffusers' AutoencoderKL with its weights. EnvironmentFault, saying how to get them, where they are not there."""
        if not self._network:
            self._network.append(self._filled(located(self.model, self.folder)))
        return self._network[0].to(self.origin)

    def _filled(self, file: Path) -> nn.Module:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        with torch.inference_mode(False), torch.device("cpu"), torch.random.fork_rng(devices=[]):
            network = self._empty()
            try:
                network.load_state_dict({renamed(key): tensor for key, tensor in load_file(file).items()})
            except (OSError, RuntimeError, SafetensorError) as error:
                raise EnvironmentFault(f"the weights in {file} cannot be read: {error}") from error
        return network.eval().requires_grad_(False)

    def _empty(self) -> nn.Module:
        try:
            from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        except ImportError as error:
            raise EnvironmentFault("kl needs diffusers, which is not installed", hint='pip install "cdkit[diffusers]"') from error
        levels = len(self.shape.block_out_channels)
        make: Any = AutoencoderKL  # its hints say tuples of length one
        return make(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=self.shape.block_out_channels,
            layers_per_block=self.shape.layers_per_block,
            latent_channels=self.shape.latent_channels,
            norm_num_groups=self.shape.norm_num_groups,
        )


@hookimpl
def cdkit_autoencoder() -> type[Kl]:
    return Kl
