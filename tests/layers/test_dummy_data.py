"""DummyData: constant fillers fill once, and scripts may write into such tops; random ones fill in every forward."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

CONSTANT = 'data_filler { type: "constant" value: 2 }'
RANDOM = 'data_filler { type: "gaussian" std: 1 }'
CASES = {"one filler": CONSTANT, "two fillers": CONSTANT * 2, "beside a random one": CONSTANT + RANDOM}
ENGINES = ["numpy", "onednn"]


def net_of(fillers: str, engine: str, phase: int, in_place: bool = False, rest: str = "") -> Net:
    top = "x" if in_place else "y"
    text = f"""
    layer {{ name: "x" type: "DummyData" top: "x" top: "z"
             dummy_data_param {{ {fillers} shape {{ dim: [2, 3] }} shape {{ dim: [2, 3] }} }} }}
    layer {{ name: "y" type: "Power" bottom: "x" top: "{top}" power_param {{ scale: 2 shift: 1 }} }}
    layer {{ name: "quiet" type: "Silence" bottom: "z" }} {rest}
    """
    return Net(parse_text(text, pb.NetParameter()), phase=phase, engine=engine, seed=1)


@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("fillers", CASES)
def test_a_script_writes_into_a_constant_top(fillers: str, engine: str, phase: int) -> None:
    net = net_of(CASES[fillers], engine, phase)
    np.testing.assert_array_equal(net.blobs["x"].data, np.full((2, 3), 2))  # filled before the first forward
    np.testing.assert_array_equal(net.forward(blobs=["x"])["y"], np.full((2, 3), 5))
    for value in (7, 8):
        net.blobs["x"].data[...] = value
        for _ in range(2):
            np.testing.assert_array_equal(net.forward()["y"], np.full((2, 3), 2 * value + 1))
            np.testing.assert_array_equal(net.blobs["x"].data, np.full((2, 3), value))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_random_top_beside_it_is_filled_anew(engine: str) -> None:
    net = net_of(CASES["beside a random one"], engine, TRAIN)
    np.testing.assert_array_equal(net.blobs["z"].data, 0)  # as in Caffe, first filled by a forward
    net.forward()
    first = net.blobs["z"].data.copy()
    net.blobs["z"].data[...] = 9
    net.forward()
    assert (net.blobs["z"].data != 9).all()
    assert (net.blobs["z"].data != first).any()


@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("fillers", CASES)
def test_a_layer_in_place_goes_on_with_its_own_result(fillers: str, engine: str, phase: int) -> None:
    net = net_of(CASES[fillers], engine, phase, in_place=True)
    for value in (5, 11, 23):  # nobody fills the top again
        np.testing.assert_array_equal(net.forward()["x"], np.full((2, 3), value))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("fillers", CASES)
def test_a_top_that_grows_is_filled_unless_it_was_written(fillers: str, engine: str) -> None:
    net = net_of(CASES[fillers], engine, TRAIN)
    net.forward()
    net.blobs["x"].reshape(4, 5)
    np.testing.assert_array_equal(net.forward()["y"], np.full((4, 5), 5))
    net.blobs["x"].reshape(1, 3)
    np.testing.assert_array_equal(net.forward()["y"], np.full((1, 3), 5))
    image = np.arange(42.0).reshape(6, 7)
    net.blobs["x"].reshape(6, 7)
    net.blobs["x"].data[...] = image
    net.reshape()
    for _ in range(2):
        np.testing.assert_array_equal(net.forward()["y"], 2 * image + 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_top_that_several_layers_read(engine: str) -> None:
    more = 'layer { name: "w" type: "Power" bottom: "x" top: "w" power_param { scale: 3 } }'
    net = net_of(CONSTANT, engine, TEST, rest=more)
    net.blobs["x"].data[...] = 4
    for _ in range(2):
        out = net.forward()
        assert (out["y"].tolist(), out["w"].tolist()) == ([[9] * 3] * 2, [[12] * 3] * 2)


def test_no_filler_is_a_constant_zero() -> None:
    net = net_of("", "numpy", TRAIN)
    net.blobs["x"].data[...] = 3
    np.testing.assert_array_equal(net.forward()["y"], np.full((2, 3), 7))
