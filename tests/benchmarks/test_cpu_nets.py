"""The nets of the CPU benchmarks: real shapes without data layers, and their descriptions for a peer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks._harness import BenchmarkError
from benchmarks.cpu_compare import NETS
from benchmarks.cpu_nets import describe, export_arrays, inputs, multiply_adds, net_for
from dragon.bases.layer import TEST, TRAIN
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb


@pytest.mark.parametrize("name", NETS)
def test_every_net_can_be_described(name: str) -> None:
    for phase, last in ((TRAIN, "SoftmaxWithLoss"), (TEST, "Softmax")):
        layers = describe(net_for(name, 2, phase))
        assert layers[-1]["type"] == last
        assert {"data"} <= {bottom for layer in layers for bottom in layer["bottom"]}


def test_description_has_the_geometry_and_multipliers() -> None:
    layers = {layer["name"]: layer for layer in describe(net_for("cifar10_full", 2, TRAIN))}
    conv = layers["conv1"]
    assert (conv["out"], conv["kernel"], conv["stride"], conv["pad"], conv["group"]) == (32, 5, 1, 2, 1)
    assert (conv["bias"], conv["lr"], conv["decay"]) == (True, [1, 2], [1, 1])
    assert layers["ip1"]["decay"] == [250, 0]
    assert (layers["pool2"]["method"], layers["pool2"]["kernel"], layers["pool2"]["stride"]) == ("AVE", 3, 2)
    assert (layers["norm1"]["within"], layers["norm1"]["size"]) == (True, 3)


def test_layer_that_the_peer_lacks_is_named() -> None:
    net = pb.NetParameter()
    net.layer.add(name="odd", type="Crop", bottom=["a"], top=["b"])
    with pytest.raises(BenchmarkError, match='layer "odd": the peer has no "Crop"'):
        describe(net)


def test_inputs_have_the_spread_of_the_models_images() -> None:
    images, labels = inputs("cifar10_quick", (50, 3, 32, 32))
    scaled, _ = inputs("vgg_a_cifar10", (50, 3, 32, 32))
    assert images.std() == pytest.approx(60, rel=0.05)
    assert scaled.std() == pytest.approx(60 / 128, rel=0.05)
    assert set(labels) <= set(range(10))


def test_export_holds_weights_and_statistics(tmp_path: Path) -> None:
    net = Net(net_for("cifar10_quick_bn_split", 2, TRAIN), phase=TRAIN, engine="numpy", seed=1)
    net.run_forward()
    export_arrays(net, tmp_path / "arrays.npz")
    with np.load(tmp_path / "arrays.npz") as stored:
        assert stored["data"].shape == (2, 3, 32, 32)
        np.testing.assert_array_equal(stored["conv1/0"], net.params["conv1"][0].data)
        mean, _, factor = (blob.data for blob in net.params["bn1"])
        np.testing.assert_allclose(stored["bn1/mean"], mean / factor)
        assert "bn1/0" not in stored


def test_multiply_adds() -> None:
    net = Net(net_for("lenet", 3, TRAIN), phase=TRAIN, engine="numpy", seed=1)
    assert multiply_adds(net) == {
        "conv1": 3 * 24 * 24 * 20 * 25,
        "conv2": 3 * 8 * 8 * 50 * 20 * 25,
        "ip1": 3 * 800 * 500,
        "ip2": 3 * 500 * 10,
    }


def test_multiply_adds_leave_padding_out() -> None:
    """3 x 3 with padding 1 over 32: the first and the last of 32 windows lose one row; with stride 2 only the first."""
    net = Net(net_for("resnet20_cifar10", 1, TRAIN), phase=TRAIN, engine="numpy", seed=1)
    counts = multiply_adds(net)
    assert counts["conv1"] == 16 * 3 * (3 * 32 - 2) ** 2
    assert counts["s2b1_conv1"] == 32 * 16 * (3 * 16 - 1) ** 2
    assert counts["s2b1_proj"] == 32 * 16 * 16**2
