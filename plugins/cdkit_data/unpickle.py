"""A numpy array out of a pickle, without running anything that the pickle names.

The three globals that numpy's own pickles name are replaced by stand-ins that only take notes; any other is refused.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np
from cdkit.parts import DataError
from numpy.typing import NDArray

ITEMS = {"u1": "u1", "i8": "<i8"}  # the types that we expect to meet, as numpy reads them
MOST = 1 << 28  # bytes of an array


class _Kind:
    """Stands in for numpy.dtype: keeps the code ("u1"), and the byte order that follows."""

    def __init__(self, code: Any, *flags: Any) -> None:
        del flags
        self.code, self.order = code, "|"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]


class _Array:
    """Stands in for numpy.ndarray and for what makes one: keeps the state (version, shape, type, order, bytes)."""

    def __init__(self, *arguments: Any) -> None:
        del arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return STAND_INS[module, name]
        except KeyError:
            raise DataError(f"the pickle names {module}.{name}; only a numpy array is allowed in it") from None

    def persistent_load(self, pid: Any) -> Any:
        raise DataError(f"the pickle names an outside object ({pid!r:.40}); only a numpy array is allowed in it")


def unpickle_array(content: bytes) -> NDArray[Any]:
    """The uint8 or int64 array that a pickle holds, in C order. DataError for anything else; nothing in it is run."""
    try:
        return _array(_Reader(io.BytesIO(content)).load())
    except DataError:
        raise
    except Exception as error:  # a broken pickle can raise nearly anything
        raise DataError(f"the pickle does not hold a plain array of bytes or integers ({type(error).__name__})") from error


def _array(found: _Array) -> NDArray[Any]:
    """What numpy's own state says, if it is plain and fits its shape; anything may be raised if it is not."""
    _, shape, kind, fortran, data = found.state
    code = ITEMS[kind.code]
    size = math.prod(shape) * np.dtype(code).itemsize
    if fortran or not isinstance(data, bytes) or len(data) != size or size > MOST or kind.order not in ("|", "<"):
        raise DataError(f"the pickle's array does not fit its own shape {shape}")
    return np.frombuffer(data, code).reshape(shape)
