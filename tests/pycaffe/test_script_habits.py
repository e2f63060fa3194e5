"""What widely used scripts for pycaffe do besides the ordinary, on the reference and on the engine they get."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dragon as caffe
from dragon.errors import ShapeError
from dragon.proto import caffe_pb2
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

CLASSES = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 12 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


@pytest.fixture(params=["numpy", "auto"], autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_ENGINE", request.param)


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "net.prototxt"
    path.write_text("force_backward: true" + CLASSES)
    return str(path)


@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
def test_dreams_take_other_sizes_than_the_classifier_above(model: str, phase: int) -> None:
    """Layers behind `end` never run: that they cannot take the size is nobody's business."""
    net = caffe.Net(model, phase, seed=1)
    image = np.random.default_rng(2).normal(size=(1, 3, 20, 16)).astype(np.float32)
    source, target = net.blobs["data"], net.blobs["pool"]
    source.reshape(1, 3, 20, 16)
    source.data[...] = image
    energies = []
    for _ in range(3):
        net.forward(end="pool")
        energies.append(float((target.data**2).sum()))
        target.diff[:] = target.data
        net.backward(start="pool")
        source.data[:] += 0.05 * source.diff / np.abs(source.diff).mean()
    assert energies[0] < energies[1] < energies[2]
    with pytest.raises(ShapeError, match="ip"):
        net.forward()
    source.reshape(1, 3, 12, 12)
    whole = net.forward(data=image[:, :, :12, :12])["prob"]
    np.testing.assert_allclose(whole, caffe_forward(model, phase, image[:, :, :12, :12]), rtol=1e-5)


def caffe_forward(model: str, phase: int, image: np.ndarray) -> np.ndarray:
    return caffe.Net(model, phase, seed=1).forward(data=image)["prob"]


PROPOSALS = """
import caffe
import numpy as np

class Rows(caffe.Layer):
    def setup(self, bottom, top):
        self.rows = int(self.param_str_)  # as the layers of Faster R-CNN spell it
        top[0].reshape(1, 5)

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        top[0].reshape(self.rows, 5)
        top[0].data[...] = np.arange(5 * self.rows).reshape(-1, 5)

    def backward(self, top, propagate_down, bottom):
        pass

class Labels(Rows):
    def setup(self, bottom, top):
        self.rows = int(self.param_str)
        top[0].reshape(1)

    def forward(self, bottom, top):
        top[0].reshape(self.rows)
        top[0].data[...] = 0
"""


def test_tops_take_their_shape_when_a_layer_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two layers in Python the counts disagree: labels have theirs already, rows not yet."""
    (tmp_path / "rows_of_the_test.py").write_text(PROPOSALS)
    monkeypatch.chdir(tmp_path)
    layer = 'layer {{ name: "{0}" type: "Python" top: "{0}" python_param {{ module: "rows_of_the_test" layer: "{1}"'
    (tmp_path / "net.prototxt").write_text(
        layer.format("labels", "Labels")
        + ' param_str: "6" } }'
        + layer.format("rows", "Rows")
        + ' param_str: "6" } }\n'
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "rows" bottom: "labels" top: "loss" }'
    )
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    for _ in range(2):
        np.testing.assert_allclose(net.forward()["loss"], np.log(np.exp(np.arange(5.0)).sum()), rtol=1e-5)
    assert net.blobs["rows"].shape == (6, 5)


def test_names_of_the_compiled_part(model: str) -> None:
    from dragon.pycaffe import _caffe

    net = caffe.Net(model, caffe.TEST, seed=1)  # of another seed all channels may be dead
    assert isinstance(net, _caffe.Net)
    assert type(net.params["conv"]) is _caffe.BlobVec
    assert isinstance(net.blobs["data"], _caffe.Blob)
    assert _caffe.layer_type_list() == caffe.layer_type_list()
    assert net._blob_loss_weights == [0.0] * len(net.blobs)
    assert [list(net.blobs)[net._blob_names_index[name]] for name in net.blobs] == list(net.blobs)
    assert [len(batch["data"]) for batch in net._batch({"data": np.zeros((3, *net.blobs["data"].shape[1:]))})] == (
        [net.blobs["data"].num] * -(-3 // net.blobs["data"].num)
    )
    net.blobs["data"].data[...] = 1
    net._forward(0, len(net.layers) - 1)
    np.testing.assert_allclose(net.blobs["prob"].data.sum(), 1, rtol=1e-5)
    net.blobs["prob"].diff[...] = [[1, 0, 0, 0, 0]]
    net._backward(len(net.layers) - 1, 0)
    assert net.blobs["data"].diff.any()


def test_a_training_script_for_several_gpus_runs_on_one(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 2 dim: 3 } } }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "d" top: "ip" inner_product_param { num_output: 1 } }\n'
        'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "ip" top: "loss" }'
    )
    (tmp_path / "solver.prototxt").write_text(f'net: "{tmp_path}/net.prototxt" base_lr: 0.1 lr_policy: "fixed"')
    uid = caffe.NCCL.new_uid()
    caffe.set_multiprocess(True)
    solver = caffe.SGDSolver(str(tmp_path / "solver.prototxt"))
    nccl = caffe.NCCL(solver, uid)
    nccl.bcast()
    solver.add_callback(nccl)
    shown: list[int] = []
    solver.add_callback("", lambda: shown.append(solver.iter))
    if solver.param.layer_wise_reduce:
        solver.net.after_backward(nccl)
    solver.step(2)
    assert shown == [0, 1]


def test_a_message_is_logged_once_under_dragon_run(tmp_path: Path) -> None:
    script = tmp_path / "s.py"
    script.write_text("import caffe\ncaffe.init_log()\ncaffe.log('using one device')\n")
    done = subprocess.run(
        [sys.executable, "-m", "dragon", "run", str(script)], capture_output=True, text=True, check=True
    )
    assert (done.stdout + done.stderr).count("using one device") == 1


def test_line_breaks_of_a_message_stay() -> None:
    """As in glog, for the table of times that Caffe's train.py logs. What Dragon says itself stays in one line."""
    code = "import dragon as c, logging; c.init_log(); c.log('a\\nb'); logging.getLogger('dragon').info('c\\nd')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second, third = done.stderr.splitlines()
    assert first.endswith("] a")
    assert second == "b"
    assert third.endswith(r"] c\nd")


def test_arrays_of_a_memory_data_layer_by_the_name_of_the_compiled_part() -> None:
    text = (
        'layer { name: "d" type: "MemoryData" top: "x" top: "y" '
        "memory_data_param { batch_size: 2 channels: 1 height: 1 width: 1 } }"
    )
    net = caffe.Net(parse_text(text, pb.NetParameter()), caffe.TEST)
    net._set_input_arrays(np.array([3, 4], np.float32).reshape(2, 1, 1, 1), np.array([1, 0], np.float32))
    net.forward()
    assert net.blobs["x"].data.ravel().tolist() == [3, 4]


def test_messages_that_detection_scripts_fill() -> None:
    solver = caffe_pb2.SolverParameter(eval_type="detection", ap_version="11point", show_per_class_result=True)
    assert (solver.eval_type, solver.ap_version) == ("detection", "11point")
    layer = caffe_pb2.LayerParameter()
    from dragon.pycaffe.net_spec import assign_proto

    assign_proto(layer, "convolution_param", {"num_output": 3, "kernel_size": [5]})
    assert layer.convolution_param.kernel_size == [5]


ENDING = """
import dragon as caffe


class Examples(caffe.Layer):
    def setup(self, bottom, top):
        self.values = iter([1.0, 2.0])

    def reshape(self, bottom, top):
        top[0].reshape(1, 2)

    def forward(self, bottom, top):
        top[0].data[...] = next(self.values)

    def backward(self, top, propagate_down, bottom):
        pass
"""


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
@pytest.mark.parametrize("hooked", [False, True])
def test_the_end_of_a_layers_generator_is_caught_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, hooked: bool
) -> None:
    (tmp_path / "ending_examples.py").write_text(ENDING)
    monkeypatch.syspath_prepend(tmp_path)
    text = """layer { name: "d" type: "Python" top: "d" python_param { module: "ending_examples" layer: "Examples" } }
    layer { name: "ip" type: "InnerProduct" bottom: "d" top: "ip" inner_product_param { num_output: 1 } }
    layer { name: "sum" type: "Reduction" bottom: "ip" top: "sum" loss_weight: 1 }"""
    param = pb.SolverParameter(base_lr=1, lr_policy="fixed", net_param=parse_text(text, pb.NetParameter()))
    solver = caffe.Solver(param, engine=engine)
    if hooked:
        solver.net.before_forward(lambda layer: None)
    with pytest.raises(StopIteration):
        solver.step(3)
    assert solver.iter == 2
    layer: Any = solver.net.layers[0]
    layer.values = iter([3.0])
    solver.step(1)
    np.testing.assert_allclose(solver.net.params["ip"][0].data, [[-6, -6]])
