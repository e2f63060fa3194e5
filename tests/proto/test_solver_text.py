"""Text of solvers with nets inside is written in the present form, with its comments, order and numbers."""

from __future__ import annotations

from pathlib import Path

from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text, read_solver_source

OLD = """# mine
solver_type: ADAM  # fast
test_net_param {
  # of the test
  input: "data"
  input_dim: 1 input_dim: 3 input_dim: 0x8 input_dim: 8
  layers {
    type: CONVOLUTION  # no name
    bottom: "data"
    top: "c"  # scores
    blobs_lr: 1
    convolution_param { num_output: 0x4 kernel_size: 3 relu: true }
  }
  # behind
  layers { name: "p" type: POWER bottom: "c" top: "p" }
}
base_lr: 1e-3
train_net_param { layers { layer { name: "r" type: "relu" } bottom: "a" top: "b" } }
"""
NEW = """# mine
test_net_param {
  # of the test
  layer {
    name: "input"
    type: "Input"
    top: "data"
    input_param {
      shape {
        dim: 1
        dim: 3
        dim: 8
        dim: 8
      }
    }
  }
  layer {
    type: "Convolution"  # no name
    bottom: "data"
    top: "c"  # scores
    param { lr_mult: 1 }
    convolution_param { num_output: 0x4 kernel_size: 3 }
  }
  layer {
    name: "_relu"
    type: "ReLU"
    bottom: "c"
    top: "c"
  }
  # behind
  layer { name: "p" type: "Power" bottom: "c" top: "p" }
}
base_lr: 1e-3
train_net_param { layer { name: "r" type: "ReLU" bottom: "a" top: "b" } }
type: "Adam"
"""


def upgraded(text: str, folder: Path) -> str | None:
    (folder / "s.prototxt").write_text(text)
    definition, source = read_solver_source(folder / "s.prototxt")
    new = source.edit(definition.message)
    assert new is not None
    assert parse_text(new, pb.SolverParameter()) == definition.message
    return new


def test_nets_inside_keep_their_comments(tmp_path: Path) -> None:
    new = upgraded(OLD, tmp_path)
    assert new == NEW
    assert upgraded(NEW, tmp_path) == NEW
