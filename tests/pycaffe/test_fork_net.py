"""Methods that scripts know from two forks: backward from a layer, deconvnets, and training loops of GANs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dragon as caffe
from dragon.errors import ArrayShapeError, UnknownLayerError, UsageError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

NET = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip1" type: "InnerProduct" bottom: "data" top: "ip1" inner_product_param {
  num_output: 8 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "RELU1" }
layer { name: "ip2" type: "InnerProduct" bottom: "RELU1" top: "ip2" inner_product_param {
  num_output: 4 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "relu2" type: "ReLU" bottom: "ip2" top: "relu2" }
layer { name: "prob" type: "Softmax" bottom: "relu2" top: "prob" }
"""
DATA = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
DIFF = np.random.default_rng(1).normal(size=(2, 4)).astype(np.float32)


@pytest.fixture(params=["numpy", "auto"], autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_ENGINE", request.param)


@pytest.fixture(params=["ip1", "relu1"])
def net(request: pytest.FixtureRequest, tmp_path: Path) -> caffe.Net:
    """A net whose first ReLU is in place, or not."""
    (tmp_path / "net.prototxt").write_text(NET.replace("RELU1", request.param))
    made = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST, seed=2)
    made.blobs["data"].data[...] = DATA
    made.forward_simple()
    return made


def parts(net: caffe.Net) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Both weights, and where each ReLU lets values through."""
    first, second = net.params["ip1"][0].data, net.params["ip2"][0].data
    hidden = np.maximum(DATA @ first.T, 0)
    return first, second, hidden > 0, hidden @ second.T > 0


def test_backward_from_a_layer(net: caffe.Net) -> None:
    first, second, open1, open2 = parts(net)
    net.blobs["prob"].diff[...] = 7
    found = net.backward_from_layer("relu2", DIFF, diffs=["ip2"], zero_higher=True)
    np.testing.assert_allclose(found["data"], ((DIFF * open2) @ second * open1) @ first, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["ip2"], DIFF * open2)
    assert not net.blobs["prob"].diff.any()
    net.blobs["prob"].diff[...] = 7
    net.backward_from_layer("ip2", DIFF)
    assert (net.blobs["prob"].diff == 7).all()


def test_deconvnets(net: caffe.Net) -> None:
    first, second, open1, open2 = parts(net)
    zeiler = np.maximum(np.maximum(DIFF, 0) @ second, 0) @ first
    guided = (np.maximum((np.maximum(DIFF, 0) * open2) @ second, 0) * open1) @ first
    found = net.deconv_from_layer("relu2", DIFF)["data"].copy()
    np.testing.assert_allclose(found, zeiler, rtol=1e-4, atol=1e-5)
    found = net.deconv_from_layer("relu2", DIFF, zero_higher=True, deconv_type="Guided Backprop")["data"]
    np.testing.assert_allclose(found, guided, rtol=1e-4, atol=1e-5)
    assert not np.allclose(guided, zeiler)


def test_mistakes(net: caffe.Net) -> None:
    with pytest.raises(ArrayShapeError, match=r'diff "ip2": got shape \(4,\), expected \(2, 4\)'):
        net.backward_from_layer("ip2", DIFF[0])
    with pytest.raises(UnknownLayerError, match=r'no layer "relu3" \(did you mean'):
        net.deconv_from_layer("relu3", DIFF)
    with pytest.raises(UsageError, match='deconv_type is "Zeiler & Fergus" or "Guided Backprop", got "guided"'):
        net.deconv_from_layer("relu2", DIFF, deconv_type="guided")


def test_a_loop_that_steps_by_itself(tmp_path: Path) -> None:
    """Equals `step` where it does what that does."""
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }'
        'layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 2 dim: 1 } } }'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 1 } }'
        'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "t" top: "loss" }'
    )
    (tmp_path / "solver.prototxt").write_text(
        f'net: "{tmp_path}/net.prototxt" type: "Adam" base_lr: 0.1 momentum: 0.9 '
        'lr_policy: "step" stepsize: 2 gamma: 0.5'
    )
    one, other = (caffe.AdamSolver(str(tmp_path / "solver.prototxt")) for _ in range(2))
    for solver in (one, other):
        solver.net.blobs["x"].data[...] = DATA
        solver.net.blobs["t"].data[...] = 1
    one.step(4)
    for _ in range(4):
        other.net.forward_simple()
        other.net.clear_param_diffs()
        other.net.backward_simple()
        other.apply_update()
        other.increment_iter()
    assert other.iter == 4
    np.testing.assert_allclose(other.net.params["ip"][0].data, one.net.params["ip"][0].data, rtol=1e-5)


def test_arrays_of_several_layers_of_memory_data() -> None:
    """Scripts name the layer behind the arrays, or say its number."""
    one = 'layer { name: "NAME" type: "MemoryData" top: "NAME" top: "t_NAME" memory_data_param { %s } }'
    text = (one % "batch_size: 2 channels: 1 height: 1 width: 1").replace
    net = caffe.Net(parse_text(text("NAME", "a") + text("NAME", "b"), pb.NetParameter()), caffe.TEST)
    values = [np.full((2, 1, 1, 1), k, np.float32) for k in range(4)]
    net.set_input_arrays(values[0], values[0])
    net.set_input_arrays(values[1], values[1], 1)
    net.forward()
    assert [net.blobs[name].data.max() for name in ("a", "b")] == [0, 1]
    net.set_input_arrays(values[2], values[2], "b")
    net.set_input_arrays(values[3], values[3], layer=0)
    net.forward()
    assert [net.blobs[name].data.max() for name in ("a", "b")] == [3, 2]
    for wrong in (2, -1, "c"):
        with pytest.raises(RuntimeError, match=f"no MemoryData layer {wrong!r}: the net has a, b"):
            net.set_input_arrays(values[0], values[0], wrong)
