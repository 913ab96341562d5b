"""The widest floats that a device computes with."""

from __future__ import annotations

import torch


def widest(device: torch.device) -> torch.dtype:
    """float64, but float32 on Apple's GPUs, which have nothing wider."""
    return torch.float32 if device.type == "mps" else torch.float64
