"""The same answers sooner: how a model is laid out for a GPU, and how a sampling becomes one launch. `hasten` begins it."""

from cdkit.fast.hasten import hasten

__all__ = ["hasten"]
