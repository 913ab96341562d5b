"""On a GPU: kernels that are gathered are compiled, each once and in a thread of its own, and do not run."""

from __future__ import annotations

from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import pytest
import torch
from cdkit.kernels import gathered
from cdkit.kernels.start import started

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

SIZES = [(4, 8), (8, 8), (8, 16)]  # tiles that nothing else takes


def test_gathered_kernels_are_compiled_side_by_side_and_not_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cdkit.kernels.plus_triton import _plus
    from triton import knobs

    aside: list[bool] = []
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(knobs.compilation, "listener", lambda **_: aside.append(current_thread() is not main_thread()))
    h, more, bias = (torch.randn(*shape, device="cuda") for shape in ((24, 40), (24, 40), (40,)))

    def sums() -> list[torch.Tensor]:
        outs = [torch.full_like(h, torch.nan) for _ in SIZES]
        for out, (rows, columns) in zip(outs, SIZES, strict=True):
            programs = (-(-24 // rows), -(-40 // columns))
            sizes: dict[str, Any] = {"ROWS": rows, "COLUMNS": columns}
            started(_plus, programs)(h, more, bias, out, 24, 40, **sizes)
        return outs

    with gathered():
        undefined = [*sums(), *sums()]
    assert all(out.isnan().all() for out in undefined), "none ran"
    assert aside == [True] * len(SIZES), "each was compiled once, and not by who asked"
    for out in sums():
        torch.testing.assert_close(out, h + more + bias)
    assert len(aside) == len(SIZES), "and none again"
