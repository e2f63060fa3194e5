from __future__ import annotations

import gc
from pathlib import Path

import h5py
import numpy as np
import pytest

from dragon.errors import DataError, PrototxtError, ShapeError
from tests.layers.helpers import One

X = np.random.default_rng(1).standard_normal((2, 3)).astype(np.float32)


def make(path: Path) -> One:
    return One(f'type: "HDF5Output" hdf5_output_param {{ file_name: "{path}" }}', X, [1, 2], n_top=0)


def run(one: One) -> None:
    one.layer.reshape(one.bottom, one.top)
    one.layer.forward(one.bottom, one.top)


def test_runs_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    one = make(path)
    run(one)
    one.bottom[0].data[...] = 2 * X
    run(one)
    assert not path.exists()  # only whole files have the name
    one.layer.close()
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["data"], np.concatenate([X, 2 * X]))
        assert file["label"][()].tolist() == [1, 2, 1, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["out.h5"]


def test_a_forgotten_layer_finishes_its_file(tmp_path: Path) -> None:
    one = make(tmp_path / "out.h5")
    run(one)
    del one
    gc.collect()
    with h5py.File(tmp_path / "out.h5") as file:
        assert len(file["data"]) == 2


def test_nothing_is_written_without_a_run(tmp_path: Path) -> None:
    make(tmp_path / "out.h5").layer.close()
    assert not list(tmp_path.iterdir())


def test_messages(tmp_path: Path) -> None:
    with pytest.raises(PrototxtError, match="needs a file_name"):
        One('type: "HDF5Output"', X, [1, 2], n_top=0)
    with pytest.raises(DataError, match=r"nowhere/out\.h5 cannot be written: the folder .*nowhere.? does not exist"):
        make(tmp_path / "nowhere" / "out.h5")
    with pytest.raises(ShapeError, match="as many items"):
        One('type: "HDF5Output" hdf5_output_param { file_name: "x" }', X, [1], n_top=0)
    one = make(tmp_path / "out.h5")
    run(one)
    one.bottom[0].reshape(2, 4)
    with pytest.raises(ShapeError, match=r"data had items of shape \(3,\), got \(4,\)"):
        run(one)
    one.layer.close()


def test_two_layers_write_at_once(tmp_path: Path) -> None:
    ones = [make(tmp_path / f"{name}.h5") for name in "ab"]
    for one in ones:
        run(one)
    for one in ones:
        one.layer.close()
    for name in "ab":
        with h5py.File(tmp_path / f"{name}.h5") as file:
            np.testing.assert_array_equal(file["data"][()], X)
