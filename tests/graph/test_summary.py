"""The table of a net, and how nets, solvers, layers and blobs show themselves in a terminal."""

from __future__ import annotations

import re

import dragon
from dragon.graph.summary import net_table
from dragon.proto.text import parse_text
from tests.helpers import toy_solver

NET = """
name: "small" force_backward: true
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "y" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "bn" type: "BatchNorm" bottom: "y" top: "y" }
layer { name: "a" type: "InnerProduct" bottom: "y" top: "a" param { name: "w" } param { name: "b" }
  inner_product_param { num_output: 5 } }
layer { name: "b" type: "InnerProduct" bottom: "y" top: "b" param { name: "w" } param { name: "b" }
  inner_product_param { num_output: 5 } }
"""


def small() -> dragon.Net:
    return dragon.Net(parse_text(NET, dragon.proto.dragon_pb2.NetParameter()), phase=dragon.TRAIN, engine="numpy")


def test_the_sums_are_those_of_the_shapes() -> None:
    table = net_table(small())
    by_name = {row.name: row for row in table.rows}
    assert by_name["conv"].shapes == ((2, 4, 4, 4),)
    assert by_name["conv"].learned == 4 * 3 * 9 + 4
    assert by_name["conv"].multiply_adds == 2 * 4 * 16 * 27
    assert by_name["conv"].memory == 2 * 4 * 16 * 4
    assert (by_name["bn"].learned, by_name["bn"].statistics, by_name["bn"].memory) == (0, 9, 0)
    assert table.parameters == 4 * 27 + 4 + 5 * 64 + 5  # a and b share
    assert table.parameter_bytes == 4 * table.parameters
    assert table.statistics_bytes == 4 * 9
    assert [row.name for row in table.rows if row.added] == ["y_bn_0_split"]


def test_tops_that_share_memory_count_once() -> None:
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 } } }
    layer { name: "flat" type: "Flatten" bottom: "x" top: "flat" }
    layer { name: "one" type: "Concat" bottom: "flat" top: "one" }
    layer { name: "neuron" type: "TanH" bottom: "x" top: "neuron" }
    layer { name: "by_hand" type: "Split" bottom: "neuron" top: "a" top: "b" }
    """
    net = dragon.Net(parse_text(text, dragon.proto.dragon_pb2.NetParameter()), engine="numpy")
    table = net_table(net)
    assert {row.name: row.memory for row in table.rows if row.memory} == {"x": 24 * 4, "neuron": 24 * 4}
    assert table.memory == 2 * 24 * 4


def test_print_shows_the_table() -> None:
    net = small()
    text = str(net)
    assert text == net.summary()
    assert 'net "small": 5 layers and 1 added Split' in text
    assert re.search(r"^conv +Convolution +2x4x4x4 +112 +", text, re.MULTILINE)
    assert max(map(len, net.summary(60).splitlines()[2:9])) <= 60


def test_a_repr_is_one_line() -> None:
    assert repr(small()) == "<Net 'small': 6 layers, 437 parameters, TRAIN, engine numpy>"
    assert repr(small().layers[1]) == "<Convolution layer 'conv'>"
    assert repr(toy_solver()) == "<SGD solver of net 'toy': iteration 0 of 20, rate 0.05>"


def test_dir_shows_what_a_script_uses() -> None:
    solver = toy_solver()
    used = {"blobs", "params", "layers", "forward", "backward", "copy_from", "save", "summary", "inputs", "outputs"}
    internal = {"executor", "context", "table", "owned", "nodes", "whole_step", "check_finite", "run_lock"}
    assert used <= set(dir(solver.net))
    assert not internal & set(dir(solver.net))
    assert all(hasattr(solver.net, name) for name in dir(solver.net))
    assert {"step", "solve", "net", "test_nets", "iter", "snapshot", "restore", "history"} <= set(dir(solver))
    assert not {"updater", "definition", "warned_outputs"} & set(dir(solver))
    assert "data_storage" not in dir(solver.net.blobs["data"])
    assert dir(dragon) == sorted(dragon.__all__)
