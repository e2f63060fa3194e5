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


def _parsed(text: str) -> pb.NetParameter:

    return parse_text(text, pb.NetParameter())
