"""Batch normalisation: batch or given statistics, scale and shift, fused ReLU, with gradients."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.engines.onednn.kernels import batch_norm
from dragon.engines.onednn.kernels.batch_norm import NormSpec
from dragon.engines.onednn.library.constants import Arg, DataType, Tag
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from tests.engines.onednn.running import Array, close, fetch, rounded, run

SHAPE = (4, 32, 5, 3)
EPSILON = 1e-3


def per_channel(values: Array) -> Array:
    return values.reshape(1, -1, 1, 1)


@pytest.mark.parametrize("dtype", [DataType.f32, DataType.bf16], ids=lambda t: t.name)
@pytest.mark.parametrize("layout", ["plain", "last", "blocked"])
@pytest.mark.parametrize("relu", [False, True], ids=["", "relu"])
@pytest.mark.parametrize("learned", ["", "scale", "scale+shift"])
@pytest.mark.parametrize("given", [False, True], ids=["batch", "given"])
def test_value_and_gradients(
    device: Device, given: bool, learned: str, relu: bool, layout: str, dtype: DataType
) -> None:
    spec = NormSpec(EPSILON, given, "scale" in learned, "shift" in learned, relu)
    src = {
        "plain": MemoryDesc.plain(SHAPE, dtype),
        "last": MemoryDesc.channels_last(SHAPE, dtype),
        "blocked": MemoryDesc.tagged(SHAPE, dtype, Tag.aBcd16b),
    }[layout]
    rng = np.random.default_rng(9)
    x, dy = rounded(rng.standard_normal(SHAPE) * 2 + 1, dtype), rounded(rng.standard_normal(SHAPE), dtype)
    scale = rng.uniform(0.5, 1.5, 32) if spec.scale else np.ones(32)
    shift = rng.standard_normal(32) if spec.shift else np.zeros(32)
    axes = (0, 2, 3)
    mean = rng.standard_normal(32) if given else x.mean(axes)
    variance = rng.uniform(0.5, 2, 32) if given else x.var(axes)
    normal = (x - per_channel(mean)) / np.sqrt(per_channel(variance) + EPSILON)
    y = normal * per_channel(scale) + per_channel(shift)
    if relu:
        dy = np.where(np.abs(y) < 1e-2, 0, dy)  # a kink may be decided either way
    flow = np.where(y > 0, dy, 0) if relu else dy
    dx = flow
    if not given:
        dx = flow - flow.mean(axes, keepdims=True)
        dx = dx - normal * (flow * normal).mean(axes, keepdims=True)
    dx = dx * per_channel(scale / np.sqrt(variance + EPSILON))

    forward = batch_norm.forward(device, spec, src)
    values = {Arg.SRC: x, Arg.SCALE: scale, Arg.SHIFT: shift, Arg.MEAN: mean, Arg.VARIANCE: variance}
    out = run(forward, values)
    close(fetch(out[Arg.DST]), np.maximum(y, 0) if relu else y, dtype)
    if not given:
        close(fetch(out[Arg.MEAN]), mean)
        close(fetch(out[Arg.VARIANCE]), variance)

    backward = batch_norm.backward(device, spec, forward)
    assert (Arg.WORKSPACE in backward.inputs) == relu
    got = run(backward, {**values, Arg.DIFF_DST: dy} | {k: out[k] for k in out if k == Arg.WORKSPACE})
    close(fetch(got[Arg.DIFF_SRC]), dx, dtype)
    if spec.scale:
        close(fetch(got[Arg.DIFF_SCALE]), (flow * normal).sum(axes), dtype)
    if spec.shift:
        close(fetch(got[Arg.DIFF_SHIFT]), flow.sum(axes), dtype)


def test_frozen_parameters_have_no_gradient(device: Device) -> None:
    spec = NormSpec(EPSILON, scale=True, shift=True)
    forward = batch_norm.forward(device, spec, MemoryDesc.plain(SHAPE))
    backward = batch_norm.backward(device, spec, forward, parameters=False)
    assert list(backward.outputs) == [Arg.DIFF_SRC]


def test_inference_hands_out_no_statistics(device: Device) -> None:
    spec = NormSpec(EPSILON, global_stats=True, relu=True)
    forward = batch_norm.forward(device, spec, MemoryDesc.plain(SHAPE), training=False)
    assert list(forward.inputs) == [Arg.SRC, Arg.MEAN, Arg.VARIANCE]
    assert list(forward.outputs) == [Arg.DST]


@pytest.mark.parametrize("shape", [(6, 5), (3, 4, 7), (2, 3, 2, 3, 4)], ids=["flat", "one-axis", "three-axes"])
def test_other_ranks(device: Device, shape: tuple[int, ...]) -> None:
    forward = batch_norm.forward(device, NormSpec(EPSILON), MemoryDesc.plain(shape))
    x = np.random.default_rng(4).standard_normal(shape)
    axes = (0, *range(2, len(shape)))
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + EPSILON)
    close(fetch(run(forward, {Arg.SRC: x})[Arg.DST]), y)


def test_rows_as_images_give_the_same_bits(device: Device) -> None:
    shape = (2, 32, 5, 28)
    whole = MemoryDesc.channels_last(shape, DataType.bf16)
    rows = batch_norm.by_rows(whole)
    assert rows.dims == (10, 32, 1, 28)
    narrow, blocked = (
        MemoryDesc.channels_last((2, 32, 5, 14), DataType.bf16),
        MemoryDesc.tagged(shape, DataType.bf16, Tag.aBcd16b),
    )
    assert all(batch_norm.by_rows(desc) is desc for desc in (narrow, blocked, MemoryDesc.channels_last(shape)))
    if not device.native_bf16:
        pytest.skip("this CPU has no bf16")
    rng = np.random.default_rng(2)
    x = rounded(rng.standard_normal(shape), DataType.bf16)
    spec = NormSpec(EPSILON, True, True, True, True)
    values = {arg: rng.uniform(0.5, 2, 32) for arg in (Arg.SCALE, Arg.SHIFT, Arg.MEAN, Arg.VARIANCE)}
    tops = []
    for desc in (whole, rows):
        given = x if desc is whole else x.transpose(0, 2, 1, 3).reshape(10, 32, 1, 28)
        top = fetch(run(batch_norm.forward(device, spec, desc, training=False), {Arg.SRC: given, **values})[Arg.DST])
        tops.append(top if desc is whole else top.reshape(2, 5, 32, 28).transpose(0, 2, 1, 3))
    np.testing.assert_array_equal(tops[0], tops[1])
