"""A net that differs from its model is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from dragon.errors import NumericError, PrototxtError, UsageError
from dragon.importing.verify import verify
from tests.importing.helpers import c, load, model

NODES = [helper.make_node("MatMul", ["x", "w"], ["a"], name="fc"), helper.make_node("Relu", ["a"], ["y"])]


def made() -> onnx.ModelProto:
    return model(NODES, {"x": (2, 3)}, ["y", "a"], {"w": c(3, 4)})


def test_equal_ones(tmp_path: Path) -> None:
    found = verify(load(made(), tmp_path))
    assert [one.output for one in found] == ["y", "a"]
    assert all(one.relative < 1e-6 and one.largest > 0 for one in found)


def test_another_weight(tmp_path: Path) -> None:
    imported = load(made(), tmp_path)
    imported.model.arrays["fc"][0] += np.float32(0.01)
    with pytest.raises(NumericError, match=r'the net differs from the model: output ".*" by 0.0'):
        verify(imported)


def test_nan_in_one_of_them(tmp_path: Path) -> None:
    imported = load(made(), tmp_path)
    imported.model.arrays["fc"][0][0, 0] = np.nan
    with pytest.raises(NumericError, match="by inf of"):
        verify(imported)


def test_a_model_that_cannot_be_run(tmp_path: Path) -> None:
    imported = load(made(), tmp_path)
    imported.source.graph.node[0].op_type = "Nothing"
    with pytest.raises(UsageError, match=r"the ONNX model cannot be run to compare: .*; --no-verify writes without it"):
        verify(imported)


def test_a_net_that_cannot_be_run(tmp_path: Path) -> None:
    imported = load(made(), tmp_path)
    imported.model.net.layer[1].type = "Nothing"
    with pytest.raises(PrototxtError, match="the imported net cannot be run: layer"):
        verify(imported)
