from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from dragon.errors import PrototxtError
from tests.importing.helpers import Case, c, case, check, load, model, run_case, types, x

A, B = x(2, 3, 5, 4), x(2, 3, 5, 4)
ROW = x(1, 3, 1, 1)
TRUE, OTHER = (x(*shape, kind=onnx.TensorProto.BOOL) for shape in ((2, 3, 5, 4), (2, 1, 5, 4)))
MASK = c(2, 3, 5, 4) > 0
CASES = [
    case("Greater", A, B, types="Eltwise Threshold"),
    case("Greater", A, np.array(0.3, np.float32), types="Threshold"),
    case("Greater", np.array(0.3, np.float32), A),
    case("Greater", A, c(3, 1, 1)),
    case("Greater", A, ROW),
    case("Less", A, B),
    case("Less", A, np.array([0.3], np.float32)),
    case("GreaterOrEqual", A, B),
    case("LessOrEqual", A, np.array(0.3, np.float32), types="Threshold Power"),
    case("Equal", x(2, 3, kind=onnx.TensorProto.INT64), x(2, 3, kind=onnx.TensorProto.INT64)),
    case("Equal", x(2, 3, kind=onnx.TensorProto.INT64), np.array(1, np.int64)),
    case("Not", TRUE, types="Power"),
    case("And", TRUE, OTHER),
    case("And", TRUE, MASK),
    case("Or", TRUE, OTHER),
    case("Or", TRUE, MASK),
    case("Xor", TRUE, OTHER),
    case("Sign", A),
    case("Cast", A, to=onnx.TensorProto.BOOL),
    case("Where", TRUE, A, B),
    case("Where", OTHER, A, ROW),
    case("Where", TRUE, A, np.array(0, np.float32), types="Eltwise"),
    case("Where", TRUE, np.array(-1e9, np.float32), A),
    case("Where", TRUE, np.array(3, np.float32), np.array(-2, np.float32), types="Power"),
    case("Where", TRUE, c(3, 1, 1), A),
    case("Where", MASK, A, B),
    case("Where", MASK[:, :1], ROW, B),
]


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.id)
def test_case(one: Case, tmp_path: Path) -> None:
    run_case(one, tmp_path)


def test_the_peaks_of_a_heat_map(tmp_path: Path) -> None:
    """What CenterNet keeps: values that are the maximum of their neighbourhood."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Equal", ["m", "x"], ["e"]),
        helper.make_node("Cast", ["e"], ["f"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "f"], ["y"]),
    ]
    for bvlc in (False, True):
        found = check(model(nodes, {"x": (1, 2, 9, 8)}, ["y"]), tmp_path, bvlc)
        assert types(found) == "Pooling Eltwise AbsVal Threshold Power Eltwise"


def test_whole_numbers_stay_whole_as_floats(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["i"], ["f"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Transpose", ["f"], ["t"]),
        helper.make_node("Cast", ["t"], ["j"], to=onnx.TensorProto.INT64),
        helper.make_node("Add", ["j", "j"], ["y"]),
    ]
    made = model(nodes, {"i": x(2, 3, kind=onnx.TensorProto.INT64)}, ["y"])
    assert types(check(made, tmp_path)) == "Permute Eltwise"


def test_rounding_has_no_form(tmp_path: Path) -> None:
    made = model([helper.make_node("Cast", ["x"], ["y"], to=onnx.TensorProto.INT64)], {"x": A}, ["y"])
    with pytest.raises(PrototxtError, match=r"Cast.*: it rounds to integers: Caffe's blobs are floats"):
        load(made, tmp_path)


def test_numbers_as_truths(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Cast", ["r"], ["t"], to=onnx.TensorProto.BOOL),
        helper.make_node("Where", ["t", "x", "n"], ["y"]),
    ]
    check(model(nodes, {"x": (2, 3)}, ["y"], {"n": np.array(-1, np.float32)}), tmp_path, bvlc=True)


def test_infinity_is_not_put_in(tmp_path: Path) -> None:
    nodes = [helper.make_node("Where", ["t", "x", "n"], ["y"])]
    made = model(nodes, {"t": TRUE, "x": A}, ["y"], {"n": np.array(-np.inf, np.float32)})
    with pytest.raises(PrototxtError, match=r"it puts in infinity or NaN.*use a large number, as -1e4"):
        load(made, tmp_path)


def test_integers_that_become_floats(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["i"], ["f"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Identity", ["f"], ["g"]),
        helper.make_node("Mul", ["g", "x"], ["y"]),
    ]
    inputs = {"i": x(2, 3, kind=onnx.TensorProto.INT64), "x": x(2, 3)}
    assert types(check(model(nodes, inputs, ["y"]), tmp_path)) == "Eltwise"
