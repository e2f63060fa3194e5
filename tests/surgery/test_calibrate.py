"""Calibration: ranges over several batches, by the largest magnitude and by percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import dragon
from dragon.engines import Options
from dragon.engines.int8.arithmetic import Range
from dragon.engines.int8.table import digest_of
from dragon.errors import NumericError, UsageError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.surgery.calibrate import PERCENTILE, Magnitudes, calibrate
from tests.engines import needs

NET = """
name: "n" layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 6 dim: 6 } } }
layer { name: "conv1" type: "Convolution" bottom: "x" top: "c" convolution_param {
  num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "ip" type: "InnerProduct" bottom: "c" top: "y" inner_product_param {
  num_output: 3 weight_filler { type: "xavier" } } }
"""


def counted(*batches: Any) -> Magnitudes:
    found = Magnitudes()
    for batch in batches:
        assert found.add(np.asarray(batch, np.float32))
    return found


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)], ids=["growing", "shrinking"])
@pytest.mark.parametrize("percent", [50.0, 90.0, 99.9, 100.0])
def test_percentiles_of_all_batches(percent: float, order: Sequence[int]) -> None:
    rng = np.random.default_rng(1)
    batches = [rng.standard_normal(5000) * scale for scale in (0.1, 1.0, 30.0)]
    found = counted(*(batches[k] for k in order))
    magnitudes = np.abs(np.concatenate(batches))
    exact = float(np.percentile(magnitudes, percent, method="inverted_cdf"))
    assert exact <= found.percentile(percent) * (1 + 1e-6)
    assert found.percentile(percent) <= exact + 2.01 * magnitudes.max() / 2**14  # the width of a bin
    assert found.percentile(100) == found.largest == pytest.approx(magnitudes.max())
    assert found.signed


def test_zeros_and_signs() -> None:
    assert not counted([0.0, 1.0], [2.0]).signed
    assert counted([0.0], [-1.0, 0.5]).signed
    assert counted([-3.0, 2.0]).largest == 3
    zeros = counted(np.zeros(7), np.zeros(7))
    assert (zeros.largest, zeros.percentile(99)) == (0, 0)
    mostly = counted(np.zeros(999), [8.0])
    assert mostly.percentile(99) < 0.01
    assert mostly.percentile(100) == 8


def test_values_that_are_not_finite_are_not_counted() -> None:
    found = counted([1.0])
    for bad in (np.nan, np.inf, -np.inf):
        assert not found.add(np.array([2.0, bad]))
    assert found.largest == 1


@pytest.mark.parametrize("least", [1e-42, 1e-45, 1e-38, 1e-36, 1e-31])
def test_denormals_are_counted(least: float) -> None:
    found = counted([0, least], [0, -least])
    assert found.largest == found.percentile(100) == np.float32(least)
    assert found.signed
    grown = counted([0, least], np.ones(98), [0, 4.0])
    assert grown.percentile(50) == pytest.approx(1, rel=0.01)
    assert (grown.percentile(100), grown.largest) == (4, 4)
    assert grown.percentile(1) < 1e-3


def test_values_of_a_net_in_float64_that_float32_does_not_have() -> None:
    assert Magnitudes().add(np.array([0, 1e-300]))
    assert not Magnitudes().add(np.array([0, 1e300]))


@pytest.mark.parametrize("method", ["max", "percentile"])
def test_a_net_that_reads_denormals_can_be_calibrated_and_run(method: str) -> None:
    net = make()
    net.blobs["x"].data[...] = 0
    net.blobs["x"].data[0, 0] = 1e-42
    found = calibrate(net, 1, method)
    assert found.layers["conv1"] == Range(float(np.float32(1e-42)), signed=False)
    options = Options(precision="int8", calibration=found)
    rounded = dragon.Net(parse_text(NET, pb.NetParameter()), phase=dragon.TEST, engine="numpy", seed=1, options=options)
    rounded.blobs["x"].data[...] = net.blobs["x"].peek()
    assert np.isfinite(rounded.forward()["y"]).all()


@pytest.mark.parametrize("batches", [0, -1, 1.5])
def test_too_few_batches(batches: Any) -> None:
    with pytest.raises(UsageError, match=f"batches must be a whole number of at least 1, got {batches}"):
        calibrate(make(), batches)


def make(engine: str = "numpy", phase: int = dragon.TEST) -> dragon.Net:
    net = dragon.Net(parse_text(NET, pb.NetParameter()), phase=phase, engine=engine, seed=1)
    net.blobs["x"].data[...] = np.random.default_rng(1).standard_normal(net.blobs["x"].shape)
    return net


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_the_ranges_are_those_of_what_layers_read(engine: str) -> None:
    if engine == "onednn":
        needs.onednn()
    net = make(engine)
    found = calibrate(net, 2)
    x, c = net.blobs["x"].peek(), net.blobs["c"].peek()
    of = found.layers["conv1"]
    assert of is not None
    assert (of.limit, of.signed) == (np.abs(x).max(), True)
    of = found.layers["ip"]
    assert of is not None
    assert of.limit == pytest.approx(c.max())
    assert not of.signed
    assert (found.net, found.weights, found.method, found.batches) == ("n", digest_of(net), "max", 2)
    assert net.before_forward_hooks == []


def test_settings() -> None:
    found = calibrate(make(), 1, "percentile", 50, ["ip"])
    assert found.percentile == 50
    assert found.layers["ip"] is None
    of = found.layers["conv1"]
    assert of is not None
    assert of.limit == pytest.approx(np.median(np.abs(make().blobs["x"].peek())), rel=0.05)
    with pytest.raises(UsageError, match=r'net "n" has no convolution or inner product "conv2" .did you mean "conv1"'):
        calibrate(make(), 1, float32=["conv2"])
    with pytest.raises(UsageError, match=r'method "percentil" .did you mean "percentile"'):
        calibrate(make(), 1, "percentil")
    with pytest.raises(UsageError, match="percentile must be above 0 and at most 100, got 101"):
        calibrate(make(), 1, "percentile", 101)
    with pytest.raises(UsageError, match="a percentile is for method percentile, got 50 with method max"):
        calibrate(make(), 1, percentile=50)
    assert calibrate(make(), 1, "percentile").percentile == PERCENTILE
    with pytest.raises(UsageError, match="a calibration runs a net in phase TEST"):
        calibrate(make(phase=dragon.TRAIN), 1)


def test_a_value_that_is_not_finite_names_the_layer() -> None:
    net = make()
    net.params["conv1"][0].data[...] = np.nan
    with pytest.raises(NumericError, match=r'layer "ip" \(InnerProduct\): its input is not finite'):
        calibrate(net, 1)
    assert net.before_forward_hooks == []
