"""Layer normalisation: value, statistics and gradients, with and without scale and shift."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.engines.onednn.kernels import layer_norm
from dragon.engines.onednn.library.constants import Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from tests.engines.onednn.running import close, fetch, rounded, run

SHAPE = (12, 35)
EPSILON = 1e-3


@pytest.mark.parametrize("dtype", [DataType.f32, DataType.bf16], ids=lambda t: t.name)
@pytest.mark.parametrize("affine", [False, True])
def test_value_and_gradients(device: Device, affine: bool, dtype: DataType) -> None:
    rng = np.random.default_rng(7)
    x, dy = rounded(rng.standard_normal(SHAPE) * 2 + 1, dtype), rounded(rng.standard_normal(SHAPE), dtype)
    scale = rng.uniform(0.5, 1.5, SHAPE[1]) if affine else np.ones(SHAPE[1])
    shift = rng.standard_normal(SHAPE[1]) if affine else np.zeros(SHAPE[1])
    mean, variance = x.mean(1, keepdims=True), x.var(1, keepdims=True)
    normal = (x - mean) / np.sqrt(variance + EPSILON)
    flow = dy * scale
    dx = flow - flow.mean(1, keepdims=True) - normal * (flow * normal).mean(1, keepdims=True)
    dx /= np.sqrt(variance + EPSILON)

    forward = layer_norm.forward(device, MemoryDesc.plain(SHAPE, dtype), EPSILON, affine)
    values = {Arg.SRC: x, Arg.SCALE: scale, Arg.SHIFT: shift}
    out = run(forward, values)
    close(fetch(out[Arg.DST]), normal * scale + shift, dtype)
    close(fetch(out[Arg.MEAN]), mean[:, 0])
    close(fetch(out[Arg.VARIANCE]), variance[:, 0])

    backward = layer_norm.backward(device, forward, EPSILON, affine)
    got = run(backward, {**values, Arg.DIFF_DST: dy, Arg.MEAN: mean[:, 0], Arg.VARIANCE: variance[:, 0]})
    close(fetch(got[Arg.DIFF_SRC]), dx, dtype)
    if affine:
        close(fetch(got[Arg.DIFF_SCALE]), (dy * normal).sum(0), dtype)
        close(fetch(got[Arg.DIFF_SHIFT]), dy.sum(0), dtype)


def test_inference_hands_out_no_statistics(device: Device) -> None:
    forward = layer_norm.forward(device, MemoryDesc.plain(SHAPE), EPSILON, False, training=False)
    assert list(forward.outputs) == [Arg.DST]
