"""Backward of a net whose forward has not run, and the diffs of parameters that nothing learns."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.engines.backward_first import BY_TOP, LEARNING, backward_agrees, frozen_text
from tests.engines.onednn.comparing import make_net
from tests.layers.catalogue import CASES

pytestmark = pytest.mark.usefixtures("device")
ENGINES = pytest.mark.parametrize("engine", ["numpy", "onednn"])


def _make(text: str, engine: str) -> dragon.Net:
    return make_net(text, engine, dragon.TRAIN, np.float64 if engine == "numpy" else np.float32)


@pytest.mark.parametrize("name", [name for name in CASES if name not in BY_TOP])
def test_backward_without_forward(name: str) -> None:
    backward_agrees(name, _make, "onednn", 2e-4)


@pytest.mark.parametrize("name", ["Filter 0", "DetectionOutput 0", "DetectionOutput 1"])
def test_backward_without_forward_in_test(name: str) -> None:
    """Layers whose tops' sizes depend on values, in a net for TEST."""
    backward_agrees(name, lambda text, engine: make_net(text, engine, dragon.TEST, np.float32), "onednn", 2e-4)


@ENGINES
@pytest.mark.parametrize("name", LEARNING)
def test_frozen_parameters_have_no_gradient(name: str, engine: str) -> None:
    case = CASES[name]
    plain = _make(case.text(), "numpy")
    layer = plain.nodes[-1].layer
    if not layer.blobs or len(layer.blobs) == len(layer.buffers) or case.inputs[:1] == ("labels",):
        pytest.skip("nothing to freeze, or no gradient through it")
    net = _make(frozen_text(case, len(layer.blobs)), engine)
    for blob, value in case.values().items():
        net.blobs[blob].data[...] = value
    net.run_forward()
    net.run_backward()
    frozen = net.nodes[net.layer_index("one")].layer
    assert not any(blob.peek_diff().any() for i, blob in enumerate(frozen.blobs) if i not in frozen.buffers)


@ENGINES
def test_a_script_that_only_runs_backward(engine: str) -> None:
    text = """
    force_backward: true
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 4 } }
    """
    net = dragon.Net(_parsed(text), dragon.TRAIN, engine=engine)
    net.params["ip"][0].data[...] = np.arange(12).reshape(4, 3)
    net.blobs["ip"].diff[...] = 1
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, [[18, 22, 26]] * 2)
    net.blobs["x"].data[...] = 1
    net.forward()
    assert net.blobs["ip"].data[0].tolist() == [3, 12, 21, 30]


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
@ENGINES
def test_backward_behind_a_reshape(engine: str, phase: int) -> None:
    """Forward ran for another batch: what it kept has other shapes than the gradients that are asked for."""
    text = """
    force_backward: true
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 6 } } }
    layer { name: "c" type: "Convolution" bottom: "x" top: "c"
      convolution_param { num_output: 3 kernel_size: 3 pad: 1 } }
    layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
    layer { name: "e" type: "Eltwise" bottom: "c" bottom: "x" top: "e" }
    layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { kernel_size: 2 stride: 2 } }
    layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 4 } }
    """
    net = dragon.Net(_parsed(text), phase, engine=engine)
    weights = net.params["ip"][0].data
    weights[...] = np.arange(weights.size).reshape(weights.shape)
    net.forward()
    net.blobs["x"].reshape(3, 3, 6, 6)
    net.reshape()
    for name in net.outputs:
        net.blobs[name].diff[...] = name == "ip"
    with np.errstate(all="ignore"):  # tops hold anything
        net.backward()
    expected = np.broadcast_to(weights.sum(axis=0), (3, 108)).reshape(3, 3, 6, 6)  # whatever the tops hold
    np.testing.assert_array_equal(net.blobs["x"].diff, expected)
    net.blobs["x"].data[...] = 1
    assert net.forward()["ip"][2].tolist() == weights.sum(axis=1).tolist()
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, expected)


def _parsed(text: str) -> pb.NetParameter:

    return parse_text(text, pb.NetParameter())
