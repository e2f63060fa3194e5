"""Nets written in Python become the prototxt that a reader expects."""

from __future__ import annotations

import numpy as np
import pytest

import dragon as caffe
from dragon import layers as L
from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.pycaffe import params as P


def lenet(batch: int = 4) -> pb.NetParameter:
    n = caffe.NetSpec()
    n.data, n.label = L.DummyData(
        ntop=2,
        shape=[{"dim": [batch, 1, 12, 12]}, {"dim": [batch]}],
        data_filler=[{"type": "gaussian", "std": 1}, {"type": "constant"}],
    )
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=3, weight_filler={"type": "xavier"})
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = L.Pooling(n.relu1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool1, num_output=10, weight_filler={"type": "xavier"})
    n.loss = L.SoftmaxWithLoss(n.ip1, n.label)
    net: pb.NetParameter = n.to_proto()
    return net


def test_names_tops_and_settings() -> None:
    net = lenet()
    assert [(layer.name, layer.type) for layer in net.layer] == [
        ("data", "DummyData"), ("conv1", "Convolution"), ("relu1", "ReLU"), ("pool1", "Pooling"),
        ("ip1", "InnerProduct"), ("loss", "SoftmaxWithLoss"),
    ]  # fmt: skip
    assert list(net.layer[0].top) == ["data", "label"]
    assert list(net.layer[2].top) == ["conv1"], "in place"
    assert list(net.layer[3].bottom) == ["conv1"], "what follows an in-place layer reads its bottom"
    assert net.layer[1].convolution_param.kernel_size == [5]
    assert net.layer[3].pooling_param.pool == pb.PoolingParameter.MAX


def test_text_reads_back_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_ENGINE", "numpy")
    net = lenet()
    assert parse_text(str(net), pb.NetParameter()) == net
    run = caffe.Net(net, caffe.TRAIN, seed=1)
    loss = run.forward()["loss"]
    assert 0.5 < float(loss) < 20
    assert run.blobs["pool1"].data.shape == (4, 3, 4, 4)


def test_automatic_names_count_by_type_and_avoid_given_ones() -> None:
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [1, 2, 3, 3]})
    n.Convolution1 = L.Convolution(n.data, num_output=1, kernel_size=1)
    hidden = L.Convolution(n.data, num_output=1, kernel_size=1)
    n.out = L.Eltwise(n.Convolution1, hidden, operation=P.Eltwise.SUM)
    names = [layer.name for layer in n.to_proto().layer]
    assert names == ["data", "Convolution1", "Convolution2", "out"]


def test_to_proto_of_tops_shares_what_lies_below() -> None:
    data = L.Input(shape={"dim": [1, 2]})
    a, b = L.ReLU(data), L.Sigmoid(data)
    net = caffe.to_proto(a, b)
    assert [layer.name for layer in net.layer] == ["Input1", "ReLU1", "Sigmoid1"]
    assert a.to_proto().layer[-1].type == "ReLU"


def test_layers_without_tops_and_explicit_messages() -> None:
    n = caffe.NetSpec()
    n.data, n.label = L.Data(
        ntop=2, source="db", backend=P.Data.LMDB, batch_size=2,
        transform_param={"scale": 0.5, "mean_value": [1, 2]}, include={"phase": caffe.TRAIN},
    )  # fmt: skip
    n.silence = L.Silence(n.label, ntop=0)
    n.loss = L.EuclideanLoss(n.data, n.data, loss_weight=np.float32(2), propagate_down=[True, False])
    net = n.to_proto()
    assert net.layer[0].include[0].phase == pb.TRAIN
    assert list(net.layer[0].transform_param.mean_value) == [1, 2]
    assert (net.layer[1].name, list(net.layer[1].top)) == ("silence", [])
    assert list(net.layer[2].loss_weight) == [2]


@pytest.mark.parametrize(
    ("type_name", "settings", "field"),
    [
        ("Deconvolution", {"num_output": 2}, "convolution_param"),
        ("BN", {"decay": 0.5}, "batch_norm_param"),
        ("BN", {"momentum": 0.5}, "bn_param"),
        ("LSTM", {"num_output": 3}, "recurrent_param"),
        ("Accuracy", {"top_k": 3}, "accuracy_param"),
        ("SoftmaxWithLoss", {"ignore_label": 3}, "loss_param"),
    ],
)
def test_settings_go_where_the_type_reads_them(type_name: str, settings: dict[str, float], field: str) -> None:
    top = getattr(L, type_name)(L.Input(), **settings)
    layer = top.to_proto().layer[1]
    assert layer.HasField(field)
    for name, value in settings.items():
        assert getattr(getattr(layer, field), name) == pytest.approx(value)


def test_mistakes_name_the_layer_and_the_nearest_setting() -> None:
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [1]})
    n.conv = L.Convolution(n.data, num_outputs=3)  # type: ignore[call-arg]
    with pytest.raises(PrototxtError, match=r'layer "conv" \(Convolution\).*num_outputs.*"num_output"'):
        n.to_proto()
    n.conv = L.Convolution(n.data, num_output="three")  # type: ignore[arg-type]
    with pytest.raises(PrototxtError, match="'three' does not fit"):
        n.to_proto()
    with pytest.raises(TypeError, match="ReLU input 0 is not a Top"):
        L.ReLU("data")  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match=r'no top "dat" .did you mean "data"'):
        _ = n.dat
    with pytest.raises(AttributeError):
        _ = caffe.layers.no_such_module


def test_deep_nets_need_no_recursion() -> None:
    top = L.Input(shape={"dim": [1]})
    for _ in range(3000):
        top = L.ReLU(top)
    assert len(top.to_proto().layer) == 3001


def test_an_empty_dict_sets_nothing() -> None:
    """As in pycaffe: a message without settings is not there, but an entry of a repeated one is."""
    samplers = [{"sampler": {}, "max_sample": 1}, {}]
    top = L.AnnotatedData(annotated_data_param={"batch_sampler": samplers}, transform_param={"emit_constraint": {}})
    layer = top.to_proto().layer[0]
    first, second = layer.annotated_data_param.batch_sampler
    assert not first.HasField("sampler")
    assert first.max_sample == 1
    assert not second.ListFields()
    assert not layer.HasField("transform_param")
