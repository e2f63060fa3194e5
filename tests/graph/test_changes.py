from __future__ import annotations

import pytest

from dragon.errors import UsageError
from dragon.graph.changes import NetChanges
from dragon.proto import dragon_pb2 as pb
from dragon.proto.assign import Assignment
from dragon.proto.definition import Definition
from dragon.proto.text import parse_text

NET = """
name: "n"
layer { name: "data" type: "Data" top: "d" data_param { batch_size: 1 } include { phase: TRAIN } }
layer { name: "data" type: "Data" top: "d" data_param { batch_size: 2 } include { phase: TEST } }
layer { name: "a" type: "Convolution" bottom: "d" top: "a" convolution_param { num_output: 1 } }
layer { name: "a.b" type: "Convolution" bottom: "a" top: "b" convolution_param { num_output: 2 } }
layer { name: "inc/1x1=x" type: "ConvolutionDepthwise" bottom: "b" top: "c" convolution_param { num_output: 3 } }
layer { name: "pool" type: "Pooling" bottom: "c" top: "p" }
"""


def changed(*texts: str) -> pb.NetParameter:
    changes = NetChanges(map(Assignment.parse, texts))
    before = parse_text(NET, pb.NetParameter())
    found = changes.apply(Definition(before, "f", (1, 2))).message
    changes.check()
    assert before == parse_text(NET, pb.NetParameter())
    return found


def outputs(net: pb.NetParameter) -> list[int]:
    return [layer.convolution_param.num_output for layer in net.layer[2:5]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.convolution_param.num_output=9", [9, 2, 3]),
        ("a.num_output=9", [9, 2, 3]),
        ("net.a.num_output=9", [9, 2, 3]),
        ("a.b.num_output=9", [1, 9, 3]),
        ('"a.b".num_output=9', [1, 9, 3]),
        ("'inc/1x1=x'.num_output=9", [1, 2, 9]),
        ("Convolution.num_output=9", [9, 9, 3]),
        ("DepthwiseConvolution.num_output=9", [1, 2, 9]),
        ("layer[2].convolution_param.num_output=9", [9, 2, 3]),
    ],
)
def test_layers_by_name_and_type(text: str, expected: list[int]) -> None:
    assert outputs(changed(text)) == expected


def test_several_layers_of_a_name() -> None:
    def sizes(text: str) -> list[int]:
        return [layer.data_param.batch_size for layer in changed(text).layer[:2]]

    assert sizes("data.batch_size=7") == [7, 7]
    assert sizes("data[0].batch_size=7") == [7, 2]
    assert sizes("data[1].data_param.batch_size=7") == [1, 7]


def test_fields_of_the_net_and_several_assignments() -> None:
    net = changed("name=m", "net.force_backward=true", "pool.pool=AVE", "pool.pool=MAX", "a.num_output=8")
    assert (net.name, net.force_backward, net.layer[5].pooling_param.pool) == ("m", True, pb.PoolingParameter.MAX)
    assert outputs(net) == [8, 2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("poll.pool=AVE", 'no layer has the name or type "poll" (did you mean "pool"?)'),
        ("nmae=x", 'no layer has the name or type "nmae" (did you mean "name"?)'),
        ('"name".pool=AVE', 'no layer has the name or type "name"'),
        ("pool=AVE", '"pool" is a layer: say which of its fields, as in pool.FIELD=VALUE'),
        ("data[2].batch_size=7", "the net has no layer data[2]"),
        ("pool.kernel_sise=3", 'PoolingParameter has no field "kernel_sise" (did you mean "kernel_size"?)'),
        (
            "pool.convolution_param.num_output=3",
            'layer "pool" (Pooling) does not read this: the type reads pooling_param',
        ),
        ("Pooling.data_param.batch_size=3", 'layer "pool" (Pooling) does not read this'),
        ("pool.botom=c", 'LayerParameter has no field "botom" (did you mean "bottom"?)'),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        changed(text)
    assert message in str(raised.value)


def test_the_place_of_the_net_is_kept() -> None:
    definition = Definition(parse_text(NET, pb.NetParameter()), "f", (1, 2))
    found = NetChanges([Assignment.parse("name=m")]).apply(definition)
    assert (found.file, found.lines) == ("f", (1, 2))
    assert NetChanges([]).apply(definition) is definition


def test_an_assignment_may_fit_one_net_of_several() -> None:
    changes = NetChanges([Assignment.parse("pool.pool=AVE")])
    changes.apply(Definition(parse_text('layer { name: "x" type: "ReLU" }', pb.NetParameter())))
    changes.apply(Definition(parse_text(NET, pb.NetParameter())))
    changes.check()
