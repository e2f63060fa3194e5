"""Chains of layers: the same in a definition and in the net that is made of it."""

from __future__ import annotations

import pytest

import dragon
from dragon.graph.chains import Graph, Link, defined_layers, phases
from dragon.graph.definition import admits
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

HEAD = 'layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 dim: 6 dim: 6 } } }\n'
CONV = (
    'layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 4 kernel_size: 1 } }\n'
)
BLOCK = (
    CONV
    + """layer { name: "n" type: "BatchNorm" bottom: "c" top: "n" }
layer { name: "s" type: "Scale" bottom: "n" top: "n" }
layer { name: "e" type: "Eltwise" bottom: "x" bottom: "n" top: "e" }
layer { name: "r" type: "ReLU" bottom: "e" top: "e" }
layer { name: "p" type: "Pooling" bottom: "e" top: "p" pooling_param { kernel_size: 2 } }
"""
)
ALL = (Link.WEIGHTED, Link.NORM, Link.SCALE, Link.SUM, Link.RELU)


def names(text: str, first: str, links: tuple[Link, ...], adjacent: bool = False) -> dict[str, str]:
    """The names of the links that are found, after the definition and after the net, which have to agree."""
    definition = parse_text(HEAD + text, pb.NetParameter())
    net = dragon.Net(definition, phase=dragon.TRAIN, engine="numpy")
    found = []
    for graph_layers in (defined_layers(definition, pb.TRAIN), net.nodes):
        layers = {layer.index: layer.definition.name for layer in graph_layers}
        index = next(i for i, name in layers.items() if name == first)
        chain = Graph(graph_layers).chain(index, links, adjacent=adjacent)
        found.append({link.name: layers[i] for link, i in chain.items()})
    assert found[0] == found[1]
    return found[0]


def test_a_whole_block() -> None:
    assert names(BLOCK, "c", ALL) == {"WEIGHTED": "c", "NORM": "n", "SCALE": "s", "SUM": "e", "RELU": "r"}
    assert names(BLOCK, "n", (Link.NORM, Link.SCALE, Link.RELU)) == {"NORM": "n", "SCALE": "s"}
    assert names(BLOCK, "r", (Link.RELU, Link.POOL)) == {"RELU": "r", "POOL": "p"}
    assert names(BLOCK, "p", ALL) == {}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"BatchNorm"', '"BatchRenorm"', "cnser"),
        ('"Convolution"', '"ConvolutionDepthwise"', "cnser"),
        ('type: "Scale" bottom: "n" top: "n"', 'type: "Scale" bottom: "n" top: "n" loss_weight: 1', "cns"),
        ('type: "Convolution"', 'type: "Convolution" loss_weight: 1', "c"),
        ('bottom: "x" bottom: "n"', 'bottom: "n" bottom: "n"', "cns"),
        ('type: "Eltwise"', 'type: "Eltwise" eltwise_param { coeff: 1 coeff: -1 }', "cns"),
        ('type: "Eltwise"', 'type: "Eltwise" eltwise_param { operation: MAX }', "cns"),
        ('type: "ReLU"', 'type: "ReLU" relu_param { relu6: true }', "cnse"),
        ('type: "ReLU"', 'type: "ReLU" relu_param { negative_slope: 0.1 }', "cnser"),
        ('"Pooling" bottom: "e"', '"Pooling" bottom: "n"', "cns"),  # read by two
        ('type: "ReLU"', 'type: "TanH"', "cnse"),
    ],
)
def test_what_ends_a_chain(old: str, new: str, expected: str) -> None:
    assert old in BLOCK
    assert "".join(names(BLOCK.replace(old, new, 1), "c", ALL).values()) == expected


def test_layers_between() -> None:
    """A chain goes past layers that have nothing to do with it, unless it has to be in one piece."""
    between = 'layer { name: "t" type: "TanH" bottom: "x" top: "t" }\n'
    text = CONV + between + 'layer { name: "n" type: "BN" bottom: "c" top: "n" }'
    links = (Link.WEIGHTED, Link.NORM)
    assert names(text, "c", links) == {"WEIGHTED": "c", "NORM": "n"}
    assert names(text, "c", links, adjacent=True) == {"WEIGHTED": "c"}


def test_the_caller_decides() -> None:
    definition = parse_text(HEAD + BLOCK, pb.NetParameter())
    graph = Graph(defined_layers(definition, pb.TRAIN))
    found = graph.chain(1, ALL, lambda link, index: link is not Link.SCALE)
    assert found == {Link.WEIGHTED: 1, Link.NORM: 2}, "a layer that is not accepted ends the chain"
    assert graph.chain(1, ALL, lambda link, index: link is not Link.WEIGHTED) == {}


def test_layers_of_other_phases_are_left_out() -> None:
    text = CONV + "".join(
        f'layer {{ name: "n" type: "BN" bottom: "c" top: "c" include {{ phase: {phase} }} }}\n'
        for phase in ("TRAIN", "TEST")
    )
    definition = parse_text(HEAD + text, pb.NetParameter())
    for phase, position in ((pb.TRAIN, 2), (pb.TEST, 3)):
        graph = Graph(defined_layers(definition, phase))
        assert graph.chain(1, ALL) == {Link.WEIGHTED: 1, Link.NORM: position}
        assert (graph.maker(position), graph.reader(1)) == (1, position)
    assert Graph(defined_layers(definition, pb.TRAIN)).maker(0) is None


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("", "TRAIN TEST"),
        ("phase: TEST", "TRAIN TEST"),
        ("include { phase: TEST }", "TEST"),
        ("phase: TRAIN include { phase: TEST }", "TEST"),
        ('include { stage: "a" }', "TRAIN TEST"),
        ('include { phase: TRAIN } include { stage: "a" }', "TRAIN TEST"),
        ('include { phase: TRAIN stage: "a" }', "TRAIN"),
        ("exclude { phase: TRAIN }", "TEST"),
        ('exclude { phase: TRAIN stage: "a" }', "TRAIN TEST"),
    ],
)
def test_the_phases_of_a_layer(rules: str, expected: str) -> None:
    """Those of the nets that have it, with some stages or levels."""
    layer = parse_text(f'layer {{ name: "l" type: "ReLU" {rules} }}', pb.NetParameter()).layer[0]
    assert phases(layer) == {pb.Phase.Value(name) for name in expected.split()}
    states = [pb.NetState(phase=phase, stage=stage) for phase in (pb.TRAIN, pb.TEST) for stage in ([], ["a"])]
    assert phases(layer) == {state.phase for state in states if admits(layer, state)}
