"""Convolution and deconvolution: every geometry, forward and both gradients, float32 and bf16."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dragon.engines.onednn.kernels import convolution as conv
from dragon.engines.onednn.kernels.convolution import ConvSpec
from dragon.engines.onednn.library.constants import Alg, Arg, DataType, Tag
from dragon.engines.onednn.library.descriptor import MemoryDesc, Shape
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.primitive import BinaryPost, EltwisePost, PostOp, SumPost
from dragon.errors import EngineError
from tests.engines.onednn.reference import convolution, convolution_gradients
from tests.engines.onednn.running import close, fetch, load, rounded, run

SPECS = {
    "plain": ConvSpec((2, 3, 8, 7), (2, 4, 8, 7), (5, 5), (1, 1), (2, 2), (1, 1)),
    "no-bias": ConvSpec((2, 3, 6, 6), (2, 4, 4, 4), (3, 3), (1, 1), (0, 0), (1, 1), bias=False),
    "strided": ConvSpec((2, 16, 9, 8), (2, 32, 4, 4), (3, 2), (2, 2), (0, 1), (1, 1)),
    "unreached-edge": ConvSpec((1, 3, 8, 8), (1, 4, 3, 3), (3, 3), (2, 2), (0, 0), (1, 1)),
    "dilated": ConvSpec((2, 16, 9, 9), (2, 16, 9, 9), (3, 3), (1, 1), (2, 2), (2, 2)),
    "grouped": ConvSpec((2, 6, 5, 5), (2, 9, 5, 5), (3, 3), (1, 1), (1, 1), (1, 1), groups=3),
    "depthwise": ConvSpec((2, 32, 6, 6), (2, 32, 6, 6), (3, 3), (1, 1), (1, 1), (1, 1), groups=32),
    "one-axis": ConvSpec((2, 4, 11), (2, 5, 6), (3,), (2,), (1,), (1,)),
    "three-axes": ConvSpec((1, 3, 4, 5, 6), (1, 4, 4, 3, 3), (3, 3, 2), (1, 2, 2), (1, 1, 0), (1, 1, 1)),
    "one-by-one": ConvSpec((2, 32, 5, 5), (2, 16, 5, 5), (1, 1), (1, 1), (0, 0), (1, 1)),
}
TYPES = [DataType.f32, DataType.bf16]


def transposed(spec: ConvSpec) -> ConvSpec:
    """The deconvolution that is the transpose of a convolution: source and destination change places."""
    return replace(spec, src=spec.dst, dst=spec.src, transposed=True)


def expected(
    spec: ConvSpec, x: np.ndarray, w: np.ndarray, b: np.ndarray, dy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y, dx, dw; a deconvolution runs the convolution's gradient forward and its value backward."""
    shift = b.reshape(1, -1, *[1] * len(spec.kernel)) if spec.bias else 0.0
    if not spec.transposed:
        return (convolution(x, w, spec) + shift, *convolution_gradients(x, w, dy, spec))
    mirror = replace(spec, src=spec.dst, dst=spec.src, transposed=False)
    y, _ = convolution_gradients(np.zeros(spec.dst), w, x, mirror)
    _, dw = convolution_gradients(dy, w, x, mirror)
    return y + shift, convolution(dy, w, mirror), dw


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: t.name)
@pytest.mark.parametrize("kind", ["convolution", "deconvolution"])
@pytest.mark.parametrize("name", SPECS)
def test_value_and_gradients(device: Device, name: str, kind: str, dtype: DataType) -> None:
    spec = replace(SPECS[name], dtype=dtype)
    if kind == "deconvolution":
        spec = transposed(spec)
    rng = np.random.default_rng(3)
    rows, columns = (spec.src[1], spec.dst[1]) if spec.transposed else (spec.dst[1], spec.src[1])
    blob = (rows, columns // spec.groups, *spec.kernel)
    x, w, dy = (rounded(rng.standard_normal(s), dtype) for s in (spec.src, blob, spec.dst))
    b = rng.standard_normal(spec.dst[1])
    y, dx, dw = expected(spec, x, w, b, dy)

    forward = conv.forward(device, spec)
    weights = load(device, forward[Arg.WEIGHTS], w, spec.host_weights())
    close(fetch(run(forward, {Arg.SRC: x, Arg.WEIGHTS: weights, Arg.BIAS: b})[Arg.DST]), y, dtype)

    data = conv.backward_data(device, spec, forward)
    weights = load(device, data[Arg.WEIGHTS], w, spec.host_weights())
    close(fetch(run(data, {Arg.DIFF_DST: dy, Arg.WEIGHTS: weights})[Arg.DIFF_SRC]), dx, dtype)

    learn = conv.backward_weights(device, spec, forward)
    got = run(learn, {Arg.SRC: x, Arg.DIFF_DST: dy})
    assert learn[Arg.DIFF_WEIGHTS].dtype == DataType.f32
    flat = fetch(got[Arg.DIFF_WEIGHTS], spec.host_weights())
    close(flat, dw.ravel())  # float32 sums of exact products of bf16 values
    if spec.bias:
        close(fetch(got[Arg.DIFF_BIAS]), dy.sum((0, *range(2, dy.ndim))))


def test_post_ops_apply_in_order(device: Device) -> None:
    spec = SPECS["plain"]
    rng = np.random.default_rng(5)
    x, w, b = rng.standard_normal(spec.src), rng.standard_normal((4, 3, 5, 5)), rng.standard_normal(4)
    before, factor = rng.standard_normal(spec.dst), rng.standard_normal((1, 4, 1, 1))
    chain: list[PostOp] = [
        BinaryPost(Alg.binary_mul, MemoryDesc.plain((1, 4, 1, 1))),
        SumPost(),
        EltwisePost(Alg.eltwise_relu, 0.1),
    ]
    forward = conv.forward(device, spec, post_ops=chain)
    values = {Arg.SRC: x, Arg.WEIGHTS: w, Arg.BIAS: b, Arg.post_op(0): factor}
    out = run(forward, values, {Arg.DST: load(device, forward[Arg.DST], before)})
    sum_ = (convolution(x, w, spec) + b.reshape(1, -1, 1, 1)) * factor + before
    close(fetch(out[Arg.DST]), np.where(sum_ > 0, sum_, 0.1 * sum_))


@pytest.mark.parametrize("layout", ["plain", "last", "blocked"])
def test_layouts_given_are_kept(device: Device, layout: str) -> None:
    spec = ConvSpec((2, 16, 6, 6), (2, 32, 6, 6), (3, 3), (1, 1), (1, 1), (1, 1))
    make: Callable[[Shape], MemoryDesc] = {
        "plain": MemoryDesc.plain,
        "last": MemoryDesc.channels_last,
        "blocked": lambda shape: MemoryDesc.tagged(shape, DataType.f32, Tag.aBcd16b),
    }[layout]
    src, dst = make(spec.src), make(spec.dst)
    forward = conv.forward(device, spec, src=src, dst=dst)
    assert forward[Arg.SRC] == src
    assert forward[Arg.DST] == dst
    rng = np.random.default_rng(7)
    x, w = rng.standard_normal(spec.src), rng.standard_normal((32, 16, 3, 3))
    out = run(forward, {Arg.SRC: x, Arg.WEIGHTS: w, Arg.BIAS: np.zeros(32)})
    close(fetch(out[Arg.DST]), convolution(x, w, spec))


def test_error_names_layer_operation_and_status(device: Device) -> None:
    spec = replace(SPECS["plain"], src=(2, 3, 30, 30))
    with pytest.raises(EngineError, match=r"layer conv1: oneDNN convolution forward: .*(arguments|unimpl|shape)"):
        conv.forward(device, spec, layer="conv1")
