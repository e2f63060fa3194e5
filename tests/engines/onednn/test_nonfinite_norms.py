"""Parameters and statistics that are not finite: NaN is where the reference has it, also behind a ReLU."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from dragon.engines import Options
from dragon.engines.onednn.library.device import Device
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

NET = """
layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 3 dim: 6 dim: 6 }} }} }}
layer {{ name: "a" type: "Convolution" bottom: "x" top: "a"
  convolution_param {{ num_output: {channels} kernel_size: 1 weight_filler {{ type: "msra" }} }} }}
layer {{ name: "norm" type: "BatchNorm" bottom: "a" top: "b" batch_norm_param {{ {settings} }} }}
layer {{ name: "scale" type: "Scale" bottom: "b" top: "b" scale_param {{ bias_term: true }} }}
layer {{ name: "relu" type: "ReLU" bottom: "b" top: "b" }}
layer {{ name: "c" type: "Convolution" bottom: "b" top: "c"
  convolution_param {{ num_output: 4 kernel_size: 1 weight_filler {{ type: "msra" }} }} }}
layer {{ name: "relu2" type: "ReLU" bottom: "c" top: "c" }}
layer {{ name: "d" type: "Convolution" bottom: "a" top: "d"
  convolution_param {{ num_output: 2 kernel_size: 1 weight_filler {{ type: "msra" }} }} }}
"""
# the layer and its blob that get a value in channel 1
BY_RUNNING = [("norm", 0, np.nan), ("norm", 0, np.inf), ("norm", 1, np.nan), ("norm", 1, -2.0), ("norm", 1, np.inf)]
AFFINE = [("scale", 0, np.nan), ("scale", 0, np.inf), ("scale", 1, np.nan), ("scale", 1, np.inf), ("scale", 1, -np.inf)]

Case = tuple[str, int, float]


def _check(device: Device, phase: int, settings: str, channels: int, precision: str, case: Case) -> None:
    if precision == "bf16" and not device.native_bf16:
        pytest.skip("this CPU has no bf16")
    text = parse_text(NET.format(channels=channels, settings=settings), pb.NetParameter())
    nets = [
        dragon.Net(text, phase=phase, engine=engine, seed=3, options=Options(precision=used))
        for engine, used in (("onednn", precision), ("numpy", "fp32"))
    ]
    name, k, value = case
    images = np.random.default_rng(1).standard_normal((2, 3, 6, 6))
    for given in (1.0, value, value, 1.0):
        for net in nets:
            for blob in (*net.params["norm"], *net.params["scale"]):
                blob.data[...] = 1
            net.params["norm"][0].data[...] = 1.234  # which no value is in bf16: 0 times infinity is NaN
            net.params[name][k].data[1] = given
            net.blobs["x"].data[...] = images
            with np.errstate(all="ignore"):
                net.forward()
        for blob in "bc":
            found, wanted = (np.isnan(net.blobs[blob].peek()) for net in nets)
            np.testing.assert_array_equal(found, wanted, f"{blob} with {given}")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("channels", [6, 16])
@pytest.mark.parametrize("case", BY_RUNNING + AFFINE, ids=str)
def test_by_running_statistics(device: Device, case: Case, channels: int, precision: str) -> None:
    _check(device, dragon.TEST, "", channels, precision, case)


@pytest.mark.parametrize("channels", [6, 16])
@pytest.mark.parametrize("case", BY_RUNNING + AFFINE, ids=str)
def test_by_running_statistics_in_training(device: Device, case: Case, channels: int) -> None:
    _check(device, dragon.TRAIN, "use_global_stats: true", channels, "fp32", case)


@pytest.mark.parametrize("channels", [6, 16])
@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST], ids=["train", "test"])
@pytest.mark.parametrize("case", AFFINE, ids=str)
def test_by_the_batch(device: Device, case: Case, phase: int, channels: int) -> None:
    _check(device, phase, "use_global_stats: false", channels, "fp32", case)
