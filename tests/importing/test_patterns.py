"""What exporters take apart is put together again, unless a value inside is read elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.importing.helpers import Array, c, check, ints, model, types

f = np.float32


def number(value: float) -> Array:
    return np.array(value, f)


# nodes as "OPERATOR a b > c", with constants of these names
NUMBERS = {
    "one": number(1), "two": number(2), "three": number(3), "six": number(6), "zero": number(0), "half": number(0.5),
    "sixth": number(1 / 6), "root": number(2**0.5), "inverse_root": number(0.5**0.5), "eps": number(1e-2),
    "factor": number(1.702), "alpha": number(1e-2), "beta": number(0.75), "limit": number(20), "row": c(6),
    "matrix": c(8, 6), "weight": c(4, 6, 3, 3), "border": ints(0, 0, 1, 2, 0, 0, 1, 0), "groups": ints(2, 2, 3, 5, 8),
    "back": ints(2, 6, 5, 8), "deep": ints(2, 1, 6, 5, 8), "depth": ints(0, 0, 2, 0, 0, 0, 0, 2, 0, 0),
    "first": ints(1), "channels": c(6, 1, 1), "others": c(1, 6, 1, 1), "row8": c(8), "other8": c(8, seed=1),
    "v1": c(6, seed=1), "v2": c(6, seed=2), "v3": c(6, seed=3), "v4": np.abs(c(6, seed=4)),
}  # fmt: skip
GATE = "Add x three > a; Clip a zero six > b"
ERF = "Div x root > a; Erf a > b; Add b one > c"
MEAN = "ReduceMean x > m; Sub x m > d"
DEVIATION = "ReduceMean s > v; Add v eps > e; Sqrt e > q; Div d q > y"
AROUND = "Mul x x > a; Unsqueeze a first > b; Pad b depth zero > c; AveragePool c > d; Squeeze d first > e"
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "ReduceMean": {"axes": [-1]},
    "AveragePool": {"kernel_shape": [5, 1, 1], "strides": [1, 1, 1]},
    "HardSigmoid": {"alpha": 1 / 6},
}
JOINED = {
    "Sigmoid x > s; Mul x s > y": "Swish",
    "Sigmoid x > s; Mul s x > y": "Swish",
    "Mul x factor > a; Sigmoid a > s; Mul x s > y": "Swish",
    f"{GATE}; Div b six > y": "HardSigmoid",
    f"{GATE}; Mul b sixth > y": "HardSigmoid",
    f"{GATE}; Div b six > c; Mul x c > y": "HardSwish",
    f"{GATE}; Mul x b > c; Div c six > y": "HardSwish",
    f"{GATE}; Mul b x > c; Mul c sixth > y": "HardSwish",
    "HardSigmoid x > s; Mul x s > y": "HardSwish",
    "Softplus x > a; Tanh a > b; Mul x b > y": "Mish",
    "Greater x limit > a; Softplus x > b; Where a x b > y": "BNLL",
    f"{ERF}; Mul x c > d; Mul d half > y": "gelu",
    f"{ERF}; Mul x half > d; Mul d c > y": "gelu",
    f"{ERF}; Mul c half > d; Mul x d > y": "gelu",
    "Mul x inverse_root > a; Erf a > b; Add one b > c; Mul x c > d; Mul half d > y": "gelu",
    f"{MEAN}; Pow d two > s; {DEVIATION}": "LayerNorm",
    f"{MEAN}; Mul d d > s; {DEVIATION}": "LayerNorm",
    f"{AROUND}; Mul e alpha > g; Add g one > h; Pow h beta > i; Div x i > y": "LRN",
    "Reshape x groups > a; Transpose a > b; Reshape b back > y": "ShuffleChannel",
    "Pad x border > a; Conv a weight > y": "Pad Convolution",  # the sides differ
    "Mul x channels > a; Add a others > y": "Scale",
    "Mul channels x > a; Add others a > y": "Scale",
    "Mul x row8 > a; Add a other8 > y": "Scale",
    "Mul x channels > a; Add a other8 > y": "Scale Bias",
    "BatchNormalization x v1 v2 v3 v4 > a; Mul a channels > b; Add b others > y": "BatchNorm Scale",
    "BatchNormalization x v1 v2 v3 v4 > a; Mul a row8 > b; Add b other8 > y": "BatchNorm Scale Scale",
    "MatMul x matrix > a; Add a row > y": "InnerProduct",
}


def nodes_of(text: str) -> list[onnx.NodeProto]:
    made = []
    for part in text.split("; "):
        left, _, output = part.partition(" > ")
        op, *inputs = left.split()
        attributes: dict[str, Any] = dict(ATTRIBUTES.get(op, {}))
        if op == "Transpose":
            attributes = {"perm": [0, 2, 1, 3, 4]}
        made.append(helper.make_node(op, inputs, [output], **attributes))
    return made


def build(text: str, outputs: list[str]) -> onnx.ModelProto:
    used = {name: array for name, array in NUMBERS.items() if f" {name}" in text}
    return model(nodes_of(text), {"x": (2, 6, 5, 8)}, outputs, used)


@pytest.mark.parametrize("text", JOINED)
def test_one_operator(text: str, tmp_path: Path) -> None:
    net = check(build(text, ["y"]), tmp_path)
    if JOINED[text] == "gelu":
        assert types(net).startswith("AbsVal Power")
    else:
        assert types(net) == JOINED[text]


@pytest.mark.parametrize("text", [text for text, kind in JOINED.items() if kind in ("Swish", "HardSwish", "LayerNorm")])
def test_a_value_that_is_read_elsewhere_stays(text: str, tmp_path: Path) -> None:
    inside = text.split("; ")[-2].partition(" > ")[2]
    net = check(build(text, ["y", inside]), tmp_path)
    assert types(net) != JOINED[text]


def test_other_numbers_are_no_hard_swish(tmp_path: Path) -> None:
    net = check(build("Add x two > a; Clip a zero six > b; Div b six > c; Mul x c > y", ["y"]), tmp_path)
    assert types(net) == "Power ReLU6 Power Eltwise"


def test_padding_of_equal_sides_goes_into_the_convolution(tmp_path: Path) -> None:
    nodes = [helper.make_node("Pad", ["x", "pads"], ["a"]), helper.make_node("Conv", ["a", "w"], ["y"])]
    constants = {"pads": ints(0, 0, 1, 2, 0, 0, 1, 2), "w": c(4, 3, 3, 3)}
    assert types(check(model(nodes, {"x": (1, 3, 5, 6)}, ["y"], constants), tmp_path)) == "Convolution"
