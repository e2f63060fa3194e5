"""A layer in place on a top that the layer below reads in backward is a warning; layers say what they read."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dragon
from dragon.errors import DragonError, UsageError
from dragon.graph.overwriting import check_values_last
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.engines.onednn.comparing import fill, make_net
from tests.layers.catalogue import CASES

NET = """
layer {{ name: "x" type: "Input" top: "x" top: "t" input_param {{ shape {{ dim: 4 dim: 6 }} }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "a"
  inner_product_param {{ num_output: 6 weight_filler {{ type: "xavier" }} }} }}
{middle}
layer {{ name: "loss" type: "EuclideanLoss" bottom: "{last}" bottom: "t" top: "loss" }}
"""


def layer(kind: str, bottom: str, top: str, settings: str = "") -> str:
    return f'layer {{ name: "{kind}" type: "{kind}" bottom: "{bottom}" top: "{top}" {settings} }}\n'


def warnings(middle: str, last: str, caplog: pytest.LogCaptureFixture, phase: int = dragon.TRAIN) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "dragon"):
        dragon.Net(parse_text(NET.format(middle=middle, last=last), pb.NetParameter()), phase, seed=1).close()
    return [message for message in caplog.messages if "overwrites in place" in message]


LEAKY = "relu_param { negative_slope: -0.1 }"
SIX = "relu_param { relu6: true }"


@pytest.mark.parametrize(
    ("middle", "last", "warned"),
    [
        (layer("Sigmoid", "a", "b") + layer("Dropout", "b", "b"), "b", True),
        (layer("TanH", "a", "a") + layer("Scale", "a", "a"), "a", True),
        (layer("Softmax", "a", "b") + layer("Power", "b", "b"), "b", True),
        (layer("ReLU", "a", "a") + layer("BN", "a", "a"), "a", True),
        (layer("ReLU", "a", "a", SIX) + layer("Dropout", "a", "a"), "a", True),
        (layer("ReLU", "a", "a") + layer("Dropout", "a", "a"), "a", False),
        (layer("ReLU", "a", "b") + layer("BN", "b", "b"), "b", False),  # it reads its bottom
        (layer("ReLU", "a", "a", LEAKY) + layer("BN", "a", "a"), "a", False),  # it saves its input
        (layer("BN", "a", "a") + layer("ReLU", "a", "a"), "a", False),
        (layer("Sigmoid", "a", "b") + layer("Dropout", "b", "c"), "c", False),
    ],
)
def test_a_layer_in_place_on_what_is_still_read(
    middle: str, last: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(warnings(middle, last, caplog)) == warned


def test_gradients_of_a_net_that_goes_forward_alone_are_no_matter(caplog: pytest.LogCaptureFixture) -> None:
    middle = layer("ReLU", "a", "a") + layer("BN", "a", "a")
    only_test = layer("ReLU", "a", "a", "include { phase: TEST }") + layer("BN", "a", "a")
    assert warnings(middle, "a", caplog, dragon.TEST) == []
    assert len(warnings("force_backward: true " + middle, "a", caplog, dragon.TEST)) == 1
    assert warnings(only_test, "a", caplog, dragon.TRAIN) + warnings(only_test, "a", caplog, dragon.TEST) == []


def test_the_warning_names_both(caplog: pytest.LogCaptureFixture) -> None:
    middle = layer("Sigmoid", "a", "b") + layer("Dropout", "b", "b")
    assert warnings(middle, "b", caplog) == [
        'layer "Sigmoid" (Sigmoid): its backward reads its top, which layer "Dropout" (Dropout) overwrites in place: '
        "the gradient is wrong, as in Caffe; give the second a top of its own"
    ]


def reading(name: str) -> tuple[dragon.Layer, bool] | None:
    """The last layer of a case, and whether its gradients change with the values of its tops; None if it has none."""
    net = make_net(CASES[name].text(), "numpy", dragon.TRAIN, np.float64)
    node = net.nodes[-1]
    shared = any(top is bottom for top in node.tops for bottom in node.bottoms)
    if shared or not any(node.propagate_down) or node.layer.is_loss or node.layer.passes_memory:
        return None
    fill((net,), 1)
    net.run_forward()
    for top in node.tops:
        top.diff[...] = np.random.default_rng(0).standard_normal(top.shape)

    def gradients() -> list[NDArray[Any]]:
        node.layer.backward(node.tops, node.propagate_down, node.bottoms)
        return [b.diff.copy() for b, wanted in zip(node.bottoms, node.propagate_down, strict=True) if wanted]

    before = gradients()
    for top in node.tops:
        top.data[...] = top.data * 2 + 1
    return node.layer, not all(map(np.array_equal, before, gradients(), [True] * len(before)))


@pytest.mark.parametrize("name", CASES)
def test_layers_say_whether_they_read_their_top(name: str) -> None:
    with np.errstate(all="ignore"):
        try:
            found = reading(name)
        except DragonError:  # labels and regions that the values do not suit
            return
    if found is not None:
        assert found[0].reads_top == found[1], f"reads_top of {found[0].type} must be {found[1]}"


SHARED = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 6 } } }
layer { name: "power" type: "Power" bottom: "x" top: "p" power_param { scale: 2 } }
layer { name: "split" type: "Split" bottom: "p" top: "a" top: "b" }
layer { name: "sigmoid" type: "Sigmoid" bottom: "b" top: "TOP" }
layer { name: "abs" type: "AbsVal" bottom: "TOP" top: "last" }
"""


def test_a_layer_in_place_that_changes_another_blob() -> None:
    """`a` is an output, and what the Sigmoid makes of it: a program whose values do not change gives another."""
    with dragon.Net(parse_text(SHARED.replace("TOP", "b"), pb.NetParameter()), dragon.TEST, engine="numpy") as net:
        net.blobs["x"].data[...] = 1
        assert net.forward()["a"].max() < 1
        with pytest.raises(UsageError, match=r'layer "sigmoid" .*: changes blob "a" too, .* give its top another name'):
            check_values_last(net.nodes, net.outputs)
    with dragon.Net(parse_text(SHARED.replace("TOP", "c"), pb.NetParameter()), dragon.TEST, engine="numpy") as net:
        check_values_last(net.nodes, net.outputs)


def test_memory_that_nobody_needs_may_be_changed_in_place() -> None:
    view = SHARED.replace('"Split" bottom: "p" top: "a" top: "b"', '"Flatten" bottom: "p" top: "b"')
    with dragon.Net(parse_text(view.replace("TOP", "b"), pb.NetParameter()), dragon.TEST, engine="numpy") as net:
        check_values_last(net.nodes, net.outputs)


def test_a_layer_in_place_that_changes_a_learned_blob() -> None:
    """Each run would apply it to the top of the run before, which is the parameter itself."""
    text = """
    layer { name: "learned" type: "Parameter" top: "p" parameter_param { shape { dim: 3 } } }
    layer { name: "flat" type: "Flatten" bottom: "p" top: "f" flatten_param { axis: 0 } }
    layer { name: "exp" type: "Exp" bottom: "f" top: "TOP" }
    """
    changed, kept = (
        dragon.Net(parse_text(text.replace("TOP", top), pb.NetParameter()), dragon.TEST, engine="numpy") for top in "fg"
    )
    with pytest.raises(UsageError, match=r'layer "exp" .*: changes what layer "learned" has learned'):
        check_values_last(changed.nodes, changed.outputs)
    check_values_last(kept.nodes, kept.outputs)
