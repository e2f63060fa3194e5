"""Scripts of the pycaffe kind, as users wrote them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dragon as caffe
from dragon import layers as L
from dragon import params as P
from dragon.errors import ArrayShapeError, ShapeError, UsageError
from dragon.proto import dragon_pb2 as pb

FULLY_CONNECTED = """
name: "classes"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } bias_filler { value: 0.1 } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "fc2" type: "InnerProduct" bottom: "conv1" top: "fc2"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc2" top: "prob" }
"""
CONVOLUTIONAL = (
    FULLY_CONNECTED.replace('"fc2"', '"fc2-conv"')
    .replace("InnerProduct", "Convolution")
    .replace("inner_product_param { num_output: 5", "convolution_param { num_output: 5 kernel_size: 6")
)


@pytest.fixture(autouse=True)
def reference_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_ENGINE", "numpy")


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "net.prototxt"
    path.write_text(FULLY_CONNECTED)
    return str(path)


def test_net_surgery_casts_inner_products_to_convolutions(tmp_path: Path, model: str) -> None:
    net = caffe.Net(model, caffe.TEST)
    net.save(str(tmp_path / "net.caffemodel"))
    (tmp_path / "conv.prototxt").write_text(CONVOLUTIONAL)
    full = caffe.Net(str(tmp_path / "conv.prototxt"), str(tmp_path / "net.caffemodel"), caffe.TEST)
    weights, bias = net.params["fc2"][0].data, net.params["fc2"][1].data
    full.params["fc2-conv"][0].data.flat = weights.flat  # type: ignore[misc]  # as scripts write it
    full.params["fc2-conv"][1].data[...] = bias
    full.save(str(tmp_path / "full.caffemodel"))

    image = np.random.default_rng(0).normal(size=(2, 3, 8, 8))
    expected = net.forward(data=image)["prob"]
    cast = caffe.Net(str(tmp_path / "conv.prototxt"), str(tmp_path / "full.caffemodel"), caffe.TEST)
    np.testing.assert_allclose(cast.forward(data=image)["prob"][:, :, 0, 0], expected, rtol=1e-5)
    cast.blobs["data"].reshape(1, 3, 20, 16)
    cast.reshape()
    assert cast.forward_all(data=np.zeros((1, 3, 20, 16)))["prob"].shape == (1, 5, 13, 9)


def test_every_form_of_the_constructor(tmp_path: Path, model: str) -> None:
    first = caffe.Net(model, caffe.TEST)
    weights = str(tmp_path / "w.caffemodel")
    first.save(weights)
    expected = first.params["fc2"][0].data
    for net in (
        caffe.Net(model, weights, caffe.TEST),
        caffe.Net(model, caffe.TEST, weights=weights),
        caffe.Net(model, caffe.TEST, 0, [], weights),
        caffe.Net(network_file=model, weights=weights, phase=caffe.TEST),
        caffe.Net(model, phase=caffe.TEST, level=0, stages=["a"], weights=weights),
        caffe.Net(first.param, weights, caffe.TEST),
    ):
        assert net.phase == caffe.TEST
        np.testing.assert_array_equal(net.params["fc2"][0].data, expected)
    staged = model + ".staged"
    Path(staged).write_text(FULLY_CONNECTED.replace('name: "prob"', 'name: "prob" include { min_level: 2 stage: "x" }'))
    assert "prob" in caffe.Net(staged, caffe.TEST, 2, ["x"]).blobs
    assert "prob" not in caffe.Net(staged, caffe.TEST, 1, ["x"]).blobs


def test_what_a_script_looks_at(model: str) -> None:
    net = caffe.Net(model, caffe.TEST)
    assert list(net.blobs) == net._blob_names == ["data", "conv1", "fc2", "prob"]
    assert (net.inputs, net.outputs) == (["data"], ["prob"])
    assert ([net._blob_names[i] for i in net._inputs], net._outputs) == (["data"], [3])
    assert list(net._layer_names) == ["data", "conv1", "relu1", "fc2", "prob"]
    assert net.layers[1].type == "Convolution"
    assert [b.data.shape for b in net.layers[1].blobs] == [(4, 3, 3, 3), (4,)]
    assert net.layer_dict["fc2"].type == "InnerProduct"
    assert (net.top_names["fc2"], net.bottom_names["fc2"]) == (["fc2"], ["conv1"])
    assert ([net._bottom_ids(3), net._top_ids(3)]) == ([[1], [2]])
    blob = net.blobs["data"]
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (2, 3, 8, 8, 384)
    other = caffe.Net(model, caffe.TEST)
    other.share_with(net)
    net.params["fc2"][1].data[...] = 7
    assert (other.params["fc2"][1].data == 7).all()
    assert {"Convolution", "Python", "BN"} <= set(caffe.layer_type_list())


def test_partial_runs_and_wording_of_errors(model: str) -> None:
    net = caffe.Net(model, caffe.TEST)
    net.blobs["data"].data[...] = 1
    assert set(net.forward(end="relu1")) == {"conv1"}
    assert set(net.forward(start="fc2", blobs=["fc2"])) == {"prob", "fc2"}
    with pytest.raises(UsageError, match="Input blob arguments do not match net inputs"):
        net.forward(dat=np.zeros((2, 3, 8, 8)))
    with pytest.raises(ShapeError, match="is not batch sized"):
        net.forward(data=np.zeros((1, 3, 8, 8)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((1, 4)), r"is not batch sized: \(1, 4\), expected \(2, 4\)"),
        (np.zeros((2, 5)), r"got shape \(2, 5\), expected \(2, 4\)"),
        (np.full((2, 4), "a"), "got values of type <U1, expected numbers"),
        (np.full((2, 4), 1j), "got values of type complex128, expected numbers"),
    ],
)
def test_arrays_for_inputs_and_diffs_that_do_not_fit(tmp_path: Path, value: Any, message: str) -> None:
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 } } }'
    text += 'layer { name: "relu" type: "ReLU" bottom: "x" top: "y" }'
    (tmp_path / "net.prototxt").write_text(f"force_backward: true {text}")
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN)
    with pytest.raises(ArrayShapeError, match=f'input "x".*{message}'):
        net.forward(x=value)
    net.forward()
    with pytest.raises(ArrayShapeError, match=f'diff "y".*{message}'):
        net.backward(y=value)


LOSS_LAYER = """
import caffe
import numpy as np

class Euclidean(caffe.Layer):
    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise Exception("Need two inputs to compute distance.")

    def reshape(self, bottom, top):
        self.diff = np.zeros_like(bottom[0].data, dtype=np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.diff[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.diff ** 2) / bottom[0].num / 2.

    def backward(self, top, propagate_down, bottom):
        for i, sign in enumerate((1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * self.diff / bottom[i].num
"""


def linear_net(loss: str, **settings: object) -> pb.NetParameter:
    n = caffe.NetSpec()
    noise = {"type": "gaussian", "std": 1}
    n.data, n.target = L.DummyData(ntop=2, shape=[{"dim": [6, 4]}, {"dim": [6, 2]}], data_filler=[noise, noise])
    n.ip = L.InnerProduct(n.data, num_output=2, weight_filler={"type": "constant", "value": 0.5})
    n.loss = getattr(L, loss)(n.ip, n.target, loss_weight=1, **settings)
    net: pb.NetParameter = n.to_proto()
    return net


def test_a_loss_layer_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "euclidean_of_the_test.py").write_text(LOSS_LAYER)
    monkeypatch.chdir(tmp_path)
    mine = caffe.Net(linear_net("Python", module="euclidean_of_the_test", layer="Euclidean"), caffe.TRAIN, seed=3)
    theirs = caffe.Net(linear_net("EuclideanLoss"), caffe.TRAIN, seed=3)
    for net in (mine, theirs):
        net.forward()
        net.backward()
    np.testing.assert_allclose(mine.blobs["loss"].data, theirs.blobs["loss"].data, rtol=1e-5)
    np.testing.assert_allclose(mine.params["ip"][0].diff, theirs.params["ip"][0].diff, rtol=1e-5)
    assert np.abs(mine.params["ip"][0].diff).max() > 0


def write_solver(folder: Path, **more: object) -> str:
    (folder / "train.prototxt").write_text(str(linear_net("EuclideanLoss")))
    lines = {"net": '"train.prototxt"', "base_lr": 0.1, "lr_policy": '"fixed"', "momentum": 0.9, "max_iter": 30, **more}
    path = folder / "solver.prototxt"
    path.write_text("\n".join(f"{k}: {v}" for k, v in lines.items()))
    return str(path)


def test_a_solver_loop_with_callbacks(tmp_path: Path) -> None:
    path = write_solver(tmp_path, random_seed=5, snapshot_prefix=f'"{tmp_path}/s"', display=7, test_iter=1)
    solver = caffe.get_solver(path)
    assert isinstance(solver, caffe.SGDSolver)
    assert solver.param.base_lr == pytest.approx(0.1)
    assert (solver.param.display, solver.param.max_iter) == (7, 30)
    told: list[tuple[str, int]] = []
    solver.add_callback(lambda: told.append(("start", solver.iter)), lambda: told.append(("gradients", solver.iter)))
    losses = []
    for _ in range(5):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    assert solver.iter == 5
    assert told == [(what, i) for i in range(5) for what in ("start", "gradients")]
    state = solver.snapshot()
    solver.step(2)
    after = solver.net.params["ip"][0].data.copy()
    again = caffe.SGDSolver(path)
    again.restore(state or f"{tmp_path}/s_iter_5.solverstate")
    assert again.iter == 5
    again.step(2)
    np.testing.assert_array_equal(again.net.params["ip"][0].data, after)
    assert len(solver.test_nets) == 1
    net = caffe.Net(str(tmp_path / "train.prototxt"), caffe.TEST)
    solver.share_weights(net)
    np.testing.assert_array_equal(net.params["ip"][0].data, after)
    solver.solve()
    assert solver.iter == 30


def test_apply_update_steps_with_the_gradients_at_hand(tmp_path: Path) -> None:
    solver = caffe.NesterovSolver(write_solver(tmp_path, momentum=0))
    before = solver.net.params["ip"][0].data.copy()
    solver.net.params["ip"][0].diff[...] = 2
    solver.apply_update()
    np.testing.assert_allclose(solver.net.params["ip"][0].data, before - 0.2, rtol=1e-5)


def test_functions_of_several_processes_accept_one() -> None:
    assert (caffe.solver_count(), caffe.solver_rank(), caffe.has_nccl()) == (1, 0, False)
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)
    for several in (False, True):
        caffe.set_multiprocess(several)
    with pytest.raises(UsageError, match="one process"):
        caffe.set_solver_count(2)
    with pytest.raises(UsageError, match="one process"):
        caffe.set_solver_rank(1)


def test_init_log_shows_from_its_level() -> None:
    code = "import dragon as c; c.init_log(0); c.log('seen'); c.init_log(2); c.log('hidden')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "seen" in done.stderr
    assert "hidden" not in done.stderr


def test_timer() -> None:
    timer = caffe.Timer()
    timer.start()
    timer.stop()
    assert 0 <= timer.s < 1
    assert timer.us == pytest.approx(timer.ms * 1000) == pytest.approx(timer.s * 1e6)
    measured = timer.s
    timer.stop()
    assert timer.s == measured
    never_started = caffe.Timer()
    never_started.stop()
    assert never_started.s == 0


def test_the_name_caffe_is_this_package_and_not_a_second_copy() -> None:
    code = """
import dragon
from dragon.pycaffe import alias
alias.install()
import caffe, caffe.io, caffe.net_spec
import caffe.proto.caffe_pb2 as pb2
from caffe import layers as L, params as P, to_proto, NetSpec
from caffe.proto import caffe_pb2
from caffe.coord_map import crop
import dragon.io, dragon.proto.caffe_pb2
assert caffe is dragon and caffe.io is dragon.io and pb2 is dragon.proto.caffe_pb2 and caffe_pb2 is pb2
assert dragon.io.__spec__.name == "dragon.pycaffe.io" and dragon.__spec__.name == "dragon"
assert isinstance(L.Input(), dragon.net_spec.Top)
import importlib
importlib.reload(dragon.io)
try:
    import caffe.nothing
except ModuleNotFoundError as error:
    assert "caffe.nothing" in str(error)
else:
    raise SystemExit("caffe.nothing was found")
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_pooling_constants() -> None:
    assert P.Pooling.AVE == 1
    assert P.Data.LMDB == 1
    with pytest.raises(AttributeError):
        _ = P.NoSuch.MAX  # type: ignore[attr-defined]
