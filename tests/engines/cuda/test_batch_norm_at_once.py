"""Batch normalisation in one launch each way: every form of it, which shapes it takes, and when it is timed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TRAIN
from dragon.engines import Options
from dragon.engines.cuda.device.counting import CountingDevice, Shaped
from dragon.engines.cuda.device.precision import BFLOAT16
from dragon.engines.cuda.kernels import sources
from dragon.engines.cuda.kernels.batch_norm_at_once import THREADS
from dragon.engines.cuda.lowerings.channel_slices import Slices, slices
from dragon.engines.cuda.lowerings.channels import Channels
from dragon.graph.net import Net
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.emulation.compiler import Order
from tests.engines.cuda.running import by_kernels, inputs, layer, make, parse, same
from tests.engines.cuda.test_16_bit_kernels import check, rounded
from tests.engines.cuda.test_channels import NORM, RELU, SHAPES

FITTING = [name for name in SHAPES if name != "whole maps, one number at a time"]  # for which there are too few threads
WAYS = ("launches of bn_forward_at_once", "launches of bn_backward_at_once")


def fitting(shape: tuple[int, ...], dtype: Any, arrays: int = 1, **changes: Any) -> Slices | None:
    """The slices on an H200, or on a GPU with other numbers."""
    device, (n, c, *axes) = CountingDevice(**changes), shape
    return slices(device, Channels.of(device, n, c, math.prod(axes)), arrays, Shaped(shape, dtype))


def test_the_number_of_threads_is_that_of_the_source() -> None:
    assert f"#define THREADS {THREADS}\n" in sources.source("batch_norm_at_once")


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("name", FITTING)
def test_in_each_form(name: str) -> None:
    """With a mean that is large beside the deviation."""
    x = (np.random.default_rng(3).standard_normal(SHAPES[name]) + 50).astype(np.float32)
    net = same(inputs({"x": x.shape}) + NORM + RELU, {"x": x}, tolerance=3e-4, compare_diffs=False)
    by_kernels(net, "one")
    assert all(standin.counts[way] for way in WAYS)
    assert not standin.counts["launches of bn_normalize"]


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("name", FITTING)
def test_in_each_form_in_16_bits(name: str) -> None:
    x = rounded(np.random.default_rng(3).standard_normal(SHAPES[name]) + 2, "bf16")
    check(inputs({"x": x.shape}) + NORM + RELU, {"x": x}, "bf16", 8)
    assert all(standin.counts[way] for way in WAYS)


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("top", ["y", "x"])
@pytest.mark.parametrize("rule", ["CAFFE", "EMA", "CUMULATIVE", "LATEST"])
def test_each_rule_of_the_running_average(rule: str, top: str) -> None:
    """Also in place, and by more blocks than a multiprocessor has turns."""
    x = (np.random.default_rng(5).standard_normal((20, 24)) + 3).astype(np.float32)
    same(inputs({"x": x.shape}) + layer("BN", f"batch_norm_param {{ average: {rule} decay: 0.7 }}", "x", top), {"x": x})


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("channel", [None, 0, 20])
def test_statistics_without_a_weight_count_as_a_full_average(channel: int | None) -> None:
    """If one of them is not 0, in whichever block."""
    x = np.random.default_rng(6).standard_normal((20, 24)).astype(np.float32)
    text = inputs({"x": x.shape}) + layer("BN", "batch_norm_param { average: EMA decay: 0.7 }")
    nets = [make(text, engine) for engine in ("numpy", "cuda")]
    layers: list[Any] = [net.layers[1] for net in nets]
    for net, one in zip(nets, layers, strict=True):
        mean, variance, weight = one.statistics
        mean.data[...], variance.data[...], weight.data[...] = 0, 0, 0
        if channel is not None:
            variance.data.reshape(-1)[channel] = 0.5
        net.blobs["x"].data[...] = x
    for _ in range(3):
        for net in nets:
            net.run_forward()
        for ours, expected in zip(layers[1].statistics, layers[0].statistics, strict=True):
            np.testing.assert_allclose(ours.peek(), expected.peek(), 1e-5, 1e-6)


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("mean", [0.0, 1e3, -1e4])
@pytest.mark.parametrize("shape", [(3, 2, 32, 32), (13, 8, 7, 7), (700, 24)])
def test_no_digits_are_lost_where_the_mean_is_large(shape: tuple[int, ...], mean: float) -> None:
    """Also behind a first value far off. Against the variance of the same float32 numbers."""
    x = (np.random.default_rng(4).standard_normal(shape) + mean).astype(np.float32)
    x.reshape(-1)[0] += 100
    net = same(inputs({"x": shape}) + layer("BN", "batch_norm_param { average: LATEST decay: 1 }"), {"x": x},
               tolerance=max(2e-4, abs(mean) * 1e-6))  # fmt: skip
    blobs = [blob.peek().ravel() for blob in net.layers[1].blobs]
    exact = x.astype(np.float64).var(axis=(0, *range(2, x.ndim)))
    assert min(np.abs(blob / exact - 1).max() for blob in blobs if blob.size == exact.size) < 1e-4


@pytest.mark.usefixtures("emulated")
def test_the_order_of_blocks_and_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(7).standard_normal((30, 40)).astype(np.float32)
    found = []
    for backwards in (False, True):
        monkeypatch.setattr(Order, "backwards", backwards)
        net = make("force_backward: true\n" + inputs({"x": x.shape}) + NORM + RELU, "cuda")
        net.blobs["x"].data[...] = x
        net.run_forward()
        net.blobs["y"].diff[...] = x
        net.run_backward()
        blobs = [blob.peek() for one in net.layers for blob in one.blobs]
        found.append([net.blobs["y"].peek(), net.blobs["x"].peek_diff(), *blobs])
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize(("rows", "once"), [(1700, "backward"), (3500, "forward")])
def test_what_takes_several_turns_is_timed(rows: int, once: str) -> None:
    """Both ways are compared, and the faster one is used: here that of fewer launches."""
    x = np.random.default_rng(8).standard_normal((rows, 24)).astype(np.float32)
    same(inputs({"x": x.shape}) + NORM, {"x": x}, tolerance=1e-4, compare_diffs=False)
    assert standin.counts[f"launches of bn_{once}_at_once"] == 3


@pytest.mark.usefixtures("emulated")
def test_what_takes_several_turns_takes_several_launches_where_nothing_is_timed() -> None:
    x = np.random.default_rng(8).standard_normal((1700, 24)).astype(np.float32)
    text = "force_backward: true\n" + inputs({"x": x.shape}) + NORM
    net = Net(parse(text), TRAIN, engine="cuda", options=Options(timed_plans=False))
    net.blobs["x"].data[...] = x
    net.run_forward()
    net.run_backward()
    assert standin.counts["launches of bn_backward"] == 1
    assert not standin.counts["launches of bn_backward_at_once"]


SHAPES_OF_NETS = {  # channels of a block forward and backward, 0: several launches; most are ResNet-50's
    ((3136, 2048), "bf16"): (16, 16), ((3136, 512), "bf16"): (8, 8), ((12544, 1024), "bf16"): (8, 0),
    ((50176, 512), "bf16"): (0, 0), ((802816, 64), "bf16"): (0, 0), ((64, 2048, 7, 7), "bf16"): (16, 16),
    ((64, 2048, 7, 7), "fp32"): (16, 8), ((64, 256, 14, 14), "fp32"): (2, 2), ((64, 128, 28, 28), "fp32"): (1, 0),
    ((64, 256, 56, 56), "fp32"): (0, 0), ((100, 500), "fp32"): (4, 4), ((100, 10), "bf16"): (1, 1),
}  # fmt: skip


@pytest.mark.parametrize(("shape", "precision"), SHAPES_OF_NETS)
def test_which_shapes_fit(shape: tuple[int, ...], precision: str) -> None:
    dtype = np.float32 if precision == "fp32" else BFLOAT16
    found = [fitting(shape, dtype, arrays) for arrays in (1, 2)]
    assert tuple(0 if one is None else one.group for one in found) == SHAPES_OF_NETS[shape, precision]
    for one in found:
        if one is not None:
            assert one.shared <= 227 << 10
            assert one.group * one.s <= THREADS * 8


def test_one_launch_is_used_untimed_where_it_is_surely_faster() -> None:
    def is_sure(shape: tuple[int, ...], **changes: int) -> bool:
        found = fitting(shape, np.float32, **changes)
        assert found is not None
        return found.is_sure

    assert is_sure((64, 2048, 7, 7))
    assert is_sure((100, 64))
    assert not is_sure((6400, 64)), "16 blocks of 100 KB"
    assert not is_sure((3136, 2048)), "rows of 32 bytes, which took twice as long on a card"
    assert not is_sure((64, 2048, 7, 7), multiprocessors=66), "two blocks, one after the other"


def test_a_gpu_with_less_shared_memory_takes_less() -> None:
    assert fitting((3136, 2048), np.float32, shared_bytes=163 << 10).group == 8  # type: ignore[union-attr]
    assert fitting((3136, 2048), np.float32, shared_bytes=48 << 10) is None
