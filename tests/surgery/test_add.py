"""Layers added behind or in front of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.models import generate
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text, read_net
from dragon.surgery.model import Model
from dragon.surgery.operations import apply

NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "relu" type: "ReLU" bottom: "x" top: "x" }
layer { name: "a" type: "Power" bottom: "x" top: "a" power_param { scale: 2 } }
layer { name: "b" type: "Power" bottom: "x" top: "b" power_param { scale: 3 } }
"""
PLUS_ONE = {"type": "Power", "power_param": {"shift": 1}}


def changed(**arguments: Any) -> pb.NetParameter:
    return apply(Model(parse_text(NET, pb.NetParameter())), "add", arguments).net


def outputs(net: pb.NetParameter) -> dict[str, list[float]]:
    made = Net(net, phase=TEST, engine="numpy", seed=1)
    x = np.array([[-1, 2, 3], [0, 0, 0]], np.float32)
    return {name: [float(v) for v in value[0]] for name, value in made.forward(x=x).items()}


def test_behind_a_layer_all_readers_see_it() -> None:
    assert outputs(changed(after="relu", layer=PLUS_ONE)) == {"a": [2, 6, 8], "b": [3, 9, 12]}


def test_before_a_layer_that_one_alone_sees_it() -> None:
    assert outputs(changed(before="a", layer=PLUS_ONE)) == {"a": [2, 6, 8], "b": [0, 6, 9]}


def test_before_a_layer_in_place() -> None:
    assert outputs(changed(before="relu", layer=PLUS_ONE)) == {"a": [0, 6, 8], "b": [0, 9, 12]}


def test_behind_several() -> None:
    new = changed(after=["a", "b"], layer=PLUS_ONE)
    assert [layer.name for layer in new.layer] == ["in", "relu", "a", "power_a", "b", "power_b"]
    assert outputs(new) == {"power_a": [1, 5, 7], "power_b": [1, 7, 10]}


def test_layers_of_one_name_get_layers_of_one_name() -> None:
    text = NET.replace('name: "b"', 'name: "a" include { phase: TRAIN }').replace(
        'type: "Power" bottom: "x" top: "a"', 'type: "Power" include { phase: TEST } bottom: "x" top: "a"'
    )
    new = apply(Model(parse_text(text, pb.NetParameter())), "add", {"after": "a", "layer": PLUS_ONE}).net
    assert [layer.name for layer in new.layer].count("power_a") == 2
    assert Net(new, phase=TRAIN, engine="numpy", seed=1).outputs == ["power_a"]
    assert Net(new, phase=TEST, engine="numpy", seed=1).outputs == ["power_a"]


def test_dropout_in_a_net_of_the_zoo() -> None:
    net = read_net(Path(generate.__file__).parent / "lenet" / "deploy.prototxt")
    layer = {"type": "Dropout", "dropout_param": {"dropout_ratio": 0.25}}
    new = apply(Model(net), "add", {"after": "ip1", "layer": layer}).net
    at = [one.name for one in new.layer].index("dropout_ip1")
    assert new.layer[at].dropout_param.dropout_ratio == 0.25
    assert new.layer[at + 1].bottom == ["dropout_ip1"]
    Net(new, phase=TRAIN, engine="numpy", seed=1)


def test_a_name_of_its_own() -> None:
    assert changed(after="a", layer={"name": "more", **PLUS_ONE}).layer[3].name == "more"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": PLUS_ONE}, "add takes either after or before"),
        ({"layer": PLUS_ONE, "after": "a", "before": "b"}, "add takes either after or before"),
        ({"layer": {}, "after": "a"}, '"type" of the layer is missing'),
        ({"layer": {"type": "Powr"}, "after": "a"}, 'there is no layer type "Powr" (did you mean "Power"?)'),
        ({"layer": {"type": "Eltwise"}, "after": "a"}, "Eltwise does not make one top of one bottom"),
        ({"layer": {"type": "Input"}, "after": "a"}, "Input does not make one top of one bottom"),
        ({"layer": {"type": "Power", "power_parm": {}}, "after": "a"}, 'no field "power_parm"'),
        ({"layer": {"type": "Power", "name": "b"}, "after": "a"}, '"b" is the name of another layer or blob'),
        ({"layer": {"type": "Power", "name": "c"}, "after": "a,b"}, '"c" cannot be the name of several'),
        ({"layer": PLUS_ONE, "before": "in"}, 'layer "in" (Input): has no bottom'),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        changed(**arguments)
    assert message in str(caught.value)
