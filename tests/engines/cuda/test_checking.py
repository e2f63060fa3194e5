"""Ways to compute a product are compared before one is chosen: what is wrong is never used."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dragon.engines.cuda.device import checking
from dragon.engines.cuda.device.checking import Check
from dragon.engines.cuda.device.gpu import Gpu, open_gpu
from dragon.engines.cuda.device.precision import BFLOAT16, FLOAT16
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.emulation.frontend import Package
from tests.engines.cuda.emulation.sixteen import wide
from tests.engines.cuda.running import inputs, layer, same
from tests.engines.cuda.test_16_bit_kernels import check, rounded
from tests.engines.cuda.test_layers import IMAGES
from tests.engines.cuda.test_timing import BEST, FIRST, WINDOW, net_of

WRONG: dict[str, Callable[[Any], Any]] = {
    "zeros": lambda y: 0 * y,
    "NaN": lambda y: np.nan * y,
    "a channel is missing": lambda y: y * (np.arange(y.shape[1]) > 0)[:, None, None],
    "one number is wrong": lambda y: y + 9 * (np.arange(y.size) == y.size - 1).reshape(y.shape),
}


@pytest.fixture
def gpu(cuda: None) -> Gpu:
    found = open_gpu(0)
    found.timed_plans = True
    return found


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_plan_is_not_used(kind: str, package: Package, caplog: pytest.LogCaptureFixture) -> None:
    package.wrong = {BEST: WRONG[kind]}
    with caplog.at_level(logging.WARNING, logger="dragon"):
        same(net_of(WINDOW), {"x": IMAGES})
    assert [graph.index for graph in package.built] == [FIRST] * 3
    lines = [line for line in caplog.messages if "is not used" in line]
    assert [line.split(" of ")[0] for line in lines] == ["forward_bias", "forward", "weight", "data"]
    assert all(f"plan {BEST} of cuDNN's frontend is not used, since its result is off by" in line for line in lines)
    assert "forward_bias of Geometry(wide=" in caplog.text


def test_wrong_plans_alone_leave_the_product_to_cublas(package: Package, caplog: pytest.LogCaptureFixture) -> None:
    package.wrong = dict.fromkeys(range(4), WRONG["zeros"])
    with caplog.at_level(logging.WARNING, logger="dragon"):
        same(net_of(WINDOW), {"x": IMAGES})
    assert not package.built
    text = ": cuDNN is not used, since its result is off by 1 from that of cuBLAS"
    lines = [line for line in caplog.messages if text in line]
    assert [line.split(" of ")[0] for line in lines] == ["forward", "forward_bias", "weight", "data"]


def test_a_wrong_plan_of_padded_channels(package: Package, caplog: pytest.LogCaptureFixture) -> None:
    package.slow_channels = lambda number: 500 * (number % 8 > 0)
    package.wrong = dict.fromkeys(range(4), WRONG["zeros"])
    x = rounded(np.random.default_rng(2).standard_normal((2, 3, 6, 5)), "bf16")
    text = inputs({"x": x.shape}) + layer("Convolution", WINDOW) + layer("TanH", "", "y", "z", "two")
    with caplog.at_level(logging.WARNING, logger="dragon"):
        check(text, {"x": x}, "bf16", 8, channels_last=True)
    assert "cuDNN with 8 channels is not used" in caplog.text


# -- the comparison itself -----------------------------------------------------------------------------------------
def double(x: Any, y: Any) -> None:
    y[...] = x * 2


def triple(x: Any, y: Any) -> None:
    y[...] = x * 3


def chosen(gpu: Gpu, ways: dict[str, Any], reference: str | None = None) -> list[str]:
    with gpu.active():
        arrays = [gpu.empty((3, 50), np.float32) for _ in range(2)]
        checking.fill(gpu, arrays)
        return [name for name, _ in checking.trusted(gpu, arrays, list(ways.items()), Check("it", 1, reference))]


def test_the_reference_is_right(gpu: Gpu) -> None:
    ways = {"a": double, "b": double, "c": triple}
    assert chosen(gpu, ways, "c") == ["c"]
    assert chosen(gpu, ways, "a") == ["a", "b"]


def test_else_what_at_least_half_agree_with(gpu: Gpu) -> None:
    assert chosen(gpu, {"a": triple, "b": double, "c": double}) == ["b", "c"]
    assert chosen(gpu, {"a": triple, "b": double}) == ["a"]
    assert chosen(gpu, {"a": triple, "b": double, "c": lambda x, y: None}) == ["a"], "the first, if none agree"


def test_a_reference_that_is_not_finite_judges_nothing(gpu: Gpu) -> None:
    def infinite(x: Any, y: Any) -> None:
        y.fill(np.inf)

    assert chosen(gpu, {"a": infinite, "b": double}, "a") == ["a", "b"]
    assert chosen(gpu, {"a": infinite, "b": double, "c": double}) == ["b", "c"]


@pytest.mark.parametrize(("tf32", "ways"), [(True, ["a", "b"]), (False, ["a"])])
def test_roundings_are_allowed(tf32: bool, ways: list[str], gpu: Gpu) -> None:
    gpu.tf32 = tf32
    assert chosen(gpu, {"a": double, "b": lambda x, y: y.__setitem__(..., x * np.float32(2.01))}, "a") == ways


@pytest.mark.parametrize(
    ("dtype", "expected"), [(np.float32, 1e-3), (np.float64, 1e-9), (FLOAT16, 3e-2), (BFLOAT16, 3e-2)]
)
def test_operands(dtype: Any, expected: float, gpu: Gpu) -> None:
    with gpu.active():
        arrays = [gpu.empty(1001, dtype) for _ in range(2)]
        checking.fill(gpu, arrays)
        first, second = (wide(array.get(), np.float32) for array in arrays)
        assert checking.tolerance(gpu, arrays) == expected
    for values in (first, second):
        assert values.all()
        assert len(np.unique(values)) > 500
        assert np.abs(values).max() <= 0.5
        assert abs(values.mean()) < 0.05
        assert 0.25 < values.std() < 0.32
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.15


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("kernel", ["kernel_size: 1", "kernel_size: 3 pad: 1"])
def test_cudnn_gets_no_images_of_one_pixel(kernel: str, group: int, package: Package) -> None:
    """Their strides fit channels first and last alike."""
    x = np.random.default_rng(2).standard_normal((3, 4, 1, 1)).astype(np.float32)
    settings = f'convolution_param {{ num_output: 6 group: {group} {kernel} weight_filler {{ type: "xavier" }} }}'
    same(inputs({"x": x.shape}) + layer("Convolution", settings), {"x": x})
    assert not package.built
    assert standin.counts["gemm"]
    assert not standin.counts["launches of channels_first"] or "pad" in kernel
