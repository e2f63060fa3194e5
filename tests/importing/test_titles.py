"""Layers of models from PyTorch's newer exporter are called as the modules."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper

from dragon.importing.titles import title_of
from tests.importing.helpers import c, check, model

TORCH = "torch.nn.modules."
CONTAINER, CONV, NORM, RELU = (
    TORCH + name for name in ("container.Sequential", "conv.Conv2d", "batchnorm.B", "act.ReLU")
)
FUSED = "aten._native_batch_norm_legit_no_training.default"


def node(op: str, inputs: list[str], output: str, scopes: list[str], classes: list[str]) -> onnx.NodeProto:
    made = helper.make_node(op, inputs, [output], name=f"node_{output}")
    for key, value in (("name_scopes", scopes), ("class_hierarchy", classes)):
        made.metadata_props.add(key=f"pkg.torch.onnx.{key}", value=str(value))
    return made


@pytest.mark.parametrize(
    ("op", "weight", "scopes", "classes", "title"),
    [
        ("Relu", "", ["", "a", "a.2", "relu_1"], ["N", CONTAINER, RELU, "aten.relu.default"], "a.2"),
        ("Add", "", ["", "layer1", "b.0", "add_7"], ["N", CONTAINER, "my.Block", "aten.add.Tensor"], "b.0.add"),
        ("Add", "", ["", "add_7"], ["N", "aten.add.Tensor"], "add"),
        ("Conv", "conv1.weight", ["", "bn1", "x_3"], ["N", NORM, FUSED], "conv1"),
        ("Conv", "val_3", ["", "b", "x_3"], ["N", "my.Norm", FUSED], "b.batch_norm"),
        ("Split", "", ["", "getitem"], ["N", "<built-in function getitem>"], "getitem"),
        ("Relu", "", ["", "a"], ["N"], ""),
        ("Relu", "", [], [], ""),
    ],
)  # fmt: skip
def test_titles(op: str, weight: str, scopes: list[str], classes: list[str], title: str) -> None:
    assert title_of(node(op, ["x", weight], "y", scopes, classes)) == title


def test_layers_and_blobs_have_them(tmp_path: Path) -> None:
    relu = ["N", RELU, "aten.relu.default"]
    nodes = [
        node("Conv", ["x", "net.0.weight"], "getitem", ["", "net", "net.0", "conv2d"], ["N", CONTAINER, CONV, ""]),
        node("Relu", ["getitem"], "relu", ["", "act", "relu"], relu),
        node("Tanh", ["relu"], "tanh", ["", "tanh"], ["N", "aten.tanh.default"]),
        node("Relu", ["tanh"], "relu_1", ["", "act", "relu_1"], relu),
        node("Neg", ["relu_1"], "y", ["", "neg"], ["N", "aten.neg.default"]),
    ]  # fmt: skip
    net = check(model(nodes, {"x": (1, 3, 5, 5)}, ["y"], {"net.0.weight": c(4, 3, 3, 3)}), tmp_path)
    assert [layer.name for layer in net.net.layer] == ["x", "net.0", "act", "tanh", "act_2", "neg"]
    assert [layer.top[0] for layer in net.net.layer] == ["x", "net.0", "act", "tanh", "act_2", "y"]
