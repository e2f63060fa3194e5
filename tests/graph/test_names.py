"""Layers of one name, and without: files, streams, states and test nets tell them apart, or one error says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.binary import iter_layers
from dragon.proto.layer_names import name_layers
from dragon.proto.text import parse_text

IP = 'inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 1 } }'
UNNAMED = f"""
layer {{ type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 3 }} }} }}
layer {{ type: "Input" top: "t" input_param {{ shape {{ dim: 2 dim: 3 }} }} include {{ phase: TRAIN }} }}
layer {{ type: "InnerProduct" bottom: "x" top: "a" {IP} }}
layer {{ type: "Dropout" bottom: "a" top: "b" include {{ phase: TRAIN }} }}
layer {{ type: "ReLU" bottom: "a" top: "b" include {{ phase: TEST }} }}
layer {{ type: "InnerProduct" bottom: "b" top: "c" {IP} }}
layer {{ type: "EuclideanLoss" bottom: "c" bottom: "t" include {{ phase: TRAIN }} }}
"""


def net(text: str, phase: int = dragon.TRAIN) -> dragon.Net:
    return dragon.Net(parse_text(text, pb.NetParameter()), phase, seed=1)


def test_unnamed_layers_have_weights_of_their_own(tmp_path: Path) -> None:
    train = net(UNNAMED)
    assert list(train.params) == ["(InnerProduct 1)", "(InnerProduct 2)"]
    first, second = (blobs[0].data for blobs in train.params.values())
    assert not np.array_equal(first, second)  # each has a random stream of its own
    test = net(UNNAMED, dragon.TEST)
    test.share_with(train)
    train.params["(InnerProduct 2)"][0].data[...] = 7
    assert (test.params["(InnerProduct 2)"][0].data == 7).all()
    for ending in ("caffemodel", "h5"):
        train.save(tmp_path / f"w.{ending}")
        other = net(UNNAMED, dragon.TEST)
        other.copy_from(tmp_path / f"w.{ending}")
        for name, blobs in train.params.items():
            assert np.array_equal(blobs[0].data, other.params[name][0].data)


def test_a_weights_file_of_unnamed_layers(tmp_path: Path) -> None:
    """As BVLC Caffe would write it: without names."""
    train = net(UNNAMED)
    train.save(tmp_path / "w.caffemodel")
    message = pb.NetParameter.FromString((tmp_path / "w.caffemodel").read_bytes())
    for layer in message.layer:
        layer.ClearField("name")
    (tmp_path / "w.caffemodel").write_bytes(message.SerializeToString())
    assert [layer.name for layer in iter_layers(tmp_path / "w.caffemodel") if layer.blobs] == list(train.params)
    other = net(UNNAMED.replace("std: 1", "std: 2"), dragon.TEST)
    other.copy_from(tmp_path / "w.caffemodel")
    for name, blobs in train.params.items():
        assert np.array_equal(blobs[0].data, other.params[name][0].data)


def test_only_unnamed_layers_get_names() -> None:
    message = parse_text(
        'layer { name: "a" type: "ReLU" } layer { type: "ReLU" } layer { type: "TanH" }', pb.NetParameter()
    )
    assert [layer.name for layer in name_layers(message).layer] == ["a", "(ReLU 1)", "(TanH 1)"]
    assert [layer.name for layer in message.layer] == ["a", "", ""]
    whole = name_layers(message)
    assert name_layers(whole) is whole


def test_two_layers_with_parameters_and_one_name(tmp_path: Path) -> None:
    path = tmp_path / "n.prototxt"
    text = UNNAMED.replace('type: "InnerProduct"', 'name: "ip" type: "InnerProduct"')
    path.write_text(text)
    with pytest.raises(PrototxtError) as caught:
        dragon.Net(path, dragon.TEST)
    assert str(caught.value) == (
        f'{path}:7: layer "ip" (InnerProduct): another layer with parameters has this name ({path}:4); '
        "weights are found by name, so each needs its own"
    )


def test_layers_of_one_name_without_parameters_draw_apart() -> None:
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 50 } } }
    layer { name: "drop" type: "Dropout" bottom: "x" top: "a" }
    layer { name: "drop" type: "Dropout" bottom: "x" top: "b" }
    """
    made = net(text)
    made.blobs["x"].data[...] = 1
    out = made.forward()
    assert not np.array_equal(out["a"], out["b"])
    assert [node.layer.identity for node in made.nodes if node.name == "drop"] == ["drop", "drop (2)"]


def test_a_phase_pair_of_one_name_is_no_clash() -> None:
    text = f"""
    layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 3 }} }} }}
    layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "a" {IP} include {{ phase: TRAIN }} }}
    layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "a" {IP} include {{ phase: TEST }} }}
    """
    assert list(net(text).params) == list(net(text, dragon.TEST).params) == ["ip"]


def test_losses_of_one_name_without_tops() -> None:
    loss = 'layer { name: "z" type: "EuclideanLoss" bottom: "a" bottom: "t" }\n'
    text = UNNAMED[: UNNAMED.index('layer { type: "Dropout')] + loss + loss
    assert net(text).outputs == ["(automatic) z", "(automatic) z (2)"]
