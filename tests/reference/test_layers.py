"""Layers against numbers that BVLC Caffe (CPU, float32) gave for the same nets.

A case holds a prototxt whose layer "case" is the one in question, its inputs and parameters, what forward made of
them, and, where there is a backward, the diffs put on the tops and what came of those.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dragon

FOLDER = Path(__file__).parent
CASES = sorted(path.stem for path in FOLDER.glob("*.npz") if not path.stem.startswith("solver_"))


def is_close(actual: Any, expected: Any, tolerance: float, what: str) -> None:
    """Errors are in relation to the largest value."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, what
    if actual.size:
        error = np.abs(actual - expected).max() / max(1e-2, np.abs(expected).max())
        assert error <= tolerance, f"{what}: off by {error:g}"


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
@pytest.mark.parametrize("name", CASES)
def test_case(name: str, engine: str, tmp_path: Path) -> None:
    check_case(name, "numpy", tmp_path)


def check_case(name: str, engine: str, tmp_path: Path) -> dragon.Net:
    """Run a case on an engine and compare everything that it holds; the net."""
    case = dict(np.load(FOLDER / f"{name}.npz", allow_pickle=False))
    path = tmp_path / "case.prototxt"
    path.write_text(str(case["prototxt"]))
    tolerance = float(case["tol"])
    phase = dragon.TRAIN if str(case["phase"]) == "TRAIN" else dragon.TEST
    net = dragon.Net(str(path), phase, engine=engine)
    for bottom in case["bottoms"]:
        raw = f"raw_{bottom}"
        net.blobs[raw if raw in net.blobs else str(bottom)].data[...] = case[f"in_{bottom}"]
    params = list(net.params.get("case", []))
    for i, blob in enumerate(params):
        blob.data[...] = case[f"param{i}"].reshape(blob.shape)
    net.forward()
    for top in case["tops"]:
        is_close(net.blobs[top].data, case[f"out_{top}"], tolerance, f"top {top}")
    for i, blob in enumerate(params):
        is_close(blob.data, case[f"param{i}_after"], tolerance, f"blob {i} after forward")
    if not case["backward"]:
        return net
    for top in case["tops"]:
        if f"outdiff_{top}" in case:
            net.blobs[top].diff[...] = case[f"outdiff_{top}"]
    for blob in params:
        blob.diff[...] = 0
    net.backward()
    for bottom in case["bottoms"]:
        if f"indiff_{bottom}" in case:
            is_close(net.blobs[bottom].diff, case[f"indiff_{bottom}"], tolerance, f"diff of {bottom}")
    for i, blob in enumerate(params):
        is_close(blob.diff, case[f"param{i}_diff"], tolerance, f"diff of blob {i}")
    return net
