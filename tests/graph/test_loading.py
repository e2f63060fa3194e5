"""What a net loads and computes on the way to its first scores: what it needs, and no more."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from dragon.bases import fillers
from dragon.bases import layer as layers
from dragon.bases.layer import TEST, TRAIN
from dragon.engines.onednn.library.primitive import Primitive
from dragon.errors import DragonError
from dragon.graph.net import Net
from dragon.memory.storage import Array
from dragon.proto import binary, checksum
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.rng import Stream
from tests.engines import needs
from tests.imports import ROOT

NET = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 16 kernel_size: 3 weight_filler { type: "xavier" } bias_filler { value: 0.5 } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip2" type: "InnerProduct" bottom: "pool1" top: "ip2"
  inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "prob" type: "Softmax" bottom: "ip2" top: "prob" }
"""


def definition() -> pb.NetParameter:
    return parse_text(NET, pb.NetParameter())


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "small.caffemodel"
    Net(definition(), TEST, engine="numpy", seed=3).save(path)
    return path


def filled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The blobs that fillers write from now on."""
    found: list[str] = []

    def fill(out: Array, param: pb.FillerParameter, rng: Stream, who: str) -> None:
        found.append(who)
        fillers.fill(out, param, rng, who)

    monkeypatch.setattr(layers, "fill", fill)
    return found


def test_weights_from_a_file_are_not_filled_before(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = filled(monkeypatch)
    net = Net(definition(), TEST, weights=weights, engine="numpy", seed=4)
    net.run_forward()
    assert found == []
    assert np.array_equal(net.params["conv1"][0].peek(), Net(definition(), TEST, seed=3).params["conv1"][0].peek())


def test_parameters_that_the_file_lacks_are_those_of_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = definition()
    del part.layer[4:]
    Net(part, TEST, engine="numpy", seed=3).save(tmp_path / "part.caffemodel")
    expected = Net(definition(), TEST, engine="numpy", seed=4).params["ip2"][0].data.copy()
    found = filled(monkeypatch)
    net = Net(definition(), TEST, weights=tmp_path / "part.caffemodel", engine="numpy", seed=4)
    assert np.array_equal(net.params["ip2"][0].peek(), expected)
    assert found == ["weight of shape (5, 256)"]


def test_a_net_that_shares_parameters_fills_none(monkeypatch: pytest.MonkeyPatch) -> None:
    train = Net(definition(), TRAIN, engine="numpy", seed=4)
    found = filled(monkeypatch)
    test = Net(definition(), TEST, engine="numpy", seed=4)
    test.share_with(train)
    test.run_forward()
    assert len(found) == 4  # each of the train net's once


def test_the_checksum_of_a_file_is_computed_once(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []

    def check(file: IO[bytes], size: int, path: str) -> None:
        checked.append(path)
        checksum.check(file, size, path)

    monkeypatch.setattr(binary, "check", check)
    Net(definition(), TEST, weights=weights, engine="numpy")
    assert checked == [str(weights)]


def test_a_test_net_makes_no_primitive_of_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    needs.onednn()
    made: list[str] = []
    real = Primitive.__init__

    def init(self: Primitive, device: object, create: str, *rest: object, **more: object) -> None:
        made.append(create)
        real(self, device, create, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Primitive, "__init__", init)
    Net(definition(), TEST, engine="onednn").run_forward()
    assert [name for name in made if "convolution_forward" in name]
    assert [name for name in made if "backward" in name] == []


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_only_the_layers_of_the_net_are_loaded(engine: str, weights: Path, tmp_path: Path) -> None:
    if engine == "onednn":
        needs.onednn()
    (tmp_path / "net.prototxt").write_text(NET)
    code = (
        "import sys, dragon\n"
        "net = dragon.Net(sys.argv[1], dragon.TEST, weights=sys.argv[2], engine=sys.argv[3])\n"
        "net.run_forward()\n"
        "print(*sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "net.prototxt"), str(weights), engine]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    types = {name.removeprefix("dragon.layers.") for name in loaded if name.startswith("dragon.layers.")}
    assert {"convolution", "relu", "pooling", "inner_product", "softmax", "input"} <= types
    assert types <= {"convolution", "relu", "pooling", "inner_product", "softmax", "input", "elu", "eltwise", "split"}
    unwanted = {"numpy.random", "yaml", "hashlib", "importlib.metadata", "tempfile", "fractions", "dragon.data"}
    unwanted |= {"dragon.bases.source", "dragon.solver", "dragon.proto.net_text", "dragon.files.hdf5"}
    assert loaded & unwanted == set()


def test_a_filler_that_was_interrupted_gives_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-C in a notebook, whose net stays."""
    expected = Net(definition(), TEST, engine="numpy", seed=1).params["ip2"][0].data.copy()
    blob = Net(definition(), TEST, engine="numpy", seed=1).params["ip2"][0]
    real = fillers.FILLERS["gaussian"]

    def interrupted(out: Array, param: pb.FillerParameter, stream: Stream) -> None:
        real(out, param, stream)
        monkeypatch.setitem(fillers.FILLERS, "gaussian", real)
        raise KeyboardInterrupt

    monkeypatch.setitem(fillers.FILLERS, "gaussian", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _ = blob.data
    np.testing.assert_array_equal(blob.data, expected)


def test_a_parameter_without_its_value_yet_can_be_pickled() -> None:
    expected = Net(definition(), TEST, engine="numpy", seed=1).params["ip2"][0].data
    blob = Net(definition(), TEST, engine="numpy", seed=1).params["ip2"][0]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(blob)).data, expected)
    np.testing.assert_array_equal(blob.data, expected)


def test_a_filler_that_fails_does_so_while_the_net_is_made() -> None:
    """NumPy refuses a width of -0.0."""
    with pytest.raises(DragonError, match='layer "ip2"'):
        Net(parse_text(NET.replace("std: 0.1", "std: -0.0"), pb.NetParameter()), TEST, engine="numpy", seed=1)
