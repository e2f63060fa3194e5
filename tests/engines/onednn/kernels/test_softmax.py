"""Softmax and its logarithm along the channel axis."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.engines.onednn.kernels import softmax
from dragon.engines.onednn.library.constants import Alg, Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from tests.engines.onednn.running import close, fetch, rounded, run


@pytest.mark.parametrize("dtype", [DataType.f32, DataType.bf16], ids=lambda t: t.name)
@pytest.mark.parametrize("log", [False, True], ids=["softmax", "log"])
@pytest.mark.parametrize("shape", [(7, 10), (2, 5, 3, 4)], ids=["flat", "image"])
def test_value_and_gradient(device: Device, shape: tuple[int, ...], log: bool, dtype: DataType) -> None:
    alg = Alg.softmax_log if log else Alg.softmax_accurate
    rng = np.random.default_rng(3)
    x, dy = rounded(3 * rng.standard_normal(shape), dtype), rng.standard_normal(shape)
    logits = x - x.max(1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    p = np.exp(logs)
    forward = softmax.forward(device, MemoryDesc.plain(shape, dtype), alg=alg, dst=MemoryDesc.plain(shape))
    out = run(forward, {Arg.SRC: x})
    close(fetch(out[Arg.DST]), logs if log else p)
    dx = dy - p * dy.sum(1, keepdims=True) if log else p * (dy - (p * dy).sum(1, keepdims=True))
    backward = softmax.backward(device, forward, alg=alg, diff_src=MemoryDesc.plain(shape, dtype))
    got = run(backward, {Arg.DST: out[Arg.DST], Arg.DIFF_DST: dy})
    close(fetch(got[Arg.DIFF_SRC]), dx, dtype)


def test_large_logits_do_not_overflow(device: Device) -> None:
    forward = softmax.forward(device, MemoryDesc.plain((1, 3)))
    out = run(forward, {Arg.SRC: np.array([[1000.0, 1000.0, -1000.0]])})
    close(fetch(out[Arg.DST]), np.array([[0.5, 0.5, 0]]))
