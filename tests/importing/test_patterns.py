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
    "tiny": number(1e-6), "full": ints(2, 6, 5, 8), "grouped": ints(0, 3, -1), "flat": ints(2, -1),
    "deep5": ints(2, 2, 3, 5, 8),
    "ones3": c(3, seed=5), "zeros3": c(3, seed=6), "others_full": np.broadcast_to(c(6, 1, 1), (2, 6, 5, 8)).copy(),
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
    "ReduceL2": {"axes": [1]},
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
    "ReduceL2 x > n; Clip n tiny > c; Expand c full > e; Div x e > y": "Normalize",
    "ReduceL2 x > n; Div x n > y": "Normalize",
    "Pow x two > s; ReduceSum s first > t; Sqrt t > n; Add n tiny > a; Div x a > y": "Normalize",
    "Mul x x > s; ReduceSum s first > t; Sqrt t > n; Div x n > a; Mul channels a > y": "Normalize",
    "ReduceL2 x > n; Div x n > a; Mul others_full a > y": "Normalize",
    "ReduceL2 x > n; Add n one > a; Div x a > y": "Power Convolution Power Power Power Tile Eltwise",  # not small
    "Reshape x grouped > a; InstanceNormalization a ones3 zeros3 > b; Reshape b back > y": "GroupNorm",
    "Reshape x grouped > a; InstanceNormalization a ones3 zeros3 > b; Reshape b back > n; "
    "Mul n channels > m; Add m others > y": "GroupNorm",
    "InstanceNormalization x v1 v2 > n; Mul n channels > m; Add m others > y": "InstanceNorm",
    "Reshape x flat > a; Reshape a back > b; Exp b > y": "Exp",
    "Reshape x flat > a; Reshape a deep5 > y": "Reshape",
}
BLOCKS = {  # axes after the first Reshape, their order, the shape of the result
    "pixel_unshuffle": ((2, 6, 2, 2, 4, 2), (0, 1, 3, 5, 2, 4), (2, 24, 2, 4), "Convolution"),
    "space_to_depth": ((2, 6, 2, 2, 4, 2), (0, 3, 5, 1, 2, 4), (2, 24, 2, 4), "Convolution"),
    "pixel_shuffle": ((2, 2, 2, 2, 4, 8), (0, 1, 4, 2, 5, 3), (2, 2, 8, 16), "Deconvolution"),
    "depth_to_space": ((2, 2, 2, 2, 4, 8), (0, 3, 4, 1, 5, 2), (2, 2, 8, 16), "Deconvolution"),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_of_pixels(name: str, tmp_path: Path) -> None:
    """Of BVLC's layers one is enough."""
    parts, order, shape, kind = BLOCKS[name]
    nodes = [
        helper.make_node("Reshape", ["x", "parts"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=order),
        helper.make_node("Reshape", ["b", "shape"], ["y"]),
    ]
    start = (2, 6, 4, 8) if kind == "Convolution" else (2, 8, 4, 8)
    made = model(nodes, {"x": start}, ["y"], {"parts": ints(*parts), "shape": ints(*shape)})
    assert types(check(made, tmp_path)) == "Reshape Permute Reshape"
    assert types(check(made, tmp_path, bvlc=True)) == kind


@pytest.mark.parametrize("last", [1, 0])
def test_focus(last: int, tmp_path: Path) -> None:
    """Every second pixel from four places is one Convolution; twice the same place is not."""
    slices, constants = (
        [],
        {"two": ints(2), "end": ints(2**31), "zero": ints(0), "one": ints(1), "a2": ints(2), "a3": ints(3)},
    )
    places = [(0, 0), (1, 0), (0, 1), (1, last)]
    numbers = ("zero", "one")
    for k, (row, column) in enumerate(places):
        slices.append(helper.make_node("Slice", ["x", numbers[row], "end", "a2", "two"], [f"r{k}"]))
        slices.append(helper.make_node("Slice", [f"r{k}", numbers[column], "end", "a3", "two"], [f"p{k}"]))
    nodes = [*slices, helper.make_node("Concat", [f"p{k}" for k in range(4)], ["y"], axis=1)]
    found = check(model(nodes, {"x": (2, 3, 6, 8)}, ["y"], constants), tmp_path)
    assert (types(found) == "Convolution") == (last == 1)


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


def convnext(first: tuple[int, ...] = (0, 2, 3, 1)) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], "last", perm=first),
        helper.make_node("LayerNormalization", ["t", "gamma", "beta"], ["n"], "norm", epsilon=1e-3),
        helper.make_node("MatMul", ["n", "up"], ["u"], "one"),
        helper.make_node("Add", ["u", "row8"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"], "act"),
        helper.make_node("MatMul", ["r", "down"], ["d"], "two"),
        helper.make_node("Mul", ["gamma", "d"], ["m"], "scale"),
        helper.make_node("Transpose", ["m"], ["y"], "back", perm=[0, 3, 1, 2]),
    ]
    constants = {"gamma": c(6), "beta": c(6, seed=1), "up": c(6, 8), "row8": c(8), "down": c(8, 6)}
    return model(nodes, {"x": (2, 6, 5, 6)}, ["y"], constants)


def test_channels_between_two_transpositions_come_first(tmp_path: Path) -> None:
    """Linear layers between them are convolutions, and BVLC's layers need no exchange of axes."""
    net = check(convnext(), tmp_path)
    assert types(net) == "Permute LayerNorm Permute Convolution ReLU Convolution Scale"
    norm = "Convolution Power Convolution Power Eltwise Scale"
    bvlc = check(convnext(), tmp_path, bvlc=True)
    assert types(bvlc) == f"{norm} Convolution ReLU Convolution Scale"


def test_another_transposition_stays(tmp_path: Path) -> None:
    net = check(convnext((0, 3, 2, 1)), tmp_path)
    assert types(net) == "Permute LayerNorm InnerProduct ReLU InnerProduct Scale Permute"


def lstm(directions: str, outputs: list[str], reads: list[str], shape: tuple[int, ...] = (0, 0, -1)) -> onnx.ModelProto:
    count = 2 if directions == "bidirectional" else 1
    nodes = [
        helper.make_node(
            "LSTM", ["x", "w", "r", "b", "", "h", "c"], outputs, "lstm", hidden_size=5, direction=directions
        ),
        helper.make_node("Transpose", ["s"], ["t"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["t", "shape"], ["y"], "joined"),
    ]
    states = {name: np.zeros((count, 3, 5), f) for name in "hc"}
    weights = {"w": c(count, 20, 6), "r": c(count, 20, 5), "b": c(count, 40), "shape": ints(*shape)}
    return model(nodes, {"x": (4, 3, 6)}, reads, states | weights)


def test_directions_of_an_lstm_are_put_together(tmp_path: Path) -> None:
    """States of 0 are what a sequence begins with."""
    made = lstm("bidirectional", ["s", "", ""], ["y"])
    assert types(check(made, tmp_path)) == "LSTM Reverse LSTM Reverse Concat"
    check(made, tmp_path, bvlc=True)
    assert types(check(lstm("forward", ["s"], ["y"]), tmp_path)) == "LSTM"
    rows = lstm("bidirectional", ["s"], ["y"], (12, 10))  # for a linear layer behind it, as CRNN has it
    assert types(check(rows, tmp_path)) == "LSTM Reverse LSTM Reverse Concat Reshape"


def test_an_lstm_whose_states_are_read(tmp_path: Path) -> None:
    net = check(lstm("bidirectional", ["s", "hn", "cn"], ["y", "hn", "cn"]), tmp_path)
    assert types(net) == "LSTM Reverse LSTM Reverse Concat Concat Concat"
    assert [layer.type for layer in net.net.layer].count("Parameter") == 2  # marks, and 0 for all states


@pytest.mark.parametrize(
    ("ends", "wanted"),
    [
        ([(0, 2), (2, 6)], "Slice Exp Power Concat"),
        ([(2, 4), (0, 1)], "Slice Exp Power Concat Silence"),
        ([(0, 3), (2, 6)], "Slice Exp Slice Power Concat Silence"),  # they overlap
    ],
)
def test_slices_of_one_value_are_one_layer(ends: list[tuple[int, int]], wanted: str, tmp_path: Path) -> None:
    constants = {f"n{k}": ints(k) for k in range(7)}
    nodes = [
        helper.make_node("Slice", ["x", f"n{ends[0][0]}", f"n{ends[0][1]}", "n1"], ["a"], "first"),
        helper.make_node("Exp", ["a"], ["e"]),
        helper.make_node("Slice", ["x", f"n{ends[1][0]}", f"n{ends[1][1]}", "n1"], ["b"], "second"),
        helper.make_node("Neg", ["b"], ["m"]),
        helper.make_node("Concat", ["e", "m"], ["y"], axis=1),
    ]
    assert types(check(model(nodes, {"x": (2, 6, 5)}, ["y"], constants), tmp_path)) == wanted
