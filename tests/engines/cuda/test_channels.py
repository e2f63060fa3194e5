"""How arrays are shared between blocks by channel: each form of a launch, and partial results that are folded."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dragon.engines.cuda.device.counting import CountingDevice, Shaped
from dragon.engines.cuda.device.precision import BFLOAT16
from dragon.engines.cuda.kernels.channels import fold_sums
from dragon.engines.cuda.lowerings import channel_slices, channels
from dragon.engines.cuda.lowerings.channels import Channels, Geometry
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.running import by_kernels, inputs, layer, same
from tests.engines.cuda.test_16_bit_kernels import check, rounded

NORM = layer("BatchNorm") + layer("Scale", "scale_param { bias_term: true filler { value: 0.8 } }", "y", "y", "scale")
RELU = layer("ReLU", "relu_param { negative_slope: 0.1 }", "y", "y", "relu")
SHAPES = {
    "whole maps": (3, 2, 32, 32),
    "whole maps, one number at a time": (3, 2, 33, 31),
    "columns of small maps": (40, 8, 4, 4),
    "columns of odd maps": (13, 8, 7, 7),
    "columns of odd maps, one number at a time": (6, 3, 7, 7),
    "columns of a matrix": (700, 24),
    "columns of a matrix, one number at a time": (601, 3),
    "a last block with fewer channels": (9, 136),
    "one image of small maps": (1, 24, 5, 5),
}


def geometry(shape: tuple[int, ...], dtype: Any = np.float32, multiprocessors: int = 132) -> Geometry:
    device, (n, c, *axes) = CountingDevice(multiprocessors), shape
    return Channels.of(device, n, c, math.prod(axes)).geometry(device, Shaped(shape, dtype))


@pytest.fixture
def several_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shape is normalised in one launch."""
    monkeypatch.setattr(channel_slices, "MOST_ROUNDS", 0)


@pytest.mark.usefixtures("cuda", "several_launches")
@pytest.mark.parametrize("resident", [1, 200])
@pytest.mark.parametrize("name", SHAPES)
def test_batch_norm_in_each_form(name: str, resident: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In few parts and in many, with a mean that is large beside the deviation."""
    monkeypatch.setattr(channels, "RESIDENT", resident)
    x = (np.random.default_rng(3).standard_normal(SHAPES[name]) + 50).astype(np.float32)
    net = same(inputs({"x": x.shape}) + NORM + RELU, {"x": x}, tolerance=3e-4, compare_diffs=False)
    by_kernels(net, "one")


@pytest.mark.usefixtures("cuda", "several_launches")
@pytest.mark.parametrize("resident", [1, 200])
@pytest.mark.parametrize("name", SHAPES)
def test_batch_norm_in_each_form_in_16_bits(name: str, resident: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "RESIDENT", resident)
    x = rounded(np.random.default_rng(3).standard_normal(SHAPES[name]) + 2, "bf16")
    check(inputs({"x": x.shape}) + NORM + RELU, {"x": x}, "bf16", 8)


@pytest.mark.usefixtures("cuda", "several_launches")
@pytest.mark.parametrize("mean", [0.0, 1e3, -1e4])
@pytest.mark.parametrize("shape", [(3, 2, 32, 32), (13, 8, 7, 7), (700, 24)])
def test_no_digits_are_lost_where_the_mean_is_large(
    shape: tuple[int, ...], mean: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the variance of the same float32 numbers, which becomes the running variance."""
    monkeypatch.setattr(channels, "RESIDENT", 200)
    x = (np.random.default_rng(4).standard_normal(shape) + mean).astype(np.float32)
    net = same(inputs({"x": shape}) + layer("BN", "batch_norm_param { average: LATEST decay: 1 }"), {"x": x},
               tolerance=max(2e-4, abs(mean) * 1e-6))  # fmt: skip
    blobs = [blob.peek().ravel() for blob in net.layers[1].blobs]
    exact = x.astype(np.float64).var(axis=(0, *range(2, x.ndim)))
    assert min(np.abs(blob / exact - 1).max() for blob in blobs if blob.size == exact.size) < 1e-4


FORMS = {  # whether it is read by vectors, and by columns
    (64, 64, 112, 112): (True, False), (64, 256, 56, 56): (True, False), (64, 512, 28, 28): (True, False),
    (64, 1024, 14, 14): (True, True), (64, 2048, 7, 7): (True, True), (8192, 4096): (True, True),
    (802816, 64): (True, True), (200704, 256): (True, True), (3136, 2048): (True, True),
    (100, 10): (False, True), (50, 96, 55, 55): (False, False), (50, 3, 7, 7): (False, True),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, BFLOAT16])
@pytest.mark.parametrize("shape", FORMS)
def test_the_form_of_a_launch(shape: tuple[int, ...], dtype: Any) -> None:
    found = geometry(shape, dtype)
    assert (found.vectors, found.group > 0) == FORMS[shape]
    lanes = 16 // np.dtype(dtype).itemsize if found.vectors else 1
    if found.group:
        assert found.group * found.s % lanes == 0
        assert found.group * found.s // lanes <= 256
    n, c, *axes = shape
    whole = n * math.prod(axes)
    assert (found.parts - 1) * found.values < whole <= found.parts * found.values
    blocks = found.grid[0] * found.grid[1]
    if whole * c > 1 << 22:
        assert blocks / (-(-blocks // 528) * 528) >= 0.9, "the last blocks run alone"


def test_few_rows_are_read_by_more_threads_side_by_side() -> None:
    """Else most of a block's threads, which take further rows, would have none."""
    assert geometry((1, 512, 7, 7)).group > geometry((64, 512, 7, 7)).group


def test_many_partial_results_are_folded_once() -> None:
    device = CountingDevice()
    at = Channels.of(device, 802816, 64, 1)
    x = Shaped((802816, 64), BFLOAT16)
    sums = channels.channel_sums(device, at, x, x)
    assert sums.parts > channels.MOST_PARTS
    folded = sums.folded(device, x.dtype, fold_sums, sums=sums.array)
    assert folded.parts <= channels.FOLDED
    assert folded.parts * folded.values >= 802816
    assert folded.folded(device, x.dtype, fold_sums, sums=folded.array) is folded
    assert [name for name, _, _ in device.launches] == ["channel_sums", "fold_sums"]


def test_few_partial_results_of_a_small_array() -> None:
    """They need no launch that folds them. A launch that makes none has as many blocks as ever."""
    device = CountingDevice()
    x = Shaped((25600, 32), BFLOAT16)
    at = Channels.of(device, 25600, 32, 1)
    assert channels.channel_sums(device, at, x, x).parts <= channels.MOST_PARTS
    assert at.geometry(device, x).parts > channels.MOST_PARTS


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("most", [0, 1 << 20])
@pytest.mark.parametrize("name", SHAPES)
def test_a_gradient_of_a_bias_in_each_form(name: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one launch if a block can read all of its channels, else in two."""
    monkeypatch.setattr(channels, "ONE_BLOCK", most)
    x = np.random.default_rng(9).standard_normal(SHAPES[name]).astype(np.float32)
    same(inputs({"x": x.shape}) + layer("Bias"), {"x": x}, tolerance=1e-4)
    assert bool(standin.counts["launches of channel_gradient"]) == bool(most)
    assert bool(standin.counts["launches of channel_totals"]) != bool(most)


def test_a_large_gradient_of_a_bias_is_summed_by_many_blocks() -> None:
    device, x, bias = CountingDevice(), Shaped((64, 256, 56, 56), np.float32), Shaped(256, np.float32)
    channels.channel_gradient(device, Channels.of(device, 64, 256, 56 * 56), x, bias)
    assert [name for name, _, _ in device.launches] == ["channel_sums", "channel_totals"]
    small = CountingDevice()
    channels.channel_gradient(
        small, Channels.of(small, 100, 64, 1), Shaped((100, 64), BFLOAT16), Shaped(64, np.float32)
    )
    assert [name for name, _, _ in small.launches] == ["channel_gradient"]
