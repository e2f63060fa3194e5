"""Convolutions and inner products in int8: integers, scales, post-operations, and what CPUs without VNNI do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from dragon.engines.int8.arithmetic import Range, quantize, quantize_weights
from dragon.engines.onednn.kernels import inner_product as ip
from dragon.engines.onednn.kernels.combine import reorder
from dragon.engines.onednn.kernels.weighted import WeightedSpec, forward_int8
from dragon.engines.onednn.library.constants import Alg, Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import BinaryPost, Call, EltwisePost, PostOp
from tests.engines.onednn.kernels.test_convolution import SPECS
from tests.engines.onednn.reference import Array, convolution
from tests.engines.onednn.running import close, fetch, load

RANGES = {"signed": Range(3.0, signed=True), "unsigned": Range(3.0, signed=False)}


def type_of(values: Range) -> DataType:
    return DataType.s8 if values.signed else DataType.u8


def integers(device: Device, array: Array, dtype: DataType, desc: MemoryDesc, host: MemoryDesc | None = None) -> Memory:
    """Integers in the layout `desc`, that of weights with what their kernel adds to them."""
    source = Memory.wrap(device, np.ascontiguousarray(array), dtype)
    target = Memory(device, desc)
    source = source.view(host or MemoryDesc.plain(desc.dims, dtype))
    Call(reorder(device, source.desc, desc), {Arg.SRC: source, Arg.DST: target})()
    return target


def scale(device: Device, values: float | Array) -> Memory:
    return Memory.wrap(device, np.atleast_1d(np.asarray(values, np.float32)))


def product(
    device: Device, spec: WeightedSpec, x: Array, w: Array, b: Array, source: Range, result: Range | None,
    host: MemoryDesc, axis: int = 0, post_ops: Sequence[PostOp] = (), operand: Array | None = None, levels: int = 127,
) -> Array:  # fmt: skip
    """What the primitive makes of float64 arrays, an int8 result in its integers."""
    dst = DataType.f32 if result is None else type_of(result)
    primitive = forward_int8(
        device,
        spec,
        src=MemoryDesc.any(spec.src, type_of(source)),
        dst=MemoryDesc.any(spec.dst, dst),
        post_ops=post_ops,
    )
    weights, scales = quantize_weights(w, axis, levels)
    memories = {
        Arg.SRC: integers(device, quantize(x, source), type_of(source), primitive[Arg.SRC]),
        Arg.WEIGHTS: integers(device, weights, DataType.s8, primitive[Arg.WEIGHTS], host),
        Arg.BIAS: scale(device, b),
        Arg.DST: Memory(device, primitive[Arg.DST]),
        Arg.runtime_scale(Arg.SRC): scale(device, source.scale),
        Arg.runtime_scale(Arg.WEIGHTS): scale(device, scales),
    }
    if operand is not None:
        memories[Arg.post_op(0)] = load(device, primitive[Arg.post_op(0)], operand)
    if result is not None:
        memories[Arg.runtime_scale(Arg.DST)] = scale(device, result.scale)
    Call(primitive, memories)()
    return fetch(memories[Arg.DST])


def exact(x: Array, w: Array, source: Range, axis: int = 0, levels: int = 127) -> tuple[Array, Array]:
    """The operands that the integers stand for."""
    weights, scales = quantize_weights(w, axis, levels)
    shape = [-1 if i == axis else 1 for i in range(w.ndim)]
    return quantize(x, source) * float(np.float32(source.scale)), weights * scales.astype(np.float64).reshape(shape)


@pytest.mark.usefixtures("vnni")
@pytest.mark.parametrize("kind", RANGES)
@pytest.mark.parametrize("name", SPECS)
def test_convolution(device: Device, name: str, kind: str) -> None:
    spec, source = replace(SPECS[name], dtype=DataType.s8), RANGES[kind]
    rng = np.random.default_rng(1)
    x = rng.standard_normal(spec.src) * 2  # some beyond the range
    w, b = (
        rng.standard_normal((spec.dst[1], spec.src[1] // spec.groups, *spec.kernel)),
        rng.standard_normal(spec.dst[1]),
    )
    y = convolution(*exact(x, w, source), spec) + (b.reshape(1, -1, *[1] * len(spec.kernel)) if spec.bias else 0)
    host = spec.host_weights(DataType.s8)
    close(product(device, spec, x, w, b, source, None, host), y)
    for result in (Range(float(np.abs(y).max()) / 2, signed) for signed in (True, False)):
        made = product(device, spec, x, w, b, source, result, host)
        expected = quantize(y, result).astype(np.float64)
        assert np.abs(made - expected).max() <= 1
        assert (made != expected).mean() < 1e-3  # a value beside a tie


@pytest.mark.usefixtures("vnni")
@pytest.mark.parametrize("transposed", [False, True], ids=["rows", "transposed"])
@pytest.mark.parametrize("kind", RANGES)
def test_inner_product(device: Device, kind: str, transposed: bool) -> None:
    spec, source, axis = ip.InnerProductSpec((5, 300), 7, True, transposed, DataType.s8), RANGES[kind], int(transposed)
    rng = np.random.default_rng(2)
    x, w, b = rng.standard_normal((5, 300)), rng.standard_normal((300, 7) if transposed else (7, 300)), rng.random(7)
    left, right = exact(x, w, source, axis)
    y = left @ (right if transposed else right.T) + b
    host = spec.host_weights(DataType.s8)
    close(product(device, spec, x, w, b, source, None, host, axis), y)


@pytest.mark.usefixtures("vnni")
def test_post_operations_are_computed_before_the_result_is_rounded(device: Device) -> None:
    spec, source, result = replace(SPECS["one-by-one"], dtype=DataType.s8), RANGES["signed"], Range(20.0, signed=False)
    rng = np.random.default_rng(3)
    x, w, b, more = (rng.standard_normal(s) for s in (spec.src, (16, 32, 1, 1), 16, spec.dst))
    post: list[PostOp] = [BinaryPost(Alg.binary_add, MemoryDesc.any(spec.dst)), EltwisePost(Alg.eltwise_relu)]
    y = np.maximum(convolution(*exact(x, w, source), spec) + b.reshape(1, -1, 1, 1) + more * 9, 0)
    host = spec.host_weights(DataType.s8)
    made = product(device, spec, x, w, b, source, result, host, post_ops=post, operand=more * 9)
    assert np.abs(made - quantize(y, result)).max() <= 1
    assert made.max() == 255


@pytest.mark.parametrize("kind", RANGES)
def test_values_are_rounded_to_the_nearest_and_saturate(device: Device, kind: str) -> None:
    of = RANGES[kind]
    values = np.concatenate([np.linspace(-2, 2, 1999) * of.limit, [0.0, 1e30, -1e30, np.inf, -np.inf]])
    source = Memory.wrap(device, values.astype(np.float32))
    made = Memory(device, MemoryDesc.plain(values.shape, type_of(of)))
    primitive = reorder(device, source.desc, made.desc, scaled=True)
    factor = scale(device, 1 / of.scale)
    Call(primitive, {Arg.SRC: source, Arg.DST: made, Arg.runtime_scale(Arg.SRC): factor})()
    np.testing.assert_array_equal(made.numpy(), quantize(values.astype(np.float32), of))


SATURATES = """
import numpy as np
from dragon.engines.int8.arithmetic import Range
from dragon.engines.onednn.kernels.inner_product import InnerProductSpec
from dragon.engines.onednn.kernels.convolution import ConvSpec
from dragon.engines.onednn.library.constants import DataType
from dragon.engines.onednn.library.device import Device
from tests.engines.onednn.kernels.test_int8 import exact, product
from tests.engines.onednn.reference import convolution
device = Device()
assert not device.has_vnni
of, rng = Range(1.0, signed=False), np.random.default_rng(1)
spec = ConvSpec((2, 32, 6, 6), (2, 32, 6, 6), (3, 3), (1, 1), (1, 1), (1, 1), dtype=DataType.s8)
x, w, b = rng.uniform(.5, 1, spec.src), rng.uniform(.5, 1, (32, 32, 3, 3)), np.zeros(32)
full, rows = InnerProductSpec((4, 512), 16, True, False, DataType.s8), rng.uniform(.5, 1, (4, 512))
matrix, none = rng.uniform(.5, 1, (16, 512)), np.zeros(16)
for levels in (127, 63):
    y = convolution(*exact(x, w, of, levels=levels), spec)
    made = product(device, spec, x, w, b, of, None, spec.host_weights(DataType.s8), levels=levels)
    print(levels, np.abs(made - y).max() / y.max())
    left, right = exact(rows, matrix, of, levels=levels)
    y = left @ right.T
    made = product(device, full, rows, matrix, none, of, None, full.host_weights(DataType.s8), levels=levels)
    print(levels, np.abs(made - y).max() / y.max())
"""


@pytest.mark.parametrize("instructions", ["AVX512_CORE", "AVX2"])
def test_without_vnni_weights_of_7_bits_are_exact(device: Device, instructions: str) -> None:
    """Two products are added in 16 bits there: 2 * 255 * 127 is too large for that, 2 * 255 * 63 is not."""
    if instructions == "AVX512_CORE" and not device.has_avx512:
        pytest.skip("a CPU without AVX-512")
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": instructions}
    run = subprocess.run(
        [sys.executable, "-c", SATURATES], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    errors = [line.split() for line in run.stdout.splitlines()]
    of_7_bits = [float(error) for levels, error in errors if levels == "63"]
    assert len(of_7_bits) == 2
    assert max(of_7_bits) < 1e-5
