"""A forward that backward runs for itself leaves nothing behind, even where a layer refuses its data."""

from __future__ import annotations

from pathlib import Path

import pytest

import dragon
from dragon.errors import DataError

NET = """
force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
layer { name: "drop" type: "Dropout" bottom: "x" top: "drop" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "drop" bottom: "label" top: "loss" }
"""


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_blobs_and_random_streams_are_as_before(tmp_path: Path, engine: str) -> None:
    (tmp_path / "net.prototxt").write_text(NET)
    net = dragon.Net(str(tmp_path / "net.prototxt"), phase=dragon.TRAIN, engine=engine, seed=3)
    net.blobs["label"].data[...] = 99
    net.blobs["drop"].data[...] = 7
    with pytest.raises(DataError, match="label 99"):
        net.backward()
    assert (net.blobs["drop"].data == 7).all()
    assert net.layer_dict["drop"].rng.draws == 0
