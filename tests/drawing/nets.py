"""Nets of the zoo as diagrams, without their data."""

from __future__ import annotations

from pathlib import Path

from dragon.drawing import Diagram, diagram
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text, read_net
from dragon.proto.upgrade import upgrade_net

MODELS = Path(__file__).parents[2] / "models"
NET = """
name: "n<i>"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" param { lr_mult: 3 }
  convolution_param { num_output: 4 kernel_h: 3 kernel_w: 5 stride: 2 pad: 1 dilation: 2 bias_term: false } }
layer { name: "bn" type: "BatchNorm" bottom: "c" top: "bn" }
layer { name: "s" type: "Scale" bottom: "bn" top: "bn" scale_param { bias_term: true } }
layer { name: "r" type: "ReLU" bottom: "bn" top: "bn" }
layer { name: "p" type: "Pooling" bottom: "bn" top: "p" pooling_param { pool: AVE kernel_size: 2 } }
layer { name: "sum" type: "Eltwise" bottom: "bn" bottom: "bn" top: "sum" }
layer { name: "r2" type: "ReLU" bottom: "sum" top: "sum" }
"""


def net_of(text: str = NET) -> pb.NetParameter:
    return upgrade_net(parse_text(text, pb.NetParameter()))


def zoo(name: str) -> pb.NetParameter:
    train = MODELS / name / "train_val.prototxt"
    return upgrade_net(read_net(train if train.exists() else MODELS / name / "deploy.prototxt"))


def zoo_diagram(name: str) -> Diagram:
    return diagram(zoo(name))
