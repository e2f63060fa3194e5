"""Layers whose tops are their bottoms, against the same layers with tops of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import dragon
from tests.layers.catalogue import CASES, Case

__all__ = ["IN_PLACE", "agrees"]

Array = NDArray[Any]
MakeNet = Callable[[str, str], dragon.Net]  # text, engine


def text(case: Case, overwritten: bool) -> str:
    """The case's layer behind copies x0, x1, ... of inputs h0, h1, ..., which it may overwrite."""
    found = "force_backward: true\n"
    for i, shape in enumerate(case.shapes()):
        dims = " ".join(f"dim: {dim}" for dim in shape)
        found += f'layer {{ name: "h{i}" type: "Input" top: "h{i}" input_param {{ shape {{ {dims} }} }} }}\n'
        found += f'layer {{ name: "x{i}" type: "Power" bottom: "h{i}" top: "x{i}" power_param {{ scale: 1 }} }}\n'
    layer = case.text().splitlines()[-1]
    return found + (layer.replace('top: "y0"', 'top: "x0"') if overwritten else layer)


def _possible(case: Case) -> bool:
    if not case.inputs or not case.tops:
        return False
    try:
        dragon.Net(_parsed(text(case, True)), dragon.TRAIN, engine="numpy").close()
    except dragon.DragonError as error:
        return "in place" not in str(error)  # another error shall be seen in the test
    return True


def _parsed(definition: str) -> Any:
    from dragon.proto import dragon_pb2 as pb
    from dragon.proto.text import parse_text

    return parse_text(definition, pb.NetParameter())


IN_PLACE = [name for name, case in CASES.items() if _possible(case)]


def agrees(name: str, make: MakeNet, engine: str, tolerance: float) -> None:
    """Two passes in place on `engine` give what the reference gives with tops of their own."""
    case = CASES[name]
    expected, found = _results(case, make, "numpy", False), _results(case, make, engine, True)
    for what, value in expected.items():
        assert found[what].shape == value.shape, what
        largest = max(1e-2, float(np.abs(value).max(initial=0)))
        np.testing.assert_allclose(found[what], value, rtol=0, atol=tolerance * largest, err_msg=what)


def _results(case: Case, make: MakeNet, engine: str, overwritten: bool) -> dict[str, Array]:
    net = make(text(case, overwritten), engine)
    node, rng = net.nodes[-1], np.random.default_rng(7)
    for i, blob in enumerate(node.layer.blobs):
        if i not in node.layer.buffers:
            blob.data[...] = np.round(rng.standard_normal(blob.shape) * 64 + 0.5) / 128
    found = {}
    for number in range(2):
        for name, value in case.values(number).items():
            net.blobs[name.replace("x", "h")].data[...] = value
        net.clear_param_diffs()
        net.run_forward()
        rng = np.random.default_rng(number)
        for k, (top, weight) in enumerate(zip(node.tops, node.loss_weights, strict=True)):
            found[f"top {k}, pass {number}"] = top.peek().copy()
            if not weight:
                top.diff[...] = np.round(rng.standard_normal(top.shape) * 64) / 64
        net.run_backward()
        for i in range(len(case.inputs)):
            found[f"diff of h{i}, pass {number}"] = net.blobs[f"h{i}"].peek_diff().copy()
        for i, blob in enumerate(node.layer.blobs):
            found[f"diff of blob {i}, pass {number}"] = blob.peek_diff().copy()
    net.close()
    return found
