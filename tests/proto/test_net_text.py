"""A net's text, changed as the net is: all that does not change stays as it was typed."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

import pytest

from dragon.models import generate
from dragon.proto import dragon_pb2 as pb
from dragon.proto.layer_names import name_layers
from dragon.proto.lexer import Tokens
from dragon.proto.text import parse_text, read_net, read_net_source
from dragon.proto.text_tree import read_tree
from dragon.proto.upgrade import upgrade_net

ROOT = Path(generate.__file__).parent
TEXT = """# my net
name: 'n'   # its name
layer{ name:'data' type:'Input' top:'data' input_param{ shape{ dim:[1, 3, 8, 8] } } }

# the first one
layer{
\tname:'conv1' type:'Convolution'
\tbottom:'data'
\ttop:'conv1'      # in place from here
\tparam{ lr_mult:1 }
\tparam{ lr_mult:2 }   # twice
\t# odd order
\tconvolution_param{
\t\tkernel_size:3
\t\tengine:MKL2017
\t\tnum_output:0x8
\t\tweight_filler{ type:'gaussian' std:1e-4 }
\t}
}

# and its activation
layer{ name:'relu1' type:'ReLU' bottom:'conv1' top:'conv1' }

layer{ name:'ip' type:'InnerProduct' bottom:'conv1' top:'ip'
       inner_product_param{ num_output:2; weight_filler: < std: .010 > } }
# the end
"""

Change = Callable[[pb.NetParameter], None]


def edited(text: str, change: Change, tmp_path: Path) -> str:
    """The text after a change of the net, which it must mean."""
    path = tmp_path / "net.prototxt"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    definition, source = read_net_source(path)
    net = pb.NetParameter()
    net.CopyFrom(name_layers(definition.message))
    change(net)
    result = source.edit(net)
    assert result is not None
    again = parse_text(result, pb.NetParameter(), allow_unknown=True, warn=lambda _: None)
    assert name_layers(upgrade_net(again)) == name_layers(net)
    return result


def changes(text: str, change: Change, tmp_path: Path) -> tuple[list[str], list[str]]:
    """Lines that go and lines that come."""
    found = list(difflib.ndiff(text.splitlines(), edited(text, change, tmp_path).splitlines()))
    return [x[2:] for x in found if x.startswith("- ")], [x[2:] for x in found if x.startswith("+ ")]


def nothing(net: pb.NetParameter) -> None:
    pass


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/*t*.prototxt")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_no_change_changes_nothing(path: Path, tmp_path: Path) -> None:
    if "solver" not in path.name:
        text = path.read_text()
        assert edited(text, nothing, tmp_path) == text


@pytest.mark.parametrize("change", [str, lambda t: t.replace("\n", "\r\n"), lambda t: "\ufeff" + t])
def test_an_odd_text_stays(change: Callable[[str], str], tmp_path: Path) -> None:
    assert edited(change(TEXT), nothing, tmp_path) == change(TEXT)


def test_a_comment_in_another_encoding_stays(tmp_path: Path) -> None:
    text = TEXT.replace("my net", "b\udcfcro")
    result = edited(text, lambda net: net.layer[1].bottom.__setitem__(0, "x"), tmp_path)
    assert result == text.replace("bottom:'data'", "bottom:'x'")


def test_values(tmp_path: Path) -> None:
    def change(net: pb.NetParameter) -> None:
        net.name = "m"
        p = net.layer[1].convolution_param
        p.num_output, p.kernel_size[0] = 16, 5
        p.weight_filler.std = 0.5
        net.layer[0].input_param.shape[0].dim[0] = 2

    expected = TEXT.replace("'n'", "'m'").replace("0x8", "16").replace("kernel_size:3", "kernel_size:5")
    assert edited(TEXT, change, tmp_path) == expected.replace("1e-4", "0.5").replace("[1, 3", "[2, 3")


def test_fields_that_come_and_go(tmp_path: Path) -> None:
    def change(net: pb.NetParameter) -> None:
        conv = net.layer[1]
        conv.convolution_param.bias_term = False
        conv.convolution_param.weight_filler.ClearField("std")
        del conv.param[1]
        net.layer[3].inner_product_param.ClearField("weight_filler")
        net.layer[3].include.add(phase=pb.TEST)

    gone, come = changes(TEXT, change, tmp_path)
    assert gone == [
        "\tparam{ lr_mult:2 }   # twice",
        "\t\tweight_filler{ type:'gaussian' std:1e-4 }",
        "layer{ name:'ip' type:'InnerProduct' bottom:'conv1' top:'ip'",
        "       inner_product_param{ num_output:2; weight_filler: < std: .010 > } }",
    ]
    assert come == [
        "\t\tbias_term:false",
        "\t\tweight_filler{ type:'gaussian' }",
        "layer{ name:'ip' type:'InnerProduct' bottom:'conv1' top:'ip' include{ phase:TEST }",
        "       inner_product_param{ num_output:2; } }",
    ]


def test_lists(tmp_path: Path) -> None:
    def change(net: pb.NetParameter) -> None:
        net.layer[0].input_param.shape[0].dim.append(9)
        net.layer[1].bottom.append("b")
        net.layer[1].param.insert(0, pb.ParamSpec(decay_mult=0.5))

    gone, come = changes(TEXT, change, tmp_path)
    assert "dim:[1, 3, 8, 8, 9]" in come[0]
    assert come[1:] == ["\tbottom:'b'", "\tparam{ decay_mult:0.5 }"]
    assert len(gone) == 1


def test_layers_that_come_go_and_move(tmp_path: Path) -> None:
    def change(net: pb.NetParameter) -> None:
        layers = [pb.LayerParameter() for _ in net.layer]
        for copy, layer in zip(layers, net.layer, strict=True):
            copy.CopyFrom(layer)
        data, conv, relu, ip = layers
        new = pb.LayerParameter(name="bn", type="BN", bottom=["conv1"], top=["conv1"])
        new.batch_norm_param.eps = 1
        first = pb.LayerParameter(name="a", type="Input", top=["a"])
        relu.top[0] = "x"
        del net.layer[:]
        net.layer.extend([first, data, relu, conv, new])
        assert ip.name == "ip"

    bn = "layer{\n\tname:'bn'\n\ttype:'BN'\n\tbottom:'conv1'\n\ttop:'conv1'\n\tbatch_norm_param{\n\t\teps:1\n\t}\n}\n"
    head, conv = TEXT.split("# the first one\n")[0], TEXT[TEXT.index("layer{\n") : TEXT.index("\n# and its")]
    data = head[head.index("layer{") :]
    expected = head.replace(data, "layer{ name:'a' type:'Input' top:'a' }\n\n" + data)
    expected += "layer{ name:'relu1' type:'ReLU' bottom:'conv1' top:'x' }\n\n# the first one\n"
    expected += conv + "\n" + bn + "\n# and its activation\n# the end\n"
    assert edited(TEXT, change, tmp_path).replace("\n\n", "\n") == expected.replace("\n\n", "\n")


def test_ends_of_lines_are_those_of_the_text(tmp_path: Path) -> None:
    def change(net: pb.NetParameter) -> None:
        net.layer.add(name="x", type="Softmax", bottom=["ip"], top=["x"]).softmax_param.axis = 2
        net.layer[1].convolution_param.bias_term = False
        del net.layer[1].param[:]

    result = edited(TEXT.replace("\n", "\r\n"), change, tmp_path)
    assert result.replace("\r\n", "").count("\n") == 0
    assert result.replace("\r\n", "\n") == edited(TEXT, change, tmp_path)


def test_what_is_upgraded_stays_where_it_is_not_touched(tmp_path: Path) -> None:
    text = """name: "deploy"
input: "data"   # old
input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn"
  param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 } }
layer { name: "relu" type: "ReLU" bottom: "bn" top: "bn" }
"""
    assert edited(text, nothing, tmp_path) == text

    def change(net: pb.NetParameter) -> None:
        net.layer[2].top[0] = "relu"

    assert edited(text, change, tmp_path) == text.replace('bottom: "bn" top: "bn"', 'bottom: "bn" top: "relu"')

    def bias(net: pb.NetParameter) -> None:
        net.layer[1].batch_norm_param.eps = 0.5

    result = edited(text, bias, tmp_path)
    assert 'top: "bn" batch_norm_param { eps: 0.5 } }' in " ".join(result.split())
    assert "lr_mult" not in result, "a touched layer is in the present form"


def test_layers_without_names(tmp_path: Path) -> None:
    text = 'layer { type: "ReLU" bottom: "a" top: "b" }\nlayer { type: "ReLU" bottom: "b" top: "c" }\n'

    def last(net: pb.NetParameter) -> None:
        net.layer[1].top[0] = "d"

    assert edited(text, last, tmp_path) == text.replace('"c"', '"d"')

    def first(net: pb.NetParameter) -> None:
        del net.layer[0]

    assert 'name: "(ReLU 2)"' in edited(text, first, tmp_path), "else it would be the first"


def test_a_layer_that_the_text_does_not_have(tmp_path: Path) -> None:
    """One that is made of the net's inputs, or of a ReLU in another layer: what it is made of goes."""
    text = """# mine
input: "data"  # old
input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { relu: 1 num_output: 0x2 kernel_size: 1 } }
# the end
"""  # noqa: E501

    def change(net: pb.NetParameter) -> None:
        net.layer[0].top[0] = net.layer[1].bottom[0] = "x"

    gone, come = changes(text, change, tmp_path)
    assert len(gone) == 3
    assert 'layer { name: "c_relu" type: "ReLU" bottom: "c" top: "c" }' in come
    assert any("{ num_output: 0x2 kernel_size: 1 }" in line for line in come)

    def insert(net: pb.NetParameter) -> None:
        net.layer.insert(0, pb.LayerParameter(name="first", type="Input", top=["first"]))

    gone, come = changes(text, insert, tmp_path)
    assert gone[:2] == text.splitlines()[1:3]


def test_there_is_no_such_text(tmp_path: Path) -> None:
    path = tmp_path / "v0.prototxt"
    path.write_text('layers { layer { name: "r" type: "relu" } bottom: "a" top: "b" }')
    assert read_net_source(path)[1].edit(read_net(path)) is None


def test_places_of_entries() -> None:
    tree = read_tree(Tokens(TEXT, "n"))
    for entry in tree.entries:
        assert TEXT[entry.start :].startswith(entry.name)
        assert TEXT[entry.end - 1] in "}'"
    conv = tree.items("layer")[1][1].body
    assert conv is not None
    assert [TEXT[item.start : item.end] for _, item in conv.items("param")] == ["{ lr_mult:1 }", "{ lr_mult:2 }"]
    body = conv.items("convolution_param")[0][1].body
    assert body is not None
    assert [e.name for e in body.entries] == ["kernel_size", "engine", "num_output", "weight_filler"]
