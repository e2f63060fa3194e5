"""Prototxt: what is accepted, and that every error names its place."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest
from google.protobuf import text_format

from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import (
    format_text,
    parse_text,
    read_net,
    read_net_definition,
    read_solver,
)

NET = """
# a comment
name: "net"  # another
layer {
  name: "conv1" type: 'Conv' "olution";
  bottom: "data", top: "conv1"
  param { lr_mult: 1 } param < lr_mult: 2. >
  convolution_param {
    num_output: 0x10 kernel_size: [3, 5] pad: []
    weight_filler: { type: "gaussian" std: 1e-2f min: -inf max: Infinity mean: -.5 value: nan }
    engine: CAFFE force_nd_im2col: True bias_term: f axis: 01
  }
  include: [{ phase: TRAIN }, { phase: 1 stage: "\\x41\\102\\u00e9\\n" }]
}
"""


def parse(text: str, allow_unknown: bool = False) -> pb.NetParameter:
    return parse_text(text, pb.NetParameter(), "net.prototxt", allow_unknown)


def test_everything_the_format_allows() -> None:
    net = parse(NET)
    layer = net.layer[0]
    conv = layer.convolution_param
    assert net.name == "net"
    assert layer.type == "Convolution"
    assert [p.lr_mult for p in layer.param] == [1, 2]
    assert (conv.num_output, list(conv.kernel_size), list(conv.pad), conv.axis) == (16, [3, 5], [], 1)
    filler = conv.weight_filler
    assert filler.std == pytest.approx(0.01)
    assert (filler.min, filler.max, filler.mean) == (-math.inf, math.inf, -0.5)
    assert math.isnan(filler.value)
    assert conv.force_nd_im2col
    assert not conv.bias_term
    assert layer.include[1].phase == pb.TEST
    assert layer.include[1].stage == ["AB\u00e9\n"]


def test_agrees_with_protobufs_own_parser() -> None:
    text = NET.replace("nan", "1")
    assert parse(text) == text_format.Parse(text, pb.NetParameter())


def test_format_reads_back() -> None:
    net = parse(NET.replace("nan", "0.1"))
    assert parse(format_text(net)) == net


def test_empty_message_counts_as_given() -> None:
    assert parse("layer { pooling_param { } }").layer[0].HasField("pooling_param")


def test_byte_order_mark_and_comments_in_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(b'\xef\xbb\xbfname: "a" # \xb0\xa1\n')
    assert read_net(path).name == "a"


ERRORS = [
    ('layer { name: "c1" convolution_parm { } }', 1, 20, ["LayerParameter", "convolution_param", 'layer "c1"']),
    ('layer {\n  pooling_param { pool: MAXX }\n  name: "p1" }', 2, 25, ["MAX, AVE", '"MAXX"', 'layer "p1"']),
    ('name: "a"\n\nname: "b"', 3, 1, ['"name" is given twice', "line 1"]),
    ('layer { name: "a"\n pooling_param {}\n pooling_param {} }', 3, 2, ["given twice", "line 2"]),
    ("layer {\n name: 'x'\n", 3, 1, ['"}"', "line 1", "end of file"]),
    ("layer { }\n}", 2, 1, ["expected a field"]),
    ("layer { > ", 1, 9, ['"}"']),
    ("layer { type: CONVOLUTION }", 1, 15, ["string in quotes", "CONVOLUTION"]),
    ("layer { pooling_param { pad: -1 } }", 1, 30, ["0 to 4294967295", "-1"]),
    ("layer { pooling_param { pad: 4294967296 } }", 1, 30, ["4294967295"]),
    ("layer { pooling_param { pad: 1.5 } }", 1, 30, ["whole number", "1.5"]),
    ("layer { pooling_param { pad: 09 } }", 1, 30, ["whole number"]),
    ("layer { pooling_param { pad: " + "9" * 5000 + " } }", 1, 30, ["whole number"]),
    ("layer { loss_weight: x }", 1, 22, ["number", '"x"']),
    ("layer { loss_weight: 1..5 }", 1, 22, ["not a number"]),
    ("layer { loss_weight: .x }", 1, 22, ["unexpected"]),
    ("force_backward: maybe", 1, 17, ["true or false"]),
    ('name: "abc', 1, 7, ["not closed"]),
    ('name: "a\\qb"', 1, 7, ["escape"]),
    ('name: "\\777"', 1, 7, ["escape"]),
    ('name: "\\xff"', 1, 7, ["UTF-8"]),
    ("name = 'a'", 1, 6, ["unexpected", "="]),
    ("name 'a'", 1, 6, ['":"']),
    ("name:", 1, 6, ["end of file"]),
    ("layer: 5", 1, 8, ['"{"']),
    ("layer { bottom: ['a' 'b' 5] }", 1, 26, ['"]"']),
    ("layer { name: 'q' clip_param { min: 1 } }", 1, 30, ['needs "max"', 'layer "q"']),
    ("layers { layer { name: 'old' typ: 'conv' } }", 1, 30, ["V0LayerParameter", 'layer "old"']),
    ("\x00\x01", 1, 1, ["binary"]),
    ("layer { [a] { } }", 1, 9, ["expected a field"]),
]


@pytest.mark.parametrize(("text", "line", "column", "parts"), ERRORS, ids=[e[0][:30] for e in ERRORS])
def test_errors_name_their_place(text: str, line: int, column: int, parts: list[str]) -> None:
    with pytest.raises(PrototxtError) as caught:
        parse(text)
    message = str(caught.value)
    assert message.startswith(f"net.prototxt:{line}:{column}: ")
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_error_stays_one_printable_line(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(b'layer { name: "\xb0\x1b[31m" type: 5 }')
    with pytest.raises(PrototxtError) as caught:
        read_net(path)
    assert str(caught.value).isprintable()
    assert str(caught.value).encode("utf-8")


def test_unknown_fields_are_skipped_with_one_warning_each(caplog: pytest.LogCaptureFixture) -> None:
    text = """layer { name: "a" odd { x: 1 y { z: [1, 2] } > }"""
    with pytest.raises(PrototxtError):
        parse(text, allow_unknown=True)
    text = """
      odd: -5
      layer { name: "a" odd { x: 1 y < z: [{a: 'b' 'c'}, {}] > } ; mode: [A, B], type: "ReLU" }
      layer { name: "b" relu_param { engine: MKLDNN negative_slope: 2 } }
    """
    caplog.clear()
    with caplog.at_level(logging.WARNING, "dragon"):
        net = parse(text, allow_unknown=True)
    assert [x.type for x in net.layer] == ["ReLU", ""]
    assert net.layer[1].relu_param.negative_slope == 2
    assert len(caplog.messages) == 4
    assert all(m.startswith("net.prototxt:") for m in caplog.messages)
    assert '"mode"' in caplog.messages[2]
    assert 'layer "a"' in caplog.messages[2]
    assert "MKLDNN" in caplog.messages[3]


def test_wrong_engine_stops_by_default() -> None:
    with pytest.raises(PrototxtError, match="DEFAULT, CAFFE, CUDNN"):
        parse("layer { relu_param { engine: CUDNNN } }")


@pytest.mark.parametrize("text", ["layer {" * 50_000, "odd {" * 50_000, "odd: [" * 50_000])
def test_deep_nesting_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(PrototxtError):
        parse(text, allow_unknown=True)


def test_a_known_recursive_message_cannot_overrun_the_stack() -> None:
    from google.protobuf import descriptor_pb2

    text = "nested_type {" * 5000
    with pytest.raises(PrototxtError, match="nested more than"):
        parse_text(text, descriptor_pb2.DescriptorProto())


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for read in (read_net, read_solver):
        with pytest.raises(PrototxtError, match="No such file"):
            read(tmp_path / "none.prototxt")
        with pytest.raises(PrototxtError, match="directory"):
            read(tmp_path)
        with pytest.raises(PrototxtError, match="not a file name"):
            read("a\0b")


def test_source_map_survives_upgrading(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        'input: "data" input_dim: 1 input_dim: 1 input_dim: 4 input_dim: 4\n'
        'layers { layer { name: "pad" type: "padding" pad: 1 } bottom: "data" top: "p" }\n'
        "\n"
        'layers {\n layer { name: "c" type: "conv" num_output: 2 kernelsize: 3 } bottom: "p" top: "c" }\n'
    )
    definition = read_net_definition(path)
    assert [x.name for x in definition.message.layer] == ["input", "c"]
    assert str(definition.position(0)) == str(path)
    assert str(definition.position(1)) == f"{path}:4"


def test_solver_with_a_net_inside(tmp_path: Path) -> None:
    path = tmp_path / "solver.prototxt"
    path.write_text('solver_type: ADAM base_lr: 0.1 net_param { input: "x" input_shape { dim: 2 } }')
    solver = read_solver(path)
    assert solver.type == "Adam"
    assert solver.net_param.layer[0].type == "Input"
    path.write_text('type: "SGD" solver_type: SGD')
    with pytest.raises(PrototxtError, match=r"solver\.prototxt: .*solver_type"):
        read_solver(path)


def test_a_folder_is_no_prototxt(tmp_path: Path) -> None:
    with pytest.raises(PrototxtError) as bare:
        read_net(tmp_path)
    assert str(bare.value) == f"{tmp_path}: cannot be read: Is a directory"
    for name in ("deploy.prototxt", "solver.prototxt", "other.prototxt"):
        (tmp_path / name).touch()
    with pytest.raises(PrototxtError) as caught:
        read_net(tmp_path)
    assert str(caught.value).endswith("Is a directory; it holds solver.prototxt, deploy.prototxt")
