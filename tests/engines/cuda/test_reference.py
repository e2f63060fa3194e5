"""BVLC Caffe's numbers on the emulated GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reference import test_layers, test_solvers

pytestmark = pytest.mark.usefixtures("cuda")


@pytest.mark.parametrize("name", test_layers.CASES)
def test_layer(name: str, tmp_path: Path) -> None:
    net = test_layers.check_case(name, "cuda", tmp_path)
    for layer, note in zip(net.layers, net.executor.describe(), strict=True):
        assert layer.is_source or not note.startswith("host"), (layer.where, note)


@pytest.mark.parametrize("name", test_solvers.CASES)
def test_solver(name: str, tmp_path: Path) -> None:
    test_solvers.test_case(name, "cuda", tmp_path)
