"""A run with a NaN in its data ends with an error that names the layer; NaN weights are never saved as a success."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.errors import NumericError
from tests.helpers import solver_param, toy_solver

ENGINES = pytest.mark.parametrize("engine", ["numpy", "onednn"])

NET = """
layer { name: "data" type: "Input" top: "data" top: "label"
        input_param { shape { dim: 64 dim: 3 dim: 12 dim: 12 } shape { dim: 64 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 16 kernel_size: 5 pad: 2 weight_filler { type: "xavier" } } }
FIRST
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
        convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool2" top: "ip"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" }
"""
RELU = 'layer { name: "relu1" type: "ReLU" bottom: "BLOB" top: "BLOB" }\n'
POOL = (
    'layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }\n'
)
FIRST = {
    "pooling, ReLU": POOL + RELU.replace("BLOB", "pool1"),
    "ReLU, pooling": RELU.replace("BLOB", "conv1") + POOL,
    "BatchNorm, ReLU, pooling": 'layer { name: "norm1" type: "BatchNorm" bottom: "conv1" top: "conv1" }\n'
    + RELU.replace("BLOB", "conv1")
    + POOL,
}


@ENGINES
@pytest.mark.parametrize("first", FIRST)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_one_pixel_of_one_image(engine: str, first: str, tmp_path: Path) -> None:
    param = solver_param(
        NET.replace("FIRST", FIRST[first]), snapshot_prefix=str(tmp_path / "run"), snapshot_after_train=True
    )
    solver = dragon.get_solver(param, engine=engine)
    rng = np.random.default_rng(0)
    solver.net.blobs["data"].data[...] = rng.standard_normal((64, 3, 12, 12))
    solver.net.blobs["label"].data[...] = rng.integers(0, 4, 64)
    solver.step(2)
    solver.net.blobs["data"].data[40, 1, 5, 6] = np.nan
    with pytest.raises(
        NumericError, match=r'iteration 2: loss is nan; first in layer "data" \(Input\): its top "data"'
    ):
        solver.solve()
    assert not list(tmp_path.glob("*.caffemodel"))


@ENGINES
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_not_saved(engine: str, bad: float, tmp_path: Path) -> None:
    solver = toy_solver(tmp_path, engine)
    solver.step(1)
    layer = next(iter(solver.net.params))
    solver.net.params[layer][0].data.reshape(-1)[0] = bad
    with pytest.raises(NumericError, match=rf'iteration 1: layer "{layer}" .*: its parameter blob 0 is not finite'):
        solver.snapshot()
    assert not list(tmp_path.glob("*.caffemodel"))


@ENGINES
def test_the_weights_are_checked_at_the_end_of_a_run_without_snapshots(engine: str) -> None:
    """The last update of all made them NaN, after a finite loss."""
    solver = toy_solver(engine=engine, max_iter=3)

    def spoil() -> None:
        if solver.iter == 2:
            next(iter(solver.net.params.values()))[0].diff[...] = np.nan

    solver.add_callback(None, spoil)
    with pytest.raises(NumericError, match=r"iteration 3: .* is not finite"):
        solver.solve()
