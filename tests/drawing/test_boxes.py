"""Which layers share a box, what a box says, and which arrows there are."""

from __future__ import annotations

import pytest

from dragon.drawing import Picture, diagram, facts_of
from dragon.drawing.picture import lines_of
from dragon.proto import dragon_pb2 as pb
from tests.drawing.nets import NET, net_of, zoo, zoo_diagram


def names(net: pb.NetParameter, grouped: bool = True) -> list[list[str]]:
    return [[part.name for part in box.parts] for box in diagram(net, grouped=grouped).boxes]


def test_a_convolution_with_what_follows_it_is_one_box() -> None:
    assert names(net_of()) == [["data"], ["c", "bn", "s", "r"], ["p"], ["sum", "r2"]]
    assert [len(group) for group in names(net_of(), grouped=False)] == [1] * 8


def test_a_value_that_others_read_too_ends_a_box() -> None:
    text = NET.replace('bottom: "bn" top: "bn" scale_param', 'bottom: "bn" top: "s" scale_param')
    assert names(net_of(text))[1] == ["c", "bn"], "p and sum read bn as well"


def test_a_layer_of_one_phase_has_its_own_box_and_says_so() -> None:
    made = diagram(
        net_of(NET.replace('top: "bn" }\nlayer { name: "p"', 'top: "bn" include { phase: TRAIN } }\nlayer { name: "p"'))
    )
    found = next(box for box in made.boxes if box.name == "r")
    assert "TRAIN" in "".join(lines_of(found, False))


def test_arrows_follow_values_of_each_phase() -> None:
    made = zoo_diagram("lenet")
    seen = {(made.boxes[a].name, made.boxes[b].name, blob) for a, b, blob in made.arrows}
    assert ("mnist", "conv1", "data") in seen
    assert ("ip1", "ip2", "ip1") in seen, "through the ReLU in place"
    assert ("mnist", "accuracy", "label") in seen
    sources = [k for k, box in enumerate(made.boxes) if box.name == "mnist"]
    assert [len([a for a in made.arrows if a[0] == k and a[2] == "data"]) for k in sources] == [1, 1]


def test_a_box_tells_settings_shape_and_parameters() -> None:
    net = net_of()
    facts, remark = facts_of(net, pb.TEST)
    assert remark == ""
    box = diagram(net, {pb.TEST: facts}).boxes[1]
    closed = lines_of(box, False)
    assert closed == [
        "*c",
        "Convolution + BatchNorm + Scale + ReLU",
        "3x5, stride 2, pad 1, dilation 2, 4 outputs",
        "2×4×4×2 · 188 parameters",  # 4 * 3 * 3 * 5 weights, a scale and a shift for each of 4
    ]
    opened = lines_of(box, True)
    assert [line for line in opened if line.startswith("*")] == ["*c", "*bn", "*s", "*r"]
    assert "2×4×4×2 · 8 parameters" in opened
    assert lines_of(diagram(net).boxes[2], False) == ["*p", "Pooling · AVE, 2x2"]
    assert lines_of(diagram(net).boxes[3], False) == ["*sum", "Eltwise + ReLU", "SUM"]


def test_multipliers_of_the_learning_rate() -> None:
    assert "lr 3" in diagram(net_of(), rates=True).boxes[1].parts[0].settings
    assert "lr" not in diagram(net_of()).boxes[1].parts[0].settings


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "googlenet", "mobilenet_v2"])
def test_every_layer_is_in_one_box(name: str) -> None:
    net = zoo(name)
    drawn = [part.name for box in diagram(net).boxes for part in box.parts]
    assert sorted(drawn) == sorted(layer.name for layer in net.layer)


def test_the_text_fits_its_box() -> None:
    picture = Picture(zoo_diagram("inception_resnet_v2"))
    for k, box in enumerate(picture.diagram.boxes):
        for opened in (False, True):
            longest = max(len(line.lstrip("*")) for line in lines_of(box, opened))
            assert 7.3 * longest < picture.widths[k] - 2 * 9
