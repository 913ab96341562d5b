"""Compiles kernels for a Hopper GPU by the installed Triton, which needs no GPU: prints {kernel: what is made of it}.

Started by test_kernels_compiled.py in a process of its own: a compiler writes files and starts others.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import triton
from cdkit.kernels import product_gluon, self_attention_gluon, stem_triton, words_triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.experimental.gluon import language as gl
from triton.experimental.gluon._runtime import GluonASTSource

HOPPER = GPUTarget("cuda", 90, 32)
WORDS = ("wgmma.mma_async", "setmaxnreg", "cp.async.bulk.tensor")


def made(source: Any, **options: Any) -> dict[str, Any]:
    """How much memory a program shares, and which of WORDS its instructions have."""
    done = triton.compile(source, target=HOPPER, options={"enable_fp_fusion": True, **options})
    return {"shared": done.metadata.shared, "words": [word for word in WORDS if word in done.asm["ptx"]]}


def described(rows: int, columns: int) -> str:
    layout = gl.NVMMASharedLayout.get_default_for([rows, columns], gl.bfloat16)
    return f"tensordesc<bf16[{rows}, {columns}],{layout!r}>"


def product(gated: bool) -> dict[str, Any]:
    rows, half, depth = product_gluon.ROWS, product_gluon.HALF, product_gluon.DEPTH
    wide = half if gated else 2 * half
    constants: dict[str, Any] = {"ROWS": rows, "HALF": half, "DEPTH": depth, "PLACES": product_gluon.PLACES[gated]}
    constants |= {"GATED": gated, "ADDED": not gated}
    constants |= {f"{of.upper()}_REGISTERS": product_gluon.REGISTERS[of] for of in ("group", "fetch")}
    signature = {"x": described(rows, depth), "weight": described(half, depth)}
    signature |= dict.fromkeys(("out", "more"), described(rows, wide)) | {"bias": "*bf16"} | dict.fromkeys("MNK", "i32")
    source = GluonASTSource(product_gluon._product, signature | dict.fromkeys(constants, "constexpr"), constexprs=constants)
    return made(source, num_warps=4, maxnreg=product_gluon.REGISTERS["kernel"])


def self_attention() -> dict[str, Any]:
    kernel = self_attention_gluon
    constants: dict[str, Any] = {name: getattr(kernel, name) for name in ("GROUPS", "WIDTH", "ROWS", "KEYS", "PLACES")}
    constants |= {f"{of.upper()}_REGISTERS": kernel.REGISTERS[of] for of in ("group", "fetch")}
    tiles = {"left": (32, kernel.LEFT), "right": (16, kernel.RIGHT), "values": (64, kernel.VALUES)}
    signature = {name: f"tensordesc<bf16[{kernel.KEYS}, {wide}],{layout!r}>" for name, (wide, layout) in tiles.items()}
    signature |= {"together": "*bf16", "out": "*bf16", **dict.fromkeys(("N", "C", "heads"), "i32"), "scale": "fp32"}
    source = GluonASTSource(kernel._self_attention, signature | dict.fromkeys(constants, "constexpr"), constexprs=constants)
    return made(source, num_warps=4, maxnreg=kernel.REGISTERS["kernel"])


def attention(second: int) -> dict[str, Any]:
    constants = {"D": 40, "WIDTH": 64, "FIRST": 64, "SECOND": second, "ROUNDS": 2, "ROWS": words_triton.ROWS}
    signature = dict.fromkeys(("q", "k", "v", "out"), "*bf16")
    signature |= dict.fromkeys(("N", "L", "k_batch", "k_row", "v_batch", "v_row"), "i32") | {"scale": "fp32"}
    return made(ASTSource(words_triton._attended, signature | dict.fromkeys(constants, "constexpr"), constexprs=constants))


def stem() -> dict[str, Any]:
    constants = {"C": 4, "TAPS": 64, "SPAN": 5, "PIXELS": stem_triton.PIXELS, "CHANNELS": stem_triton.CHANNELS}
    signature = dict.fromkeys(("x", "weight", "bias", "out"), "*bf16") | dict.fromkeys(("N", "H", "W", "OUT"), "i32")
    return made(ASTSource(stem_triton._stem, signature | dict.fromkeys(constants, "constexpr"), constexprs=constants))


json.dump(
    {
        "gated product": product(True),
        "summed product": product(False),
        "self-attention": self_attention(),
        "few words": attention(0),
        "some words": attention(16),
        "stem": stem(),
    },
    sys.stdout,
)
