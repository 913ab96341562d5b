"""The proof that every declared condition reaches the output: a trace of dependence, then a numeric probe of a narrow twin."""

from cdkit.build.liveness.prove import Proof, prove

__all__ = ["Proof", "prove"]
