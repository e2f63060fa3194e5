"""Small nets and solvers that several tests train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import dragon
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

__all__ = ["STATE_FORMATS", "TRAINABLE", "solver_param", "toy_solver"]

STATE_FORMATS = [pb.SolverParameter.BINARYPROTO, pb.SolverParameter.HDF5]

# random input, dropout, batch norm: everything that a resumed run must bring back
TRAINABLE = """
name: "toy"
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param {
    shape { dim: 8 dim: 2 dim: 5 dim: 5 } shape { dim: 8 }
    data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 1 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BN" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def solver_param(net: str = TRAINABLE, **settings: Any) -> pb.SolverParameter:
    """A definition with the net inside; settings override base_lr .05, momentum .9 and max_iter 20."""
    base: dict[str, Any] = {"base_lr": 0.05, "momentum": 0.9, "lr_policy": "fixed", "max_iter": 20, "random_seed": 5}
    param = pb.SolverParameter(**{**base, "snapshot_after_train": False, **settings})
    parse_text(net, param.net_param)
    return param


def toy_solver(folder: Path | None = None, engine: str = "numpy", **settings: Any) -> dragon.Solver:
    """A solver over TRAINABLE; with `folder` its snapshots go there."""
    if folder is not None:
        settings.setdefault("snapshot_prefix", str(folder / "toy"))
    return dragon.get_solver(solver_param(**settings), engine=engine)


def weights_of(net: dragon.Net) -> dict[str, np.ndarray[Any, Any]]:
    """A copy of every stored blob, statistics included."""
    return {f"{name}/{i}": blob.peek().copy() for name, blobs in net.params.items() for i, blob in enumerate(blobs)}
