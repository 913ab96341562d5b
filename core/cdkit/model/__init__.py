"""A model: encoders, backbone with its taps, and the diffusion process; what it draws, and what is drawn."""

from cdkit.model.model import Model
from cdkit.model.network import Reader
from cdkit.model.samples import Samples

__all__ = ["Model", "Reader", "Samples"]
