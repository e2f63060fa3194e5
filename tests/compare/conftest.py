"""A drawn data set, a tiny net in its plain, split and merged form, and a comparison of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon.compare import measurements
from dragon.data import write_synthetic
from tests.compare.experiment_files import TAIL
from tests.compare.in_process import WorkerHere

NET = """
layer {{ name: "data" type: "Data" top: "data" top: "label" include {{ phase: TRAIN }}
  transform_param {{ mean_file: "mean.binaryproto" scale: 0.01 }}
  data_param {{ source: "synthetic_train_lmdb" batch_size: 20 backend: LMDB }} }}
layer {{ name: "data" type: "Data" top: "data" top: "label" include {{ phase: TEST }}
  transform_param {{ mean_file: "mean.binaryproto" scale: 0.01 }}
  data_param {{ source: "synthetic_test_lmdb" batch_size: 20 backend: LMDB }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 4 kernel_size: 5 stride: 3 bias_term: {bias} weight_filler {{ type: "xavier" }} }} }}
{norm}
layer {{ name: "relu" type: "ReLU" bottom: "{top}" top: "{top}" }}
layer {{ name: "ip" type: "InnerProduct" bottom: "{top}" top: "ip"
  inner_product_param {{ num_output: 10 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include {{ phase: TEST }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }}
"""
SPLIT = """
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "bn" scale_param { bias_term: true } }
"""
MERGED = 'layer { name: "bn" type: "BN" bottom: "conv" top: "bn" }'
SOLVER = """
net: "plain.prototxt" base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 max_iter: 10 test_interval: 5 test_iter: 2
"""
COMPARISON = """
name: A small comparison
solver: solver.prototxt
dataset: {data}
equal: [split, merged]
variants:
  - name: plain
  - name: split
    net: split.prototxt
  - name: merged
    net: merged.prototxt
"""


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    write_synthetic(folder, train=200, test=60)
    return folder


@pytest.fixture
def workers_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are done in this process; test_pool.py and test_executors.py have those of others."""
    monkeypatch.setattr("dragon.compare.pool.WorkerProcess", WorkerHere)


@pytest.fixture
def comparison(tmp_path: Path, synthetic: Path) -> Path:
    """The path of a comparison file, its nets and its solver beside it."""
    return write_comparison(tmp_path, synthetic)


@pytest.fixture
def experiment(comparison: Path) -> Path:
    """The comparison with factors, metrics and contrasts."""
    comparison.write_text(comparison.read_text().replace("equal: [split, merged]\n", "") + TAIL)
    return comparison


@pytest.fixture
def short_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "PAIR_S", 0.05)


def write_comparison(folder: Path, synthetic: Path) -> Path:
    """What `comparison` does, for fixtures of longer scopes."""
    forms = {"plain": ("true", "", "conv"), "split": ("false", SPLIT, "bn"), "merged": ("false", MERGED, "bn")}
    for name, (bias, norm, top) in forms.items():
        (folder / f"{name}.prototxt").write_text(NET.format(bias=bias, norm=norm, top=top))
    (folder / "solver.prototxt").write_text(SOLVER)
    path = folder / "small.yaml"
    path.write_text(COMPARISON.format(data=synthetic))
    return path
