"""Shapes that graphs compute are filled in, open dimensions fixed, nodes that do nothing left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from dragon.errors import PrototxtError, UsageError
from tests.importing.helpers import c, check, ints, load, model, types


def node(op: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], name=f"make_{output}", **attributes)


def flattening() -> list[onnx.NodeProto]:
    """x.view(x.size(0), -1), as PyTorch writes it for an open batch."""
    return [
        node("Shape", ["x"], "shape"),
        node("Gather", ["shape", "zero"], "size", axis=0),
        node("Unsqueeze", ["size", "axes"], "first"),
        node("Concat", ["first", "rest"], "both", axis=0),
        node("Reshape", ["x", "both"], "y"),
    ]


CONSTANTS = {"zero": np.array(0, np.int64), "axes": ints(0), "rest": ints(-1)}


def test_a_shape_that_the_graph_computes(tmp_path: Path) -> None:
    net = check(model(flattening(), {"x": ("batch", 3, 2)}, ["y"], CONSTANTS), tmp_path, batch=5)
    assert types(net) == "Reshape"
    assert list(net.net.layer[0].input_param.shape[0].dim) == [5, 3, 2]
    assert list(net.net.layer[1].reshape_param.shape.dim) == [0, -1]


def test_open_dimensions(tmp_path: Path) -> None:
    made = model(flattening(), {"x": ("batch", 3, "width")}, ["y"], CONSTANTS)
    with pytest.raises(
        UsageError, match=r'input "x" of shape batch,3,width leaves axis 2 open: give its shape, as x:1,'
    ):
        load(made, tmp_path)
    for name in ("x", ""):
        net = check(made, tmp_path, shapes={name: (2, 3, 7)})
        assert list(net.net.layer[0].input_param.shape[0].dim) == [2, 3, 7]
    net = check(made, tmp_path, shapes={"x": (4, 5, 6)})  # another one than that of the file
    assert list(net.net.layer[0].input_param.shape[0].dim) == [4, 5, 6]
    with pytest.raises(UsageError, match="has 3 axes"):
        load(made, tmp_path, shapes={"x": (2, 3)})
    with pytest.raises(UsageError, match=r'no input "X" \(did you mean "x"\?\)'):
        load(made, tmp_path, shapes={"X": (2, 3, 7)})


def test_a_batch_that_does_not_fit(tmp_path: Path) -> None:
    """Videos whose frames are items of the batch, four of them each."""
    made = model([node("Reshape", ["x", "clips"], "y")], {"x": ("n", 3)}, ["y"], {"clips": ints(-1, 4, 3)})
    with pytest.raises(
        PrototxtError, match=r"its input of shape \(1, 3\) has no shape \(-1, 4, 3\): try another --batch"
    ):
        load(made, tmp_path)
    check(made, tmp_path, batch=8)


def test_one_name_of_a_dimension_is_one_size(tmp_path: Path) -> None:
    made = model([node("Add", ["a", "b"], "y")], {"a": ("n", "w"), "b": ("n", "w")}, ["y"])
    net = check(made, tmp_path, shapes={"a": (2, 7)})
    assert list(net.net.layer[1].input_param.shape[0].dim) == [2, 7]


def test_constants_are_computed(tmp_path: Path) -> None:
    nodes = [node("Transpose", ["w"], "t"), node("Mul", ["t", "two"], "v"), node("MatMul", ["x", "v"], "y")]
    net = check(model(nodes, {"x": (2, 3)}, ["y"], {"w": c(4, 3), "two": np.array([2], np.float32)}), tmp_path)
    assert types(net) == "InnerProduct"
    np.testing.assert_allclose(net.arrays["make_y"][0], 2 * c(4, 3))


@pytest.mark.parametrize("taken", [True, False])
def test_a_branch_that_is_known(taken: bool, tmp_path: Path) -> None:
    branches = {}
    for name, op in (("then_branch", "Relu"), ("else_branch", "Tanh")):
        out = helper.make_tensor_value_info(f"{name}_y", onnx.TensorProto.FLOAT, (2, 3))
        branches[name] = helper.make_graph([helper.make_node(op, ["x"], [f"{name}_y"])], name, [], [out])
    made = model([node("If", ["known"], "z", **branches), node("Exp", ["z"], "y")], {"x": (2, 3)}, ["y"],
                 {"known": np.array(taken)})  # fmt: skip
    assert types(check(made, tmp_path)) == ("ReLU Exp" if taken else "TanH Exp")


def test_what_does_nothing_is_left_out(tmp_path: Path) -> None:
    nodes = [
        node("Identity", ["x"], "a"),
        node("Relu", ["a"], "b"),
        node("Dropout", ["b"], "c"),
        node("Cast", ["c"], "d", to=onnx.TensorProto.FLOAT),
        node("Exp", ["d"], "e"),
        node("Identity", ["e"], "y"),
        node("Tanh", ["x"], "unread"),
    ]
    net = check(model(nodes, {"x": (2, 3)}, ["y"]), tmp_path)
    assert types(net) == "ReLU Exp"
    assert net.net.layer[-1].top[0] == "y"


def test_a_constant_that_would_be_huge_is_not_computed(tmp_path: Path) -> None:
    nodes = [node("ConstantOfShape", ["shape"], "big"), node("Add", ["x", "big"], "y")]
    made = model(nodes, {"x": (1,)}, ["y"], {"shape": ints(1 << 20, 1 << 20)})
    with pytest.raises(PrototxtError, match=r'ConstantOfShape \("make_big"\)'):
        load(made, tmp_path)


@pytest.mark.parametrize("kind", [onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE])
def test_other_types_of_floats(kind: int, tmp_path: Path) -> None:
    from tests.importing.helpers import x

    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [node("MatMul", ["x", "w"], "a"), node("Relu", ["a"], "y")]
    net = check(model(nodes, {"x": x(2, 3, kind=kind)}, ["y"], {"w": c(3, 4).astype(dtype)}), tmp_path)
    assert net.arrays["make_a"][0].dtype == np.float32


def test_casts_to_half_precision_inside(tmp_path: Path) -> None:
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    nodes = [
        node("Cast", ["x"], "a", to=half),
        node("Conv", ["a", "w"], "b"),
        node("Relu", ["b"], "c"),
        node("Cast", ["c"], "y", to=single),
    ]
    made = model(nodes, {"x": (1, 3, 5, 5)}, ["y"], {"w": c(4, 3, 3, 3).astype(np.float16)})
    assert types(check(made, tmp_path)) == "Convolution ReLU"


def test_nodes_that_say_too_little_or_too_much(tmp_path: Path) -> None:
    """ONNX's own check lets these pass."""
    made = model([node("Relu", ["x"], "y")], {"x": (1, 2)}, ["y"], {"s": c(2)}, opset=18)
    made.graph.node.insert(0, helper.make_node("GroupNormalization", ["x", "s", "s"], [], name="g", num_groups=2))
    with pytest.raises(PrototxtError, match=r'the node "g" \(GroupNormalization\) has no output'):
        load(made, tmp_path)
    del made.graph.node[0]
    made.graph.node[0].CopyFrom(helper.make_node("Split", ["x"], ["a", "b", "y"], axis=1, num_outputs=2))
    with pytest.raises(PrototxtError, match=r"its parts \(1, 1\) do not divide an axis of 2 into the node's 3 outputs"):
        load(made, tmp_path)
