"""Pooling under Caffe's ceil rule, with padding and with windows that pass the padded edge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dragon.engines.onednn.kernels import pooling
from dragon.engines.onednn.kernels.pooling import PoolSpec, average_alg, average_correction
from dragon.engines.onednn.library.constants import Alg, Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from tests.engines.onednn import reference
from tests.engines.onednn.running import close, fetch, rounded, run

MAX, AVERAGE = Alg.pooling_max, Alg.pooling_avg_include_padding
GEOMETRIES = {
    "ceil": PoolSpec((2, 16, 8, 8), (2, 16, 4, 4), (3, 3), (2, 2), (0, 0), MAX),
    "exact": PoolSpec((2, 5, 7, 7), (2, 5, 3, 3), (3, 3), (2, 2), (0, 0), MAX),
    "floor": PoolSpec((2, 5, 8, 8), (2, 5, 3, 3), (3, 3), (2, 2), (0, 0), MAX),
    "padded": PoolSpec((2, 5, 8, 8), (2, 5, 4, 5), (3, 2), (2, 2), (1, 1), MAX),
    "beyond-padding": PoolSpec((2, 5, 7, 9), (2, 5, 3, 4), (5, 5), (3, 3), (1, 1), MAX),
    "global": PoolSpec((2, 5, 6, 6), (2, 5, 1, 1), (6, 6), (1, 1), (0, 0), MAX),
    "one-axis": PoolSpec((2, 5, 9), (2, 5, 5), (2,), (2,), (0,), MAX),
    "three-axes": PoolSpec((1, 3, 4, 5, 6), (1, 3, 2, 2, 3), (2, 3, 2), (2, 2, 2), (0, 0, 0), MAX),
}


@pytest.mark.parametrize("dtype", [DataType.f32, DataType.bf16], ids=lambda t: t.name)
@pytest.mark.parametrize("average", [False, True], ids=["max", "average"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_value_and_gradient(device: Device, name: str, average: bool, dtype: DataType) -> None:
    spec = replace(GEOMETRIES[name], dtype=dtype)
    correct = False
    if average:
        alg, correct = average_alg(spec)
        spec = replace(spec, alg=alg)
    rng = np.random.default_rng(11)
    x, dy = rounded(rng.standard_normal(spec.src), dtype), rounded(rng.standard_normal(spec.dst), dtype)
    factor = average_correction(spec).astype(np.float64) if correct else np.ones(1)

    forward = pooling.forward(device, spec, src=MemoryDesc.plain(spec.src, dtype))
    out = run(forward, {Arg.SRC: x})
    close(fetch(out[Arg.DST]) * factor, reference.pooling(x, spec), dtype)

    backward = pooling.backward(device, spec, forward)
    values = {Arg.DIFF_DST: rounded(dy * factor, dtype)}
    if Arg.WORKSPACE in out:
        values[Arg.WORKSPACE] = out[Arg.WORKSPACE]  # type: ignore[assignment]
    got = fetch(run(backward, values)[Arg.DIFF_SRC])
    close(got, reference.pooling_gradient(x, dy, spec), dtype)


def test_average_needs_a_correction_only_where_no_mode_has_the_divisor() -> None:
    wanted = {name: average_alg(spec)[1] for name, spec in GEOMETRIES.items()}
    assert [name for name, needed in wanted.items() if needed] == ["beyond-padding"]


def test_first_of_equal_maxima_takes_the_gradient(device: Device) -> None:
    spec = PoolSpec((1, 1, 4, 4), (1, 1, 2, 2), (2, 2), (2, 2), (0, 0), MAX)
    forward = pooling.forward(device, spec, src=MemoryDesc.plain(spec.src))
    x, dy = np.ones(spec.src), np.arange(1.0, 5).reshape(spec.dst)
    out = run(forward, {Arg.SRC: x})
    backward = pooling.backward(device, spec, forward)
    got = run(backward, {Arg.DIFF_DST: dy, Arg.WORKSPACE: out[Arg.WORKSPACE]})
    close(fetch(got[Arg.DIFF_SRC]), reference.pooling_gradient(x, dy, spec))


def test_inference_needs_no_workspace(device: Device) -> None:
    spec = GEOMETRIES["ceil"]
    forward = pooling.forward(device, spec, src=MemoryDesc.plain(spec.src), training=False)
    assert list(forward.outputs) == [Arg.DST]
