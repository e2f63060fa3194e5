"""Definition: a message with the place it was read from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.errors import Position
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import parse_text, read_net_definition, read_solver_definition

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 2 } } }
layer { name: "target" type: "Input" top: "target" input_param { shape { dim: 2 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "InfogainLoss" bottom: "fc" bottom: "target" top: "loss"
  infogain_loss_param { source: "matrix.binaryproto" } }
"""


def test_a_net_knows_its_file_folder_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    definition = read_net_definition(path)
    assert (definition.file, definition.folder, definition.lines) == (str(path), tmp_path, (2, 3, 4, 5))
    assert definition.start == Position(str(path))
    assert definition.position(2) == Position(str(path), 4)
    assert definition.position(9) == Position(str(path))


def test_a_message_made_in_memory_has_no_place() -> None:
    definition = Definition(parse_text(NET, pb.NetParameter()))
    assert (definition.start, definition.position(0), definition.folder) == (None, None, None)


def test_a_net_in_memory_finds_files_in_its_folder(tmp_path: Path) -> None:
    """And its errors name no file, since its text stands in none."""
    net = parse_text(NET, pb.NetParameter())
    with pytest.raises(dragon.DataError, match=r'^layer "loss" \(InfogainLoss\): infogain matrix "matrix.*not exist'):
        dragon.Net(Definition(net, folder=tmp_path), dragon.TEST)
    (tmp_path / "matrix.binaryproto").write_bytes(dragon.io.array_to_blobproto(np.eye(2)).SerializeToString())
    assert dragon.Net(Definition(net, folder=tmp_path), dragon.TEST).inputs == ["data", "target"]


def test_an_old_form_is_upgraded(tmp_path: Path) -> None:
    net = parse_text('input: "data" input_dim: [1, 1, 2, 2]', pb.NetParameter())
    made = dragon.Net(Definition(net, "old.prototxt", folder=tmp_path), dragon.TEST)
    assert made.blobs["data"].shape == (1, 1, 2, 2)
    assert made.nodes[0].position == Position("old.prototxt")


def test_a_solver_that_was_changed_after_reading_keeps_its_place(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(NET.split('layer { name: "loss"')[0])
    path = tmp_path / "solver.prototxt"
    path.write_text('net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed"')
    definition = read_solver_definition(path)
    definition.message.max_iter = 7
    solver = dragon.get_solver(definition, engine="numpy")
    assert (solver.path, solver.param.max_iter) == (str(path), 7)
    definition.message.max_iter = 8
    assert solver.param.max_iter == 7, "the solver has its own"
    definition.message.ClearField("lr_policy")
    with pytest.raises(dragon.PrototxtError, match=r"solver\.prototxt: the solver does not set lr_policy") as caught:
        dragon.get_solver(definition)
    assert caught.value.position == Position(str(path))
