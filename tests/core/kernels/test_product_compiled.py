"""The products' kernel compiles for a Hopper GPU by the installed Triton, which needs no GPU; what it computes: tests/gpu."""

from __future__ import annotations

import pytest

pytest.importorskip("triton.experimental.gluon.nvidia.hopper")

import triton
from cdkit.kernels import product_gluon
from triton.backends.compiler import GPUTarget
from triton.experimental.gluon import language as gl
from triton.experimental.gluon._runtime import GluonASTSource

SHARED = 227 * 1024  # bytes that one program may have there


def described(rows: int, columns: int) -> str:
    layout = gl.NVMMASharedLayout.get_default_for([rows, columns], gl.bfloat16)
    return f"tensordesc<bf16[{rows}, {columns}],{layout!r}>"


@pytest.mark.parametrize("gated", [False, True])
def test_it_compiles_for_hopper_and_fits(gated: bool) -> None:
    rows, half, depth = product_gluon.ROWS, product_gluon.HALF, product_gluon.DEPTH
    wide = half if gated else 2 * half
    constants = {
        "ROWS": rows, "HALF": half, "DEPTH": depth, "PLACES": product_gluon.PLACES[gated], "GATED": gated, "ADDED": not gated,
        "GROUP_REGISTERS": product_gluon.REGISTERS["group"], "FETCH_REGISTERS": product_gluon.REGISTERS["fetch"],
    }  # fmt: skip
    signature = {
        "x": described(rows, depth), "weight": described(half, depth),
        "out": described(rows, wide), "more": described(rows, wide), "bias": "*bf16", "M": "i32", "N": "i32", "K": "i32", **dict.fromkeys(constants, "constexpr"),
    }  # fmt: skip
    source = GluonASTSource(product_gluon._product, signature, constexprs=constants)
    options = {"num_warps": 4, "maxnreg": product_gluon.REGISTERS["kernel"]}
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert made.metadata.shared <= SHARED - 1024  # which the compiler takes for its own
    assert "wgmma.mma_async" in made.asm["ptx"]
    assert "setmaxnreg" in made.asm["ptx"]
