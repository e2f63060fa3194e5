"""MaxUnpool, which needs the MaxPool whose indices it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from onnx import helper

from dragon.errors import PrototxtError
from tests.importing.helpers import check, load, model, types, x

WINDOW: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}


def test_the_mask_of_a_pooling(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p", "i"], **WINDOW),
        helper.make_node("Exp", ["p"], ["e"]),
        helper.make_node("MaxUnpool", ["e", "i"], ["y"], **WINDOW),
    ]
    made = model(nodes, {"x": (2, 3, 6, 8)}, ["y"])
    assert types(check(made, tmp_path)) == "Pooling Exp Upsample"
    with pytest.raises(PrototxtError, match="Dragon's Upsample"):
        load(made, tmp_path, bvlc=True)


def test_indices_that_are_read_elsewhere(tmp_path: Path) -> None:
    nodes = [helper.make_node("MaxPool", ["x"], ["p", "i"], **WINDOW), helper.make_node("Cast", ["i"], ["y"], to=1)]
    with pytest.raises(PrototxtError, match="indices"):
        load(model(nodes, {"x": (2, 3, 6, 8)}, ["y", "p"]), tmp_path)


def test_indices_of_nobody(tmp_path: Path) -> None:
    made = model([helper.make_node("MaxUnpool", ["x", "i"], ["y"], **WINDOW)],
                 {"x": (1, 1, 2, 2), "i": x(1, 1, 2, 2, kind=7)}, ["y"])  # fmt: skip
    with pytest.raises(PrototxtError, match="not those of a MaxPool"):
        load(made, tmp_path)
