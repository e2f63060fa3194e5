"""Faster R-CNN, R-FCN and YOLO of the zoo train, are tested, and hand their weights to their deployed nets."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon import TEST, TRAIN, Net
from dragon.bases.rcnn_settings import STAND_INS
from dragon.data.detection.mnist_scenes import write_scenes
from dragon.data.drawn import Digits
from dragon.models.facts import without_fillers
from dragon.models.generate import MODELS
from dragon.models.nets.regions import Proposing
from dragon.models.nets.yolo import Answering
from dragon.models.preprocessing import labels_of, preprocessing_of
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import format_text, read_net
from tests.models import test_other_tasks as other
from tests.models.resuming import goes_on_bit_for_bit
from tests.models.test_other_tasks import ROOT, marked

PROPOSING = [name for name, model in MODELS.items() if isinstance(model, Proposing)]
ANSWERING = [name for name, model in MODELS.items() if isinstance(model, Answering)]
PYTHON = [name for name in PROPOSING if MODELS[name].data.python]  # type: ignore[union-attr]
SIDE = 160
BOXES = np.array([[20.0, 20, 119, 99, 1], [60, 50, 149, 149, 3]])
LABELS = np.array([[0, b[4], 0, *(b[:2] / SIDE), *((b[2:4] + 1) / SIDE), k] for k, b in enumerate(BOXES)])
IMAGE = np.random.default_rng(1).standard_normal((1, 3, SIDE, SIDE)).astype(np.float32)
GIVEN: dict[str, Any] = {
    "data": IMAGE, "im_info": [[SIDE, SIDE, 1]], "gt_boxes": BOXES, "label": LABELS[None, None],
}  # fmt: skip


def narrowed(net: pb.NetParameter, name: str) -> pb.NetParameter:
    """The net with narrow hidden layers, those before batch normalisations too, of ResNet and of Darknet."""
    net = other.narrowed(net, name)
    normalised = {layer.bottom[0] for layer in net.layer if layer.type == "BatchNorm"}
    for layer in net.layer:
        hidden = normalised.intersection(layer.top) or layer.name in ("rpn_conv/3x3", "conv_new_1")
        if hidden and layer.convolution_param.num_output >= 64:
            layer.convolution_param.num_output = 16
    return net


def with_inputs(net: pb.NetParameter, tops: list[str]) -> pb.NetParameter:
    """The net with inputs in place of its data layers."""
    layers = [layer for layer in net.layer if "data" not in layer.top]
    made = pb.NetParameter()
    for top in tops:
        made.layer.add(name=top, type="Input", top=[top]).input_param.shape.add(dim=np.shape(GIVEN[top]))
    made.layer.extend(layers)
    return made


def training(definition: pb.NetParameter, name: str, folder: Path) -> Net:
    """The net for training, with the settings of py-faster-rcnn's layers that the zoo has for it."""
    if (ROOT / name / "rcnn.yml").exists():
        shutil.copy(ROOT / name / "rcnn.yml", folder)
    (folder / "net.prototxt").write_text(format_text(definition))
    net = Net(folder / "net.prototxt", phase=TRAIN, engine="onednn", seed=1)
    for node in net.nodes:
        # frozen ones, whose averages nobody trained; with a variance of 1 a hundred layers grow until scores saturate
        if node.layer.type == "BatchNorm":
            for blob, value in zip(net.params[node.layer.name], (0, 4, 1), strict=True):
                blob.data[...] = value
    return net


def given(net: Net) -> dict[str, Any]:
    return {name: np.asarray(GIVEN[name], np.float32) for name in net.inputs}


@pytest.mark.parametrize("name", marked(PROPOSING, {"rfcn_resnet101"}))
def test_proposing_nets_train_are_tested_and_deploy(name: str, tmp_path: Path) -> None:
    definition = with_inputs(narrowed(read_net(ROOT / name / "train_val.prototxt"), name), list(GIVEN))
    definition.layer.add(name="unread", type="Silence", bottom=["label"], include=[{"phase": TRAIN}])
    train = training(definition, name, tmp_path)
    train.forward(**given(train))
    assert np.isfinite(train.forward_backward())
    labels = train.blobs["labels"].peek()
    assert set(labels.tolist()) <= {0, 1, 3}
    assert (labels > 0).any()
    moved = {p.layer for p in train.learnable if p.lr_mult and p.blob.peek_diff().any()}
    assert moved == {p.layer for p in train.learnable if p.lr_mult}
    test = Net(definition, phase=TEST, engine="onednn", seed=1)
    test.share_with(train)
    rows = test.forward(**given(test))["detection_eval"].reshape(-1, 5)
    classes = next(one.detection_evaluate_param.num_classes for one in definition.layer if one.name == "detection_eval")
    assert rows[: classes - 1, 2].tolist() == [1.0] + [0.0] * (classes - 2)  # the difficult box does not count
    assert test.outputs == ["detection_eval"]
    train.save(tmp_path / "w.caffemodel")
    use = narrowed(read_net(ROOT / name / "deploy.prototxt"), name)
    use.layer[0].input_param.shape[0].dim[:] = IMAGE.shape
    deployed = Net(use, TEST, weights=tmp_path / "w.caffemodel", engine="onednn")
    assert deployed.inputs == ["data", "im_info"]
    found = deployed.forward(**given(deployed))["detection_out"]
    np.testing.assert_array_equal(found, test.blobs["detection_out"].peek())


@pytest.mark.parametrize("name", marked(PYTHON, {"rfcn_resnet101"}))
def test_training_nets_name_py_faster_rcnns_layers(name: str) -> None:
    net = read_net(ROOT / name / "train_val.prototxt")
    python = [layer for layer in net.layer if layer.type == "Python"]
    assert [(layer.python_param.module, layer.python_param.layer) for layer in python] == list(STAND_INS)
    settings = [layer.python_param.param_str for layer in python]
    sampled = "'num_classes': 2" if name.startswith("rfcn") else "'num_classes': 21"
    assert settings == ["'num_classes': 21", "'feat_stride': 16", "'feat_stride': 16", sampled]


def test_r_fcn_learns_from_the_regions_of_the_largest_losses(tmp_path: Path) -> None:
    net = read_net(ROOT / "rfcn_resnet50" / "train_val.prototxt")
    frozen = {layer.name for layer in net.layer if layer.param and not any(spec.lr_mult for spec in layer.param)}
    assert {"conv1", "res2c_branch2c", "scale5c_branch2c"} <= frozen
    assert not any(name.startswith("res3") for name in frozen)
    dilated = [layer.name for layer in net.layer if list(layer.convolution_param.dilation) == [2]]
    assert dilated == [f"res5{block}_branch2b" for block in "abc"]
    built = training(without_fillers(with_inputs(net, list(GIVEN))), "rfcn_resnet50", tmp_path)
    sampled = next(layer for layer in built.layers if layer.type == "ProposalTarget")
    assert sampled.param.proposal_target_param.batch_size == -1  # from rcnn.yml
    assert sampled.param.proposal_target_param.class_agnostic


@pytest.mark.parametrize("name", marked(ANSWERING, {"yolo_v3"}))
def test_yolo_trains_and_is_tested(name: str) -> None:
    definition = with_inputs(narrowed(read_net(ROOT / name / "train_val.prototxt"), name), ["data", "label"])
    train = Net(definition, phase=TRAIN, engine="onednn", seed=1)
    train.forward(**given(train))
    assert np.isfinite(train.forward_backward())
    assert all(p.blob.peek_diff().any() for p in train.learnable)
    losses = {"yolo_v2": ["det_loss"], "yolo_v3": ["det_loss1", "det_loss2", "det_loss3"]}[name]
    assert train.outputs == losses
    test = Net(definition, phase=TEST, engine="onednn", seed=1)
    test.share_with(train)
    rows = test.forward(**given(test))["detection_eval"].reshape(-1, 5)
    classes = {"yolo_v2": 20, "yolo_v3": 80}[name]
    assert rows[:classes, 2].tolist() == [1.0] + [0.0] * (classes - 1)


def test_how_images_come() -> None:
    for name, mean in (("faster_rcnn_vgg16", 102.9801), ("rfcn_resnet50", 102.9801), ("faster_rcnn_scenes", 128)):
        found = preprocessing_of(name)
        assert found.mean is not None
        assert found.mean[0] == pytest.approx(mean)
        assert found.scale is None
        assert found.size is None
    assert preprocessing_of("yolo_v2").scale == pytest.approx(1 / 255)
    assert labels_of("faster_rcnn_scenes") == ["background", *"0123456789"]


def test_faster_rcnn_scenes_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three iterations are two, a snapshot, and one more, with the draws of the data layer and of both samples."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(1).integers(0, 256, (20, 28, 28)).astype(np.uint8)
    part = pixels, (np.arange(20) % 10).astype(np.uint8)
    digits = Digits(part, part)
    write_scenes(tmp_path / "data/mnist_scenes", lambda: digits, 12, 6)
    goes_on_bit_for_bit("faster_rcnn_scenes", test_batches=3)
