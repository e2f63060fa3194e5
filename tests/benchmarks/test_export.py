"""Rows of the tables of exported nets."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from benchmarks.export import _far, exact_row, row


def test_rows() -> None:
    cells = row("cifar10_quick").split(" | ")
    assert cells[:2] == ["| cifar10_quick", "1x3x32x32"]
    assert re.fullmatch(r"\d\.\de-0[678]", cells[5])
    name, ours, theirs, *_ = exact_row("cifar10_quick").split(" | ")
    assert name == "| cifar10_quick"
    for cell in (ours, theirs):  # float32 is near float64, and not the same
        assert re.fullmatch(r"\d\.\de-0[678], 0 %", cell)


def test_how_far_an_output_is() -> None:
    expected = {"a": np.array([1.0, 2.0, 4.0]), "b": np.zeros((2, 7))}
    assert _far({"a": np.array([1.0, 2.0, 4.4]), "b": np.zeros((2, 7))}, expected) == "1.0e-01, 33 %"
    assert _far({"a": expected["a"], "b": np.zeros((3, 7))}, expected) == "(3, 7), float64 (2, 7)"
