"""Inner product on flat and spatial sources, both orders of the weights blob."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.engines.onednn.kernels import inner_product
from dragon.engines.onednn.kernels.inner_product import InnerProductSpec
from dragon.engines.onednn.library.constants import Alg, Arg, DataType, Tag
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.primitive import EltwisePost
from tests.engines.onednn.running import close, fetch, load, rounded, run


@pytest.mark.parametrize("dtype", [DataType.f32, DataType.bf16], ids=lambda t: t.name)
@pytest.mark.parametrize("transposed", [False, True], ids=["rows", "transposed"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("src", [(5, 12), (4, 20, 3, 2), (2, 3, 2, 2, 2)], ids=["flat", "image", "volume"])
def test_value_and_gradients(
    device: Device, src: tuple[int, ...], bias: bool, transposed: bool, dtype: DataType
) -> None:
    spec = InnerProductSpec(src, 7, bias, transposed, dtype)
    inputs = int(np.prod(src[1:]))
    rng = np.random.default_rng(1)
    shape = (inputs, 7) if transposed else (7, inputs)
    x, w, dy = (rounded(rng.standard_normal(s), dtype) for s in (src, shape, (src[0], 7)))
    b = rng.standard_normal(7)
    matrix = w if transposed else w.T
    rows = x.reshape(src[0], -1)

    forward = inner_product.forward(device, spec)
    weights = load(device, forward[Arg.WEIGHTS], w, spec.host_weights())
    out = run(forward, {Arg.SRC: x, Arg.WEIGHTS: weights, Arg.BIAS: b})
    close(fetch(out[Arg.DST]), rows @ matrix + (b if bias else 0), dtype)

    data = inner_product.backward_data(device, spec, forward)
    weights = load(device, data[Arg.WEIGHTS], w, spec.host_weights())
    got = run(data, {Arg.DIFF_DST: dy, Arg.WEIGHTS: weights})
    close(fetch(got[Arg.DIFF_SRC]), (dy @ matrix.T).reshape(src), dtype)

    learn = inner_product.backward_weights(device, spec, forward)
    got = run(learn, {Arg.SRC: x, Arg.DIFF_DST: dy})
    dw = rows.T @ dy
    close(fetch(got[Arg.DIFF_WEIGHTS], spec.host_weights()), (dw if transposed else dw.T).ravel())
    if bias:
        close(fetch(got[Arg.DIFF_BIAS]), dy.sum(0))


def test_blocked_source_is_taken_as_it_is(device: Device) -> None:
    spec = InnerProductSpec((4, 32, 2, 2), 8)
    src = MemoryDesc.tagged(spec.src, DataType.f32, Tag.aBcd16b)
    forward = inner_product.forward(device, spec, src=src, post_ops=[EltwisePost(Alg.eltwise_relu)])
    assert forward[Arg.SRC] == src
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal(spec.src), rng.standard_normal((8, 128))
    out = run(forward, {Arg.SRC: x, Arg.WEIGHTS: w, Arg.BIAS: np.zeros(8)})
    close(fetch(out[Arg.DST]), np.maximum(x.reshape(4, -1) @ w.T, 0))
