"""Nodes: what a net knows about each of its layers, and the views that scripts see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dragon

NET = """name: "two"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 2 } }
layer { name: "relu" type: "ReLU" bottom: "fc" top: "fc" }
layer { name: "sum" type: "Reduction" bottom: "fc" loss_weight: 2 top: "sum" }
layer { name: "power" type: "Power" bottom: "fc" top: "power" }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    return path


def test_a_node_knows_its_layer_blobs_names_and_place(path: Path) -> None:
    net = dragon.Net(path, dragon.TRAIN, engine="numpy")
    assert [node.index for node in net.nodes] == list(range(6))
    fc, split, sums = net.nodes[1], net.nodes[3], net.nodes[4]
    assert (fc.name, fc.definition.type, fc.layer.type) == ("fc", "InnerProduct", "InnerProduct")
    assert (fc.bottom_names, fc.top_names, sums.top_names) == (["data"], ["fc"], ["sum"])
    assert fc.bottoms == [net.blobs["data"]]
    assert fc.tops == [net.blobs["fc"]]
    assert [str(node.position) for node in (fc, sums)] == [f"{path}:3", f"{path}:5"]
    assert (split.layer.type, split.position) == ("Split", None)
    assert (fc.need_backward, fc.propagate_down, sums.propagate_down) == (True, [False], [True])
    assert (sums.loss_weights, sums.makes_loss, fc.makes_loss) == ([2.0], True, False)


def test_pycaffe_sees_the_nodes(path: Path) -> None:
    net = dragon.Net(path, dragon.TRAIN, engine="numpy")
    assert net.layers == [node.layer for node in net.nodes]
    assert net.layer_names == list(net._layer_names) == [node.name for node in net.nodes]
    assert net.bottoms == [node.bottoms for node in net.nodes]
    assert net.tops == [node.tops for node in net.nodes]
    assert net.bottom_need_backward == [node.propagate_down for node in net.nodes]
    assert net.layer_need_backward == [node.need_backward for node in net.nodes]
    assert list(net.bottom_names.values()) == [node.bottom_names for node in net.nodes]
    assert list(net.top_names.values()) == [node.top_names for node in net.nodes]
    assert net.layers is net.layers  # made once: loops index it


def test_a_loss_weight_is_filled_in_again_only_for_another_shape(path: Path) -> None:
    net = dragon.Net(path, dragon.TRAIN, engine="numpy")
    node = net.nodes[4]
    assert node.tops[0].diff == 2
    node.tops[0].diff[...] = 7  # a script's
    node.fill_loss_weights()
    assert node.tops[0].diff == 7
    node.tops[0].reshape(3)
    node.fill_loss_weights()
    assert np.array_equal(node.tops[0].diff, [2, 2, 2])


SAME = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "a" type: "%s" bottom: "%s" top: "a" %s }
layer { name: "a" type: "%s" bottom: "a" top: "b" }
layer { name: "c" type: "TanH" bottom: "a" top: "c" }
"""
RULES = "include { } exclude { }"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (("ReLu", "data", "", "ReLU"), '2: layer "a": unknown layer type "ReLu"'),
        (("ReLU", "data", "", "ReLu"), '3: layer "a": unknown layer type "ReLu"'),
        (("ReLU", "dta", "", "ReLU"), r'2: layer "a" \(ReLU\): unknown bottom "dta"'),
        (("ReLU", "data", RULES, "ReLU"), r'2: layer "a" \(ReLU\): give include rules'),
        (("Pooling", "data", "pooling_param { kernel_size: 3 }", "ReLU"), r'2: layer "a" \(Pooling\): needs a bottom'),
    ],
)
def test_two_layers_of_one_name_have_their_own_lines(
    layers: tuple[str, str, str, str], message: str, path: Path
) -> None:
    path.write_text(SAME % layers)
    with pytest.raises(dragon.DragonError, match=f"net.prototxt:{message}"):
        dragon.Net(path, dragon.TEST, engine="numpy")


def test_a_layer_of_a_name_used_twice_reports_its_own_line_on_reshape(path: Path) -> None:
    relu = '\nlayer { name: "fc" type: "ReLU" bottom: "power" top: "relu2" }'
    path.write_text(NET + relu)
    net = dragon.Net(path, dragon.TEST, engine="numpy")
    net.blobs["data"].reshape(4, 5)
    with pytest.raises(dragon.ShapeError, match=r'net.prototxt:3: layer "fc" \(InnerProduct\)'):
        net.reshape()
