"""Products in Gluon, Triton's lower level, for the Hopper family: two groups of warps take turns at the tensor cores.

While one group multiplies, the other works on what it has multiplied before and writes it, so that neither waits: what CUTLASS
calls ping-pong. One warp more fetches what they multiply into a ring of places.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportArgumentType=false, reportMissingTypeStubs=false, reportAssignmentType=false, reportCallIssue=false
# pyright: reportPossiblyUnboundVariable=false, reportGeneralTypeIssues=false, reportOperatorIssue=false
# Gluon's functions are compiled from their source: their parameters are pointers, numbers and compile-time constants.

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from triton import cdiv
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from cdkit.kernels.gluon_names import fetch, put
from cdkit.kernels.start import started

ROWS = 128  # of a tile of the answer
HALF = 64  # columns: a tile has two halves, side by side, or values and their gates
DEPTH = 64  # columns of x that are multiplied at a time
PLACES = {True: 5, False: 4}  # in the ring, by whether it is gated: what is left beside the answers' tiles
REGISTERS = {"kernel": 168, "group": 232, "fetch": 24}  # of a thread: what all begin with, and are then dealt
DTYPES = {torch.bfloat16: gl.bfloat16, torch.float16: gl.float16}


@gluon.jit
def _share(x):
    """The normal distribution at x, by a logistic of an odd polynomial: right to 7e-4 of itself from -5.5 on, and 1e-8 beyond."""
    square = gl.minimum(x * x, 30.25)
    y = gl.fma(square, gl.full_like(x, 1.317452014149012e-08), gl.full_like(x, -1.0087334203490173e-06))
    y = gl.fma(square, y, gl.full_like(x, 1.4685359019495081e-05))
    y = gl.fma(square, y, gl.full_like(x, 0.0010966818081215024))
    y = gl.fma(square, y, gl.full_like(x, -0.10786832123994827))
    y = gl.fma(square, y, gl.full_like(x, -2.299560785293579))
    return gl.inline_asm_elementwise(
        "rcp.approx.ftz.f32 $0, $1;", "=f,f", [1.0 + gl.exp2(y * x)], dtype=gl.float32, is_pure=True, pack=1
    )


@gluon.jit
def _corner(tile, N, ROWS: gl.constexpr, WIDE: gl.constexpr):
    """The first row and column of a tile; those of the same rows follow each other."""
    across = gl.cdiv(N, WIDE)
    return tile // across * ROWS, tile % across * WIDE


@gluon.jit
def _fetch(
    x, weight, full, free, x_ring, weight_ring, tiles, N, K,
    ROWS: gl.constexpr, HALF: gl.constexpr, DEPTH: gl.constexpr, PLACES: gl.constexpr, GATED: gl.constexpr,
):  # fmt: skip
    """All that both groups multiply, in the order in which they do."""
    step = 0
    for tile in range(gl.program_id(0), tiles, gl.num_programs(0)):
        row, column = _corner(tile, N, ROWS, HALF if GATED else 2 * HALF)
        second = column + (N if GATED else HALF)
        for k in range(0, K, DEPTH):
            place = step % PLACES
            mbarrier.wait(free.index(place), step // PLACES & 1 ^ 1)
            ready = full.index(place)
            mbarrier.expect(ready, (ROWS + 2 * HALF) * DEPTH * 2)
            fetch(x, [row, k], ready, x_ring.index(place))
            fetch(weight, [column, k], ready, weight_ring.index(place).slice(0, HALF))
            fetch(weight, [second, k], ready, weight_ring.index(place).slice(HALF, HALF))
            step += 1


@gluon.jit
def _multiplied(acc, step, steps, full, free, x_ring, weight_ring, PLACES: gl.constexpr):
    """The tile's product, still under way, and the step behind it."""
    for k in range(steps):
        place = step % PLACES
        mbarrier.wait(full.index(place), step // PLACES & 1)
        acc = warpgroup_mma(x_ring.index(place), weight_ring.index(place).permute((1, 0)), acc, is_async=True, use_acc=k > 0)
        acc = warpgroup_mma_wait(1, (acc,))
        if k > 0:
            mbarrier.arrive(free.index((step + PLACES - 1) % PLACES), count=1)
        step += 1
    return acc, step


@gluon.jit
def _halves(both, layout: gl.constexpr):
    first, second = both.reshape([both.shape[0], 2, both.shape[1] // 2]).permute(0, 2, 1).split()
    return gl.convert_layout(first, layout, assert_trivial=True), gl.convert_layout(second, layout, assert_trivial=True)


@gluon.jit
def _multiply(
    out, more, bias, full, free, turns, there, x_ring, weight_ring, kept, tiles, N, K,
    GROUP: gl.constexpr, ROWS: gl.constexpr, HALF: gl.constexpr, DEPTH: gl.constexpr, PLACES: gl.constexpr,
    GATED: gl.constexpr, ADDED: gl.constexpr,
):  # fmt: skip
    """Every second tile of this program. A group begins to multiply when the other has begun its tile's last step: until then
    a place's state does not tell whose turn it is.
    """
    whole: gl.constexpr = gl.NVMMADistributedLayout(version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, 2 * HALF, 16])
    half: gl.constexpr = gl.NVMMADistributedLayout(version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, HALF, 16])
    WIDE: gl.constexpr = HALF if GATED else 2 * HALF
    answer: gl.constexpr = half if GATED else whole
    steps = gl.cdiv(K, DEPTH)
    step = GROUP * steps
    turn = 1 - GROUP
    fed = 0
    for tile in range(gl.program_id(0) + GROUP * gl.num_programs(0), tiles, 2 * gl.num_programs(0)):
        row, column = _corner(tile, N, ROWS, WIDE)
        if ADDED:
            tma.store_wait(0)
            mbarrier.expect(there, ROWS * WIDE * 2)
            fetch(more, [row, column], there, kept)
        n = column + gl.arange(0, WIDE, gl.SliceLayout(0, answer))
        offset = gl.load(bias + n, mask=n < N, other=0.0).to(gl.float32)
        if GATED:
            gate_offset = gl.load(bias + N + n, mask=n < N, other=0.0).to(gl.float32)
        mbarrier.wait(turns.index(GROUP), turn)
        turn ^= 1
        acc = gl.zeros((ROWS, 2 * HALF), gl.float32, whole)
        acc, step = _multiplied(acc, step, steps, full, free, x_ring, weight_ring, PLACES)
        mbarrier.arrive(turns.index(1 - GROUP), count=1)
        acc = warpgroup_mma_wait(0, (acc,))
        mbarrier.arrive(free.index((step + PLACES - 1) % PLACES), count=1)
        step += steps
        if GATED:
            value, gate = _halves(acc, half)
            gate += gate_offset[None, :]
            y = (value + offset[None, :]) * gate * _share(gate)
        else:
            y = acc + offset[None, :]
        if ADDED:
            mbarrier.wait(there, fed)
            fed ^= 1
            y += kept.load(answer).to(gl.float32)
        else:
            tma.store_wait(0)
        kept.store(y.to(out.dtype))
        fence_async_shared()
        put(out, [row, column], kept)
    tma.store_wait(0)


@gluon.jit
def _product(
    x, weight, out, more, bias, M, N, K,
    ROWS: gl.constexpr, HALF: gl.constexpr, DEPTH: gl.constexpr, PLACES: gl.constexpr, GATED: gl.constexpr, ADDED: gl.constexpr,
    GROUP_REGISTERS: gl.constexpr, FETCH_REGISTERS: gl.constexpr,
):  # fmt: skip
    """x (M, K) times weight (N or 2 N, K) transposed, plus bias; GATED: values times gelu(gates); ADDED: plus more (M, N)."""
    WIDE: gl.constexpr = HALF if GATED else 2 * HALF
    x_ring = gl.allocate_shared_memory(x.dtype, [PLACES, ROWS, DEPTH], x.layout)
    weight_ring = gl.allocate_shared_memory(weight.dtype, [PLACES, 2 * HALF, DEPTH], weight.layout)
    kept = gl.allocate_shared_memory(out.dtype, [2, ROWS, WIDE], out.layout)
    full = gl.allocate_shared_memory(gl.int64, [PLACES, 1], mbarrier.MBarrierLayout())
    free = gl.allocate_shared_memory(gl.int64, [PLACES, 1], mbarrier.MBarrierLayout())
    turns = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    there = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(PLACES):
        mbarrier.init(full.index(i), count=1)
        mbarrier.init(free.index(i), count=1)
    for i in gl.static_range(2):
        mbarrier.init(turns.index(i), count=1)
        mbarrier.init(there.index(i), count=1)
    fence_async_shared()
    tiles = gl.cdiv(M, ROWS) * gl.cdiv(N, WIDE)
    gl.warp_specialize(
        [
            (_multiply, (out, more, bias, full, free, turns, there.index(0), x_ring, weight_ring, kept.index(0), tiles, N, K,
                         0, ROWS, HALF, DEPTH, PLACES, GATED, ADDED)),
            (_multiply, (out, more, bias, full, free, turns, there.index(1), x_ring, weight_ring, kept.index(1), tiles, N, K,
                         1, ROWS, HALF, DEPTH, PLACES, GATED, ADDED)),
            (_fetch, (x, weight, full, free, x_ring, weight_ring, tiles, N, K, ROWS, HALF, DEPTH, PLACES, GATED)),
        ],
        [4, 1],
        [GROUP_REGISTERS, FETCH_REGISTERS],
    )  # fmt: skip


def launch(x: Tensor, weight: Tensor, bias: Tensor, more: Tensor | None) -> Tensor:
    """x (M, K), rows in one piece; more (M, N) to be added to x weight^T + bias, or None: weight (2 N, K) is values and gates."""
    m, k = x.shape
    gated = more is None
    n = len(weight) // 2 if gated else len(weight)
    wide = HALF if gated else 2 * HALF
    out = torch.empty((m, n), dtype=x.dtype, device=x.device)
    tiles = cdiv(m, ROWS) * cdiv(n, wide)
    started(_product, (min(tiles, _multiprocessors(x.device)),))(
        _tiled(x, ROWS, DEPTH), _tiled(weight, HALF, DEPTH), _tiled(out, ROWS, wide),
        _tiled(out if more is None else more, ROWS, wide), bias, m, n, k,
        ROWS=ROWS, HALF=HALF, DEPTH=DEPTH, PLACES=PLACES[gated], GATED=gated, ADDED=not gated,
        GROUP_REGISTERS=REGISTERS["group"], FETCH_REGISTERS=REGISTERS["fetch"], num_warps=4, maxnreg=REGISTERS["kernel"],
    )  # fmt: skip
    return out


def _tiled(matrix: Tensor, rows: int, columns: int) -> TensorDescriptor:
    """A matrix as the fetching unit reads and writes it, so many rows and columns at a time."""
    shape = [rows, columns]
    return TensorDescriptor.from_tensor(matrix, shape, gl.NVMMASharedLayout.get_default_for(shape, DTYPES[matrix.dtype]))


@cache
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count
