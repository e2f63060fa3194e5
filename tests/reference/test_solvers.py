"""Solvers against BVLC Caffe: losses of 12 steps, weights after 1, 2, 5 and 12, from the same start and data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dragon
from tests.reference.test_layers import FOLDER, is_close

CASES = sorted(path.stem for path in FOLDER.glob("solver_*.npz"))
ENGINES = ["numpy", "auto"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", CASES)
def test_case(name: str, engine: str, tmp_path: Path) -> None:
    case = dict(np.load(FOLDER / f"{name}.npz", allow_pickle=False))
    (tmp_path / "net.prototxt").write_text(str(case["net"]))
    settings = 'max_iter: 12 display: 0 snapshot_after_train: false solver_mode: CPU random_seed: 7 net: "net.prototxt"'
    path = tmp_path / "solver.prototxt"
    path.write_text(f"{settings} {case['solver']}")
    solver = dragon.get_solver(str(path), engine=engine)
    solver.net.blobs["data"].data[...] = case["data"]
    solver.net.blobs["label"].data[...] = case["label"]
    names = [(layer, int(index)) for layer, index in (str(n).split(":") for n in case["names"])]
    for layer, i in names:
        solver.net.params[layer][i].data[...] = case[f"w0_{layer}_{i}"]
    for iteration in range(1, 13):
        solver.step(1)
        loss = float(solver.net.blobs["loss"].data)
        assert abs(loss - case["losses"][iteration - 1]) < 3e-4, f"loss at step {iteration}"
        for layer, i in names:
            key = f"w{iteration}_{layer}_{i}"
            if key in case:
                is_close(solver.net.params[layer][i].data, case[key], 5e-4, key)


def test_all_cases_are_here() -> None:
    assert len(CASES) == 8
