"""Bias by channel in bf16, whatever vector code ran before it."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from dragon.engines import Options
from dragon.engines.onednn.library.device import Device
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

NET = """
layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: {batch} dim: 16 dim: 5 dim: 5 }} }} }}
layer {{ name: "q" type: "Pooling" bottom: "x" top: "q" pooling_param {{ pool: AVE {window} }} }}
layer {{ name: "a" type: "Convolution" bottom: "q" top: "a"
  convolution_param {{ num_output: {channels} kernel_size: 1 bias_term: false weight_filler {{ type: "msra" }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "a" top: "r" }}
layer {{ name: "bias" type: "Bias" bottom: "r" top: "{top}" bias_param {{ filler {{ type: "gaussian" std: 1 }} }} }}
layer {{ name: "c" type: "Convolution" bottom: "{top}" top: "c"
  convolution_param {{ num_output: 16 kernel_size: 1 weight_filler {{ type: "msra" }} }} }}
"""


@pytest.mark.parametrize("top", ["r", "s"])
@pytest.mark.parametrize("window", ["global_pooling: true", "kernel_size: 3"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("channels", [8, 16, 24, 40])
def test_bias_by_channel(device: Device, channels: int, batch: int, window: str, top: str) -> None:
    if not device.native_bf16:
        pytest.skip("this CPU has no bf16")
    text = parse_text(NET.format(batch=batch, window=window, channels=channels, top=top), pb.NetParameter())
    for phase in (dragon.TEST, dragon.TRAIN):
        ours, theirs = (
            dragon.Net(text, phase=phase, engine=engine, seed=3, options=Options(precision=precision))
            for engine, precision in (("onednn", "bf16"), ("numpy", "fp32"))
        )
        rng = np.random.default_rng(0)
        for other in (np.exp, np.sin, np.tanh, np.sort, np.cumsum):
            images = rng.standard_normal((batch, 16, 5, 5))
            for net in (ours, theirs):
                net.blobs["x"].data[...] = images
                other(np.linspace(0, 1, 1000, dtype=np.float32))
                net.forward()
            found, wanted = (net.blobs[top].peek() for net in (ours, theirs))
            np.testing.assert_allclose(found, wanted, atol=0.03 * np.abs(wanted).max())
