"""Products of matrices, with post-operations and broadcast batches."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.engines.onednn.kernels.matmul import matmul
from dragon.engines.onednn.library.constants import Alg, Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.primitive import EltwisePost, PostOp, SumPost
from tests.engines.onednn.running import close, fetch, load, rounded, run


@pytest.mark.parametrize("dtype", [DataType.f32, DataType.bf16], ids=lambda t: t.name)
@pytest.mark.parametrize(("left", "right"), [((8, 5), (5, 96)), ((1, 8, 5), (3, 5, 32))], ids=str)
def test_products(device: Device, left: tuple[int, ...], right: tuple[int, ...], dtype: DataType) -> None:
    rng = np.random.default_rng(0)
    a, b = rounded(rng.standard_normal(left), dtype), rounded(rng.standard_normal(right), dtype)
    expected = a @ b
    descs = [MemoryDesc.plain(shape, dtype) for shape in (left, right, expected.shape)]
    primitive = matmul(device, *descs)
    close(fetch(run(primitive, {Arg.SRC: a, Arg.WEIGHTS: b})[Arg.DST]), expected, dtype)


@pytest.mark.parametrize(
    ("post", "function"),
    [
        ([EltwisePost(Alg.eltwise_relu)], lambda product, before: np.maximum(product, 0)),
        ([SumPost()], lambda product, before: product + before),
    ],
)
def test_post_operations(device: Device, post: list[PostOp], function: object) -> None:
    rng = np.random.default_rng(1)
    a, b, before = rng.standard_normal((4, 6)), rng.standard_normal((6, 32)), rng.standard_normal((4, 32))
    descs = [MemoryDesc.plain(x.shape) for x in (a, b, before)]
    target = load(device, descs[2], before)
    run(matmul(device, *descs, post_ops=post), {Arg.SRC: a, Arg.WEIGHTS: b}, {Arg.DST: target})
    assert callable(function)
    close(fetch(target), function(a @ b, before))
