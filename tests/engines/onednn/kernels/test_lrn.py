"""Local response normalisation across channels and within one; gradients against central differences."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.engines.onednn.kernels import lrn
from dragon.engines.onednn.kernels.lrn import LrnSpec
from dragon.engines.onednn.library.constants import Alg, Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from tests.engines.onednn import reference
from tests.engines.onednn.running import Array, close, fetch, rounded, run

SHAPE = (2, 16, 5, 6)


@pytest.mark.parametrize("dtype", [DataType.f32, DataType.bf16], ids=lambda t: t.name)
@pytest.mark.parametrize("layout", ["plain", "last"])
@pytest.mark.parametrize("across", [True, False], ids=["across", "within"])
def test_value_and_gradient(device: Device, across: bool, layout: str, dtype: DataType) -> None:
    alg = Alg.lrn_across_channels if across else Alg.lrn_within_channel
    spec = LrnSpec(3, 0.5, 0.75, 1.0 if not across else 2.0, alg)
    make = MemoryDesc.plain if layout == "plain" else MemoryDesc.channels_last
    rng = np.random.default_rng(12)
    x, dy = rounded(rng.standard_normal(SHAPE), dtype), rounded(rng.standard_normal(SHAPE), dtype)

    def value(at: Array) -> Array:
        return reference.lrn(at, spec.size, spec.alpha, spec.beta, spec.k, across)

    forward = lrn.forward(device, spec, make(SHAPE, dtype))
    out = run(forward, {Arg.SRC: x})
    close(fetch(out[Arg.DST]), value(x), dtype)

    backward = lrn.backward(device, spec, forward, forward[Arg.SRC])
    memories = {Arg.WORKSPACE: out[Arg.WORKSPACE]} if Arg.WORKSPACE in out else {}
    dx = fetch(run(backward, {Arg.SRC: x, Arg.DIFF_DST: dy, **memories})[Arg.DIFF_SRC])
    step = 1e-6
    for _ in range(4):  # directional derivatives
        along = rng.standard_normal(SHAPE)
        slope = ((value(x + step * along) - value(x - step * along)) * dy).sum() / (2 * step)
        wanted = np.array([slope / np.linalg.norm(along)])
        close(np.array([(dx * along).sum() / np.linalg.norm(along)]), wanted, dtype, scale=20)
