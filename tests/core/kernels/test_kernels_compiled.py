"""Kernels compile for a Hopper GPU by the installed Triton, which needs no GPU. What they compute: interpreted.py, tests/gpu."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton.experimental.gluon.nvidia.hopper")

import triton
from cdkit.kernels import product_gluon, stem_triton, words_triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.experimental.gluon import language as gl
from triton.experimental.gluon._runtime import GluonASTSource

HOPPER = GPUTarget("cuda", 90, 32)
FUSED = {"enable_fp_fusion": True}  # which Triton 3.9 warns about where it is not said
SHARED = 226 * 1024  # bytes that one program may have there, less what the compiler takes


def described(rows: int, columns: int) -> str:
    layout = gl.NVMMASharedLayout.get_default_for([rows, columns], gl.bfloat16)
    return f"tensordesc<bf16[{rows}, {columns}],{layout!r}>"


@pytest.mark.parametrize("gated", [False, True])
def test_products(gated: bool) -> None:
    rows, half, depth = product_gluon.ROWS, product_gluon.HALF, product_gluon.DEPTH
    wide = half if gated else 2 * half
    constants: dict[str, Any] = {"ROWS": rows, "HALF": half, "DEPTH": depth, "PLACES": product_gluon.PLACES[gated]}
    constants |= {"GATED": gated, "ADDED": not gated}
    constants |= {f"{of.upper()}_REGISTERS": product_gluon.REGISTERS[of] for of in ("group", "fetch")}
    signature = {"x": described(rows, depth), "weight": described(half, depth)}
    signature |= dict.fromkeys(("out", "more"), described(rows, wide)) | {"bias": "*bf16"} | dict.fromkeys("MNK", "i32")
    source = GluonASTSource(product_gluon._product, signature | dict.fromkeys(constants, "constexpr"), constexprs=constants)
    made = triton.compile(source, target=HOPPER, options=FUSED | {"num_warps": 4, "maxnreg": product_gluon.REGISTERS["kernel"]})
    assert made.metadata.shared <= SHARED
    assert "wgmma.mma_async" in made.asm["ptx"]
    assert "setmaxnreg" in made.asm["ptx"]


@pytest.mark.parametrize("second", [0, 16])
def test_attention_over_few_words(second: int) -> None:
    constants = {"D": 40, "WIDTH": 64, "FIRST": 64, "SECOND": second, "ROUNDS": 2, "ROWS": words_triton.ROWS}
    signature = dict.fromkeys(("q", "k", "v", "out"), "*bf16")
    signature |= dict.fromkeys(("N", "L", "k_batch", "k_row", "v_batch", "v_row"), "i32") | {"scale": "fp32"}
    source = ASTSource(words_triton._attended, signature | dict.fromkeys(constants, "constexpr"), constexprs=constants)
    assert "wgmma.mma_async" in triton.compile(source, target=HOPPER, options=FUSED).asm["ptx"]


def test_a_stem() -> None:
    constants = {"C": 4, "TAPS": 64, "SPAN": 5, "PIXELS": stem_triton.PIXELS, "CHANNELS": stem_triton.CHANNELS}
    signature = dict.fromkeys(("x", "weight", "bias", "out"), "*bf16") | dict.fromkeys(("N", "H", "W", "OUT"), "i32")
    source = ASTSource(stem_triton._stem, signature | dict.fromkeys(constants, "constexpr"), constexprs=constants)
    assert "wgmma.mma_async" in triton.compile(source, target=HOPPER, options=FUSED).asm["ptx"]
