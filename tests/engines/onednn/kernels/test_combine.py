"""Binary operations, sums, concatenation, reduction and reorders, with mixed layouts and types."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.library.constants import Alg, Arg, DataType, Tag
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import EltwisePost
from tests.engines.onednn.running import close, fetch, load, rounded, run

SHAPE = (2, 16, 3, 4)
BLOCKED = Tag.aBcd16b
OPERATIONS = {
    Alg.binary_add: np.add,
    Alg.binary_sub: np.subtract,
    Alg.binary_mul: np.multiply,
    Alg.binary_div: np.divide,
    Alg.binary_max: np.maximum,
    Alg.binary_min: np.minimum,
}


@pytest.mark.parametrize("dtype", [DataType.f32, DataType.bf16], ids=lambda t: t.name)
@pytest.mark.parametrize("other", [SHAPE, (1, 16, 1, 1), (1, 1, 3, 4), (1, 1, 1, 1)], ids=str)
@pytest.mark.parametrize("alg", OPERATIONS, ids=lambda a: a.name)
def test_binary_with_broadcast(device: Device, alg: Alg, other: tuple[int, ...], dtype: DataType) -> None:
    rng = np.random.default_rng(1)
    a = rounded(rng.standard_normal(SHAPE), dtype)
    b = rng.uniform(0.5, 2, other).astype(np.float32).astype(np.float64)
    primitive = combine.binary(device, alg, MemoryDesc.tagged(SHAPE, dtype, BLOCKED), MemoryDesc.plain(other))
    close(fetch(run(primitive, {Arg.SRC: a, Arg.SRC_1: b})[Arg.DST]), OPERATIONS[alg](a, b), dtype)


def test_scales_are_read_at_each_run(device: Device) -> None:
    desc = MemoryDesc.plain((37,))
    primitive = combine.binary(device, Alg.binary_add, desc, desc, runtime_scales=[Arg.SRC, Arg.SRC_1])
    momentum, rate = (np.array([v], np.float32) for v in (0.9, 0.1))
    scales = {
        Arg.runtime_scale(Arg.SRC): Memory.wrap(device, momentum),
        Arg.runtime_scale(Arg.SRC_1): Memory.wrap(device, rate),
    }
    history, gradient = np.random.default_rng(2).standard_normal((2, 37))
    memory = load(device, desc, history)
    run(primitive, {Arg.SRC: memory, Arg.SRC_1: gradient}, {Arg.DST: memory, **scales})
    history = 0.9 * history + 0.1 * gradient
    close(fetch(memory), history)
    rate[0] = 0.01
    run(primitive, {Arg.SRC: memory, Arg.SRC_1: gradient}, {Arg.DST: memory, **scales})
    close(fetch(memory), 0.9 * history + 0.01 * gradient)


def test_binary_with_relu(device: Device) -> None:
    desc = MemoryDesc.plain(SHAPE)
    a, b = np.random.default_rng(3).standard_normal((2, *SHAPE))
    primitive = combine.binary(device, Alg.binary_add, desc, desc, post_ops=[EltwisePost(Alg.eltwise_relu)])
    close(fetch(run(primitive, {Arg.SRC: a, Arg.SRC_1: b})[Arg.DST]), np.maximum(a + b, 0))


@pytest.mark.parametrize("dtype", [DataType.f32, DataType.bf16], ids=lambda t: t.name)
def test_weighted_sum_of_unlike_layouts(device: Device, dtype: DataType) -> None:
    sources = [
        MemoryDesc.plain(SHAPE, dtype),
        MemoryDesc.channels_last(SHAPE, dtype),
        MemoryDesc.tagged(SHAPE, dtype, BLOCKED),
    ]
    values = [rounded(v, dtype) for v in np.random.default_rng(4).standard_normal((3, *SHAPE))]
    primitive = combine.weighted_sum(device, sources, [1.0, -2.0, 0.5])
    out = run(primitive, {Arg.MULTIPLE_SRC + i: v for i, v in enumerate(values)})
    close(fetch(out[Arg.DST]), values[0] - 2 * values[1] + 0.5 * values[2], dtype)


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_concat(device: Device, axis: int) -> None:
    rng = np.random.default_rng(5)
    shapes = [tuple(n + (i if a == axis else 0) for a, n in enumerate(SHAPE)) for i in range(3)]
    values = [rng.standard_normal(s) for s in shapes]
    primitive = combine.concat(device, [MemoryDesc.plain(s) for s in shapes], axis)
    out = run(primitive, {Arg.MULTIPLE_SRC + i: v for i, v in enumerate(values)})
    close(fetch(out[Arg.DST]), np.concatenate(values, axis))


def test_part_of_a_tensor_needs_no_copy(device: Device) -> None:
    whole = MemoryDesc.tagged((2, 48, 3, 4), DataType.f32, BLOCKED)
    x = np.random.default_rng(6).standard_normal(whole.dims)
    memory = load(device, whole, x)
    part = whole.submemory(SHAPE, (0, 16, 0, 0))
    close(fetch(memory.view(part)), x[:, 16:32])


@pytest.mark.parametrize("alg", [Alg.reduction_sum, Alg.reduction_mean], ids=lambda a: a.name)
def test_reduction(device: Device, alg: Alg) -> None:
    x = np.random.default_rng(7).standard_normal(SHAPE)
    src, dst = MemoryDesc.tagged(SHAPE, DataType.f32, BLOCKED), MemoryDesc.plain((1, 16, 1, 1))
    out = run(combine.reduction(device, alg, src, dst), {Arg.SRC: x})
    take = np.sum if alg == Alg.reduction_sum else np.mean
    close(fetch(out[Arg.DST]), take(x, axis=(0, 2, 3), keepdims=True))


def test_reorder_pads_and_rounds(device: Device) -> None:
    x = np.random.default_rng(8).standard_normal((2, 5, 3, 3))
    blocked = MemoryDesc.tagged((2, 5, 3, 3), DataType.bf16, BLOCKED)
    assert blocked.size == 2 * 16 * 9 * 2
    memory = load(device, blocked, x)
    np.testing.assert_array_equal(fetch(memory), rounded(x, DataType.bf16))
    padding = memory.buffer.view(np.uint16).reshape(2, 9, 16)[:, :, 5:]
    assert not padding.any()
