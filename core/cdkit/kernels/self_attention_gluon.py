"""Self-attention with heads of 40 channels in Gluon, Triton's lower level, for the Hopper family.

A program answers 256 rows of one head: four groups of warps with 64 each, so that one's exponentials are taken while others
multiply; one warp more fetches keys and values into a ring of places (Shah 2024, FlashAttention-3, arXiv 2407.08608).
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportArgumentType=false, reportMissingTypeStubs=false, reportAssignmentType=false, reportCallIssue=false
# pyright: reportPossiblyUnboundVariable=false, reportGeneralTypeIssues=false, reportOperatorIssue=false
# Gluon's functions are compiled from their source: their parameters are pointers, numbers and compile-time constants.

from __future__ import annotations

import torch
from torch import Tensor
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    warpgroup_mma,
    warpgroup_mma_init,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from cdkit.kernels.gluon_names import barrier, fetch
from cdkit.kernels.start import started

GROUPS = 4
ROWS = 64  # of a group
KEYS = 64  # at a time
PLACES = 8  # in the ring
WIDTH = 40  # channels of a head, which tiles of 32 and 16 hold; in the latter the next head's are met by zeros
REGISTERS = {"kernel": 96, "group": 112, "fetch": 24}  # of a thread: what all begin with, and are then dealt
LOG2E = 1.4426950408889634
LEFT, RIGHT, VALUES = (gl.NVMMASharedLayout(swizzle, 16, 2) for swizzle in (64, 32, 128))  # of 32, 16 and 64 channels


@gluon.jit
def _exp2(scores, scale, shift):
    """exp2(scores scale + shift), rounded to bfloat16 and as it is: one sequence, for the compiler parts them."""
    return gl.inline_asm_elementwise(
        "fma.rn.f32 $2, $6, $10, $14; fma.rn.f32 $3, $7, $11, $15; fma.rn.f32 $4, $8, $12, $16; fma.rn.f32 $5, $9, $13, $17;"
        "ex2.approx.ftz.f32 $2, $2; ex2.approx.ftz.f32 $3, $3; ex2.approx.ftz.f32 $4, $4; ex2.approx.ftz.f32 $5, $5;"
        "cvt.rn.bf16x2.f32 $0, $3, $2; cvt.rn.bf16x2.f32 $1, $5, $4;",
        "=&r,=&r,=&f,=&f,=&f,=&f,f,f,f,f,f,f,f,f,f,f,f,f",
        [scores, scale, shift],
        dtype=(gl.bfloat16, gl.float32),
        is_pure=True,
        pack=4,
    )


@gluon.jit
def _own(x):
    """Sums over what one thread holds of each row."""
    return gl.sum(gl.reshape(x, [x.shape[0], x.shape[1] // 8, 8]), axis=1)


@gluon.jit
def _weights(scores, scale, shift, sums, layout: gl.constexpr):
    """What the values are multiplied by, and the sums with these."""
    scales, _ = gl.broadcast(gl.full([1, 1], 0.0, gl.float32, scores.type.layout) + scale, scores)
    shifts, _ = gl.broadcast(shift[:, None], scores)
    rounded, whole = _exp2(scores, scales, shifts)
    return gl.convert_layout(rounded, layout), sums + _own(whole)


@gluon.jit
def _scores(q_left, q_right, k_left, k_right, ROWS: gl.constexpr, KEYS: gl.constexpr):
    s = gl.zeros([ROWS, KEYS], gl.float32, gl.NVMMADistributedLayout([3, 0], [4, 1], [16, KEYS, 16]))
    s = warpgroup_mma(q_left, k_left.permute((1, 0)), s, use_acc=False, is_async=True)
    return warpgroup_mma(q_right, k_right.permute((1, 0)), s, is_async=True)


@gluon.jit
def _answered(
    q_left, q_right, k_left, k_right, v, full, free, scale, blocks, base,
    RUNNING: gl.constexpr, ROWS: gl.constexpr, KEYS: gl.constexpr, PLACES: gl.constexpr,
):  # fmt: skip
    """All keys, which are blocks base to base + blocks of the ring: values weighted, and the weights' sums.

    RUNNING: exponents relative to the largest score so far, instead of the largest of the first block.
    """
    OUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 64, 16])
    FACTOR: gl.constexpr = gl.DotOperandLayout(0, OUT, 2)
    out = warpgroup_mma_init(gl.zeros([ROWS, 64], gl.float32, OUT))
    place = base % PLACES
    mbarrier.wait(full.index(place), base // PLACES & 1)
    s = _scores(q_left, q_right, k_left.index(place), k_right.index(place), ROWS, KEYS)
    s = warpgroup_mma_wait(0, deps=(s,))
    shift = 0.0 - gl.max(s, axis=1) * scale
    p, sums = _weights(s, scale, shift, _own(s) * 0.0, FACTOR)
    for j in range(base + 1, base + blocks):
        place = j % PLACES
        last = (j - 1) % PLACES
        mbarrier.wait(full.index(place), j // PLACES & 1)
        # Begun and waited for with no branch between: else ptxas has every product wait for the one before (its C7512).
        out = warpgroup_mma(p, v.index(last), out, is_async=True)
        s = _scores(q_left, q_right, k_left.index(place), k_right.index(place), ROWS, KEYS)
        if RUNNING:
            s, out = warpgroup_mma_wait(0, deps=(s, out))
            lower = gl.minimum(shift, 0.0 - gl.max(s, axis=1) * scale)
            less = gl.exp2(lower - shift)
            shift = lower
            sums = sums * gl.convert_layout(less, gl.SliceLayout(1, sums.type.layout))[:, None]
            out = warpgroup_mma_init(out * gl.convert_layout(less, gl.SliceLayout(1, OUT))[:, None])
        else:
            s = warpgroup_mma_wait(0, deps=(s,))
        mbarrier.arrive(free.index(last), count=1)
        p, sums = _weights(s, scale, shift, sums, FACTOR)
    last = (base + blocks - 1) % PLACES
    out = warpgroup_mma(p, v.index(last), out, is_async=True)
    out = warpgroup_mma_wait(0, deps=(out,))
    mbarrier.arrive(free.index(last), count=1)
    return out, gl.convert_layout(gl.sum(sums, axis=1), gl.SliceLayout(1, OUT))


@gluon.jit
def _put(out, row, column, y, sums, C, WIDTH: gl.constexpr, ROWS: gl.constexpr):
    layout: gl.constexpr = y.type.layout
    rows = row + gl.arange(0, ROWS, gl.SliceLayout(1, layout))
    d = gl.arange(0, 64, gl.SliceLayout(0, layout))
    at = out + rows.to(gl.int64)[:, None] * C + column + d[None, :]
    gl.store(at, (y * (1.0 / sums)[:, None]).to(gl.bfloat16), mask=(rows >= 0)[:, None] & (d < WIDTH)[None, :])


@gluon.jit
def _repeats(votes, GROUPS: gl.constexpr, WARPS: gl.constexpr):
    """Did any group meet a score too large?"""
    layout: gl.constexpr = gl.BlockedLayout([4 // WARPS], [32], [WARPS], [0])
    total = gl.zeros([128], gl.int32, layout)
    for i in gl.static_range(GROUPS):
        total += votes.index(i).load(layout)
    return gl.max(total, axis=0) > 0


@gluon.jit
def _answer(
    left, right, together, out, k_left, k_right, v, full, free, told, votes, row, column, scale, blocks, C,
    GROUP: gl.constexpr, GROUPS: gl.constexpr, WIDTH: gl.constexpr, ROWS: gl.constexpr, KEYS: gl.constexpr, PLACES: gl.constexpr,
):  # fmt: skip
    """The GROUP-th ROWS rows, from `row` on, of one head."""
    layout: gl.constexpr = gl.BlockedLayout([1, 8], [16, 2], [4, 1], [1, 0])
    row += GROUP * ROWS
    rows = row + gl.arange(0, ROWS, gl.SliceLayout(1, layout))
    first, then = gl.arange(0, 32, gl.SliceLayout(0, layout)), gl.arange(0, 16, gl.SliceLayout(0, layout))
    at = together + rows.to(gl.int64)[:, None] * 3 * C + column
    own = (rows >= 0)[:, None] & (then < WIDTH - 32)[None, :]
    q_left = gl.allocate_shared_memory(gl.bfloat16, [ROWS, 32], left.layout, gl.load(at + first[None, :]))
    rest = gl.load(at + (32 + then)[None, :], mask=own, other=0.0)
    q_right = gl.allocate_shared_memory(gl.bfloat16, [ROWS, 16], right.layout, rest)
    fence_async_shared()
    barrier()
    y, sums = _answered(q_left, q_right, k_left, k_right, v, full, free, scale, blocks, 0, False, ROWS, KEYS, PLACES)
    large = gl.max(gl.where(sums < 1e30, 0, 1), axis=0)
    _put(out, row, column, y, sums, C, WIDTH, ROWS)
    votes.index(GROUP).store(gl.full([128], 0, gl.int32, gl.BlockedLayout([1], [32], [4], [0])) + large)
    barrier()
    mbarrier.arrive(told, count=1)
    mbarrier.wait(told, 0)
    if _repeats(votes, GROUPS, 4):
        y, sums = _answered(q_left, q_right, k_left, k_right, v, full, free, scale, blocks, blocks, True, ROWS, KEYS, PLACES)
        _put(out, row, column, y, sums, C, WIDTH, ROWS)


@gluon.jit
def _fetched(
    left, right, values, k_left, k_right, v, full, free, blocks, base, sample, column, C, KEYS: gl.constexpr, PLACES: gl.constexpr
):  # fmt: skip
    for i in range(blocks):
        place = (base + i) % PLACES
        mbarrier.wait(free.index(place), (base + i) // PLACES & 1 ^ 1)
        ready = full.index(place)
        mbarrier.expect(ready, KEYS * (32 + 16 + 64) * 2)
        fetch(left, [sample + i * KEYS, C + column], ready, k_left.index(place))
        fetch(right, [sample + i * KEYS, C + column + 32], ready, k_right.index(place))
        fetch(values, [sample + i * KEYS, 2 * C + column], ready, v.index(place))


@gluon.jit
def _fetch(
    left, right, values, k_left, k_right, v, full, free, told, votes, blocks, sample, column, C,
    GROUPS: gl.constexpr, KEYS: gl.constexpr, PLACES: gl.constexpr,
):  # fmt: skip
    """All keys and values; and again, if any group asks."""
    _fetched(left, right, values, k_left, k_right, v, full, free, blocks, 0, sample, column, C, KEYS, PLACES)
    mbarrier.wait(told, 0)
    if _repeats(votes, GROUPS, 1):
        _fetched(left, right, values, k_left, k_right, v, full, free, blocks, blocks, sample, column, C, KEYS, PLACES)


@gluon.jit
def _self_attention(
    left, right, values, together, out, N, C, heads, scale,
    GROUPS: gl.constexpr, WIDTH: gl.constexpr, ROWS: gl.constexpr, KEYS: gl.constexpr, PLACES: gl.constexpr,
    GROUP_REGISTERS: gl.constexpr, FETCH_REGISTERS: gl.constexpr,
):  # fmt: skip
    """together (B N, 3 C): queries, keys and values, also by tiles of 32, 16 and 64 channels; out (B N, C)."""
    k_left = gl.allocate_shared_memory(gl.bfloat16, [PLACES, KEYS, 32], left.layout)
    k_right = gl.allocate_shared_memory(gl.bfloat16, [PLACES, KEYS, 16], right.layout)
    v = gl.allocate_shared_memory(gl.bfloat16, [PLACES, KEYS, 64], values.layout)
    full = gl.allocate_shared_memory(gl.int64, [PLACES, 1], mbarrier.MBarrierLayout())
    free = gl.allocate_shared_memory(gl.int64, [PLACES, 1], mbarrier.MBarrierLayout())
    told = gl.allocate_shared_memory(gl.int64, [1, 1], mbarrier.MBarrierLayout())
    votes = gl.allocate_shared_memory(gl.int32, [GROUPS, 128], gl.SwizzledSharedLayout(1, 1, 1, [0]))
    for i in gl.static_range(PLACES):
        mbarrier.init(full.index(i), count=1)
        mbarrier.init(free.index(i), count=GROUPS)
    mbarrier.init(told.index(0), count=GROUPS)
    fence_async_shared()
    barrier()
    tiles = N // (ROWS * GROUPS)
    column = gl.program_id(0) // tiles % heads * WIDTH
    sample = gl.program_id(0) // tiles // heads * N
    row = sample + gl.program_id(0) % tiles * ROWS * GROUPS
    blocks = N // KEYS
    gl.warp_specialize(
        [
            (_answer, (left, right, together, out, k_left, k_right, v, full, free, told.index(0), votes, row, column, scale,
                       blocks, C, 0, GROUPS, WIDTH, ROWS, KEYS, PLACES)),
            (_answer, (left, right, together, out, k_left, k_right, v, full, free, told.index(0), votes, row, column, scale,
                       blocks, C, 1, GROUPS, WIDTH, ROWS, KEYS, PLACES)),
            (_answer, (left, right, together, out, k_left, k_right, v, full, free, told.index(0), votes, row, column, scale,
                       blocks, C, 2, GROUPS, WIDTH, ROWS, KEYS, PLACES)),
            (_answer, (left, right, together, out, k_left, k_right, v, full, free, told.index(0), votes, row, column, scale,
                       blocks, C, 3, GROUPS, WIDTH, ROWS, KEYS, PLACES)),
            (_fetch, (left, right, values, k_left, k_right, v, full, free, told.index(0), votes, blocks, sample, column, C,
                      GROUPS, KEYS, PLACES)),
        ],
        [4, 4, 4, 1],
        [GROUP_REGISTERS, GROUP_REGISTERS, GROUP_REGISTERS, FETCH_REGISTERS],
    )  # fmt: skip


def launch(together: Tensor, heads: int) -> Tensor:
    """together (B, N, 3 C) in one piece, N a multiple of 256, C of 40 for each head -> (B, N, C)."""
    b, n, three = together.shape
    c = three // 3
    out = torch.empty((b, n, c), dtype=together.dtype, device=together.device)
    flat = together.view(b * n, three)
    tiles = [TensorDescriptor.from_tensor(flat, [KEYS, w], layout) for w, layout in ((32, LEFT), (16, RIGHT), (64, VALUES))]
    started(_self_attention, (n // (ROWS * GROUPS) * b * heads,))(
        *tiles, together, out, n, c, heads, LOG2E * WIDTH**-0.5,
        GROUPS=GROUPS, WIDTH=WIDTH, ROWS=ROWS, KEYS=KEYS, PLACES=PLACES,
        GROUP_REGISTERS=REGISTERS["group"], FETCH_REGISTERS=REGISTERS["fetch"], num_warps=4, maxnreg=REGISTERS["kernel"],
    )  # fmt: skip
    return out
