"""TEST normalisations in bf16, which take rows as images: values are the reference's, NaN in the same places."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from dragon.engines import Options
from dragon.engines.onednn.executor import OneDNNExecutor
from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.primitive import Call
from dragon.engines.onednn.plan.settled import SettledProgram
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

IMAGES = (2, 32, 6, 30)
NET = """
layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 32 dim: 6 dim: 30 }} }} }}
layer {{ name: "first" type: "Convolution" bottom: "x" top: "c"
  convolution_param {{ num_output: 32 kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }} }} }}
layer {{ name: "pool" type: "Pooling" bottom: "c" top: "p" pooling_param {{ pool: AVE kernel_size: 3 pad: 1 }} }}
layer {{ name: "norm" type: "BatchNorm" bottom: "p" top: "{norm}" }}
layer {{ name: "scale" type: "Scale" bottom: "{norm}" top: "{norm}" scale_param {{ bias_term: true }} }}
layer {{ name: "relu" type: "ReLU" bottom: "{norm}" top: "{norm}" }}
layer {{ name: "last" type: "Convolution" bottom: "{norm}" top: "y"
  convolution_param {{ num_output: 16 kernel_size: 1 weight_filler {{ type: "msra" }} }} }}
layer {{ name: "both" type: "Eltwise" bottom: "c" bottom: "c" top: "z" }}
"""


@pytest.mark.parametrize("norm", ["n", "p"])
def test_values_and_nan(device: Device, norm: str) -> None:
    if not device.native_bf16:
        pytest.skip("this CPU has no bf16")
    rng = np.random.default_rng(4)
    ours, theirs = (
        dragon.Net(
            parse_text(NET.format(norm=norm), pb.NetParameter()),
            phase=dragon.TEST,
            engine=engine,
            seed=3,
            options=Options(precision=precision),
        )
        for engine, precision in (("onednn", "bf16"), ("numpy", "fp32"))
    )
    for name in ("norm", "scale"):
        for k, blob in enumerate(ours.params[name]):
            values = np.ones(blob.shape) if blob.count == 1 else rng.uniform(0.5, 1.5, blob.shape)
            for net in (ours, theirs):
                net.params[name][k].data[...] = values
    for value in (1.0, np.nan, np.inf, 1.0):
        images = rng.standard_normal(IMAGES)
        images[1, 3, 2, 7] = value
        for net in (ours, theirs):
            net.blobs["x"].data[...] = images
            with np.errstate(all="ignore"):
                net.forward()
        for top in ("z", norm, "y"):
            found, wanted = ours.blobs[top].peek(), theirs.blobs[top].peek()
            np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
            finite = np.isfinite(wanted)
            np.testing.assert_allclose(found[finite], wanted[finite], atol=0.05 * np.abs(wanted[finite]).max())
    assert isinstance(ours.executor, OneDNNExecutor)
    (program,) = ours.executor.plans.plan(True)._settled.values()
    assert isinstance(program, SettledProgram)
    shapes = [step.memories[Arg.SRC].desc.dims for step in program._steps if isinstance(step, Call)]
    assert (12, 32, 1, 30) in shapes
