"""BVLC Caffe's numbers on the emulated GPU, and that no layer fetches arrays to the host meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.cuda.conftest import ON_A_GPU
from tests.engines.cuda.emulation import standin
from tests.reference import test_layers, test_solvers

pytestmark = pytest.mark.usefixtures("cuda")


@pytest.mark.parametrize("name", test_layers.CASES)
def test_layer(name: str, tmp_path: Path) -> None:
    net = test_layers.check_case(name, "cuda", tmp_path)
    for layer, note in zip(net.layers, net.executor.describe(), strict=True):
        assert layer.is_source or not note.startswith("host"), (layer.where, note)
    if ON_A_GPU:
        return
    net.run_forward()  # takes what the comparison left on the host
    fetched = []
    for run in (net.run_forward, net.run_backward):
        standin.counts.clear()
        run()
        fetched.append(standin.counts["to host"])
    assert fetched == [0, 0]


@pytest.mark.parametrize("name", test_solvers.CASES)
def test_solver(name: str, tmp_path: Path) -> None:
    test_solvers.test_case(name, "cuda", tmp_path)
