"""inception: the features of FID, KID and the rest as papers measure them, by a network whose weights the user has.

The network is torch-fidelity's (Inception v3 as it was trained for TensorFlow, resized to 299 x 299 as TensorFlow resizes), and
what is read is its last pooling, 2,048 numbers (Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule").
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from cdkit.parts import DataError, EnvironmentFault
from torch import Tensor, nn

AT_ONCE = 64  # pictures in one forward pass, of 299 x 299 pixels each
FEATURES = "2048"  # torch-fidelity's name of the last pooling
PUBLISHED = "weights-inception-2015-12-05-6726825d.pth"
CONVERTED = (
    f'of the published {PUBLISHED}: python -c "import torch, safetensors.torch as s; '
    f"s.save_file(torch.load('{PUBLISHED}', weights_only=True), 'inception.safetensors')\""
)


@dataclass(frozen=True, slots=True)
class Inception:
    """Measures features. `sha256`: of its weights' file, for numbers by other weights are other numbers."""

    network: nn.Module
    sha256: str

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) in [-1, 1], grey or RGB -> (N, 2048) float64 on the CPU."""
        device = next(self.network.parameters()).device
        parts = (levels(part).to(device) for part in images.split(AT_ONCE))
        return torch.cat([self.network(part)[0].double().cpu() for part in parts])

    def report(self) -> dict[str, Any]:
        return {"network": "inception", "features": int(FEATURES), "sha256": self.sha256}


def levels(images: Tensor) -> Tensor:
    """(N, C, H, W) in [-1, 1] -> (N, 3, H, W) of 256 levels, as pictures are saved; grey is grey in all three."""
    found = ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return found.expand(-1, 3, -1, -1) if found.shape[1] == 1 else found[:, :3]


def inception(path: str, device: torch.device) -> Inception:
    """The network with the weights of a safetensors file. EnvironmentFault without torch-fidelity, DataError for another file."""
    if find_spec("torch_fidelity") is None:
        raise EnvironmentFault("features of Inception need torch-fidelity", hint='pip install "cdkit[fidelity]"')
    file = Path(path)
    if file.suffix != ".safetensors" or not file.is_file():
        raise DataError(f"{path}: expected Inception's weights as a .safetensors file", hint=CONVERTED)
    network, digest = built(file, file.stat().st_mtime_ns)
    return Inception(network.to(device), digest)


@cache
def built(file: Path, changed: int) -> tuple[nn.Module, str]:
    """Read once, for all metrics that ask; again where the file was changed."""
    from safetensors.torch import load

    del changed
    blob = file.read_bytes()
    try:
        weights = load(blob)
        network = with_weights(weights)
    except Exception as error:
        raise DataError(f"{file}: not Inception's weights: {str(error).splitlines()[0][:200]}", hint=CONVERTED) from error
    return network.eval(), hashlib.sha256(blob).hexdigest()


def with_weights(weights: Mapping[str, Tensor]) -> nn.Module:
    """torch-fidelity reads weights by torch.load alone: it is handed a file in memory, of nothing but these tensors."""
    from torch_fidelity.feature_extractor_inceptionv3 import (  # pyright: ignore[reportMissingImports]
        FeatureExtractorInceptionV3,  # pyright: ignore[reportUnknownVariableType]
    )

    buffer = io.BytesIO()
    torch.save(dict(weights), buffer)
    buffer.seek(0)
    network: nn.Module = FeatureExtractorInceptionV3("inception", [FEATURES], feature_extractor_weights_path=buffer)
    return network
