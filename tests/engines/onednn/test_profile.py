"""Times of single layers where values decide on the shapes of tops, as those of Filter and DetectionOutput."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from tests.engines.onednn.comparing import make_net
from tests.layers.catalogue import CASES

pytestmark = pytest.mark.usefixtures("device")
ENGINES = pytest.mark.parametrize("engine", ["numpy", "onednn"])
X = np.random.default_rng(3).normal(size=(5, 2, 3, 3)).astype(np.float32)
FILTERED = """
force_backward: true
layer { name: "in" type: "Input" top: "x" top: "s"
  input_param { shape { dim: 5 dim: 2 dim: 3 dim: 3 } shape { dim: 5 } } }
layer { name: "before" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 3 kernel_size: 2
  weight_filler { type: "xavier" } bias_filler { type: "gaussian" } } }
layer { name: "before_relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "chosen" type: "Filter" bottom: "c" bottom: "s" top: "f" }
layer { name: "after" type: "Convolution" bottom: "f" top: "y" convolution_param { num_output: 2 kernel_size: 2
  weight_filler { type: "xavier" } bias_filler { type: "gaussian" } } }
layer { name: "after_relu" type: "ReLU" bottom: "y" top: "y" }
"""


@ENGINES
@pytest.mark.parametrize("name", [name for name in CASES if name.split()[0] in ("Filter", "DetectionOutput")])
def test_layers_whose_tops_change(name: str, engine: str) -> None:
    case = CASES[name]
    net = make_net(case.text(), engine, dragon.TEST, np.float32)
    for blob, value in case.values().items():
        net.blobs[blob].data[...] = value
    times = net.executor.profile(2, backward=False)
    assert [len(each.forward_runs) for each in times] == [2] * len(net.nodes)


@ENGINES
@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
def test_chosen_items_go_on_to_the_layers_after(phase: int, engine: str) -> None:
    nets = [make_net(FILTERED, each, phase, np.float32) for each in (engine, "numpy")]
    nets[0].share_with(nets[1])
    for chosen in ([1, 0, 0, 1, 1], [0, 1, 0, 0, 0], [1, 0, 0, 1, 1]):
        for net in nets:
            net.blobs["x"].data[...] = X
            net.blobs["s"].data[...] = chosen
            net.blobs["y"].diff[...] = 1
        times = nets[0].executor.profile(1, backward=phase == dragon.TRAIN)
        assert [each.name for each in times] == [node.name for node in nets[0].nodes]
        assert all(len(each.forward_runs) == 1 for each in times if not each.note.startswith("in "))
        nets[1].forward()
        assert nets[0].blobs["y"].shape == (sum(chosen), 2, 1, 1)
        np.testing.assert_allclose(nets[0].blobs["y"].data, nets[1].blobs["y"].data, rtol=1e-4, atol=1e-5)


@ENGINES
def test_backward_after_a_change_of_shapes(engine: str) -> None:
    nets = [make_net(FILTERED, each, dragon.TRAIN, np.float32) for each in (engine, "numpy")]
    nets[0].share_with(nets[1])
    for net in nets:
        net.blobs["x"].data[...] = X
        net.blobs["s"].data[...] = [1, 0, 0, 1, 1]
        net.forward()
        net.blobs["s"].data[...] = [0, 1, 0, 1, 0]
        net.blobs["y"].reshape(2, 2, 1, 1)
        net.blobs["y"].diff[...] = 1
    nets[0].executor.profile(0)  # only the pass before those that count: the one in which shapes change
    nets[1].forward()
    nets[1].backward()
    np.testing.assert_allclose(nets[0].blobs["x"].diff, nets[1].blobs["x"].diff, rtol=1e-4, atol=1e-5)
