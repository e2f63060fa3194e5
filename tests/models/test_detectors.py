"""The detectors of the zoo train, are tested, and hand their weights to their deployed nets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon import TEST, TRAIN, Net, get_solver
from dragon.data.detection.shapes import CLASSES, write_shapes
from dragon.models.generate import MODELS
from dragon.models.nets.detection import Detecting
from dragon.models.preprocessing import labels_of, preprocessing_of
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import format_text, read_net
from tests.models.resuming import goes_on_bit_for_bit
from tests.models.test_other_tasks import ROOT, marked, narrowed

DETECTORS = [name for name, model in MODELS.items() if type(model) is Detecting]
HEAVY = ("mobilenet_ssd", "ssd512_vgg")
TRUTH = np.array([[0, 1, 0, 0.1, 0.1, 0.5, 0.6, 0], [0, 3, 1, 0.55, 0.6, 0.65, 0.7, 1]], np.float32)


def training(name: str) -> pb.NetParameter:
    """The net for training, narrow, with inputs in place of its data and without the list of images."""
    net = narrowed(read_net(ROOT / name / "train_val.prototxt"), name)
    side = net.layer[0].transform_param.resize_param[0].height
    for layer in list(net.layer):
        if layer.type == "AnnotatedData":
            net.layer.remove(layer)
        layer.detection_evaluate_param.ClearField("name_size_file")
        if layer.type != "DetectionEvaluate":
            layer.ClearField("detection_evaluate_param")
    for top, shape in (("data", (1, 3, side, side)), ("label", (1, 1, len(TRUTH), 8))):
        net.layer.add(name=top, type="Input", top=[top]).input_param.shape.add(dim=shape)
    return pb.NetParameter(layer=[*net.layer[-2:], *net.layer[:-2]])


@pytest.mark.parametrize("name", marked(DETECTORS, HEAVY))
def test_trains_is_tested_and_deploys(name: str, tmp_path: Path) -> None:
    definition = training(name)
    train = Net(definition, phase=TRAIN, engine="onednn", seed=1)
    given: dict[str, Any] = {"data": np.random.default_rng(1).standard_normal(train.blobs["data"].shape)}
    given["label"] = TRUTH[None, None]
    for key, value in given.items():
        train.blobs[key].data[...] = value
    assert np.isfinite(train.forward_backward())
    assert train.outputs == ["mbox_loss"]
    learned = {p.layer for p in train.learnable if p.blob.peek_diff().any()}  # maps without a match learn nothing
    assert {p.layer for p in train.learnable} - learned < {
        p.layer for p in train.learnable[len(train.learnable) // 4 :]
    }
    assert {name.rpartition("_")[2] for name in learned if "_mbox_" in name} == {"loc", "conf"}
    test = Net(definition, phase=TEST, engine="onednn", seed=1)
    test.share_with(train)
    rows = test.forward(**given)["detection_eval"].reshape(-1, 5)
    classes = definition.layer[-1].detection_evaluate_param.num_classes
    assert rows[: classes - 1, 2].tolist() == [1.0] + [0.0] * (classes - 2)  # the difficult box does not count
    train.save(tmp_path / "w.caffemodel")
    use = narrowed(read_net(ROOT / name / "deploy.prototxt"), name)
    found = Net(use, TEST, weights=tmp_path / "w.caffemodel", engine="onednn").forward(data=given["data"])
    assert found["detection_out"].shape[-1] == 7


def test_two_steps_train_are_tested_and_deploy(tmp_path: Path) -> None:
    """RefineDet: both losses reach the maps that both steps share, and only the second one the maps behind them."""
    definition = training("refinedet320_vgg")
    train = Net(definition, phase=TRAIN, engine="onednn", seed=1)
    given: dict[str, Any] = {"data": np.random.default_rng(1).standard_normal(train.blobs["data"].shape)}
    given["label"] = TRUTH[None, None]
    for key, value in given.items():
        train.blobs[key].data[...] = value
    assert np.isfinite(train.forward_backward())
    assert sorted(train.outputs) == ["arm_loss", "odm_loss"]
    assert train.blobs["arm_priorbox"].shape == (1, 2, 4 * 6375)  # of the paper
    assert train.blobs["odm_conf"].shape == (1, 21 * 6375)
    learned = {p.layer for p in train.learnable if p.blob.peek_diff().any()}
    assert {"conv1_1", "fc7", "TL3_1", "TL6_2", "P4-up", "P3", "P3_mbox_loc", "P3_mbox_conf"} <= learned
    assert {"conv4_3_norm", "conv4_3_norm_mbox_loc", "conv4_3_norm_mbox_conf"} <= learned
    test = Net(definition, phase=TEST, engine="onednn", seed=1)
    test.share_with(train)
    rows = test.forward(**given)["detection_eval"].reshape(-1, 5)
    assert rows[:20, 2].tolist() == [1.0] + [0.0] * 19
    train.save(tmp_path / "w.caffemodel")
    use = narrowed(read_net(ROOT / "refinedet320_vgg" / "deploy.prototxt"), "refinedet320_vgg")
    found = Net(use, TEST, weights=tmp_path / "w.caffemodel", engine="onednn").forward(data=given["data"])
    np.testing.assert_array_equal(found["detection_out"], test.blobs["detection_out"].peek())


def test_how_images_come() -> None:
    for name, mean, scale in (
        ("ssd512_vgg", 104, None),
        ("mobilenet_ssd", 127.5, 0.007843),
        ("ssd_shapes", 104, 1 / 64),
    ):
        found = preprocessing_of(name)
        assert found.mean is not None
        assert found.mean[0] == mean
        assert found.scale == (None if scale is None else pytest.approx(scale))
        assert found.size is None
    assert labels_of("ssd_shapes") == ["background", *CLASSES]


def test_ssd_shapes_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three iterations are two, a snapshot, and one more, with the draws of the data layer."""
    monkeypatch.chdir(tmp_path)
    write_shapes("data/shapes", 12, 6)
    goes_on_bit_for_bit("ssd_shapes", test_batches=1)


def test_files_as_the_authors_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A net for training, one for testing that writes results, and a solver that names both, as SSD's scripts make."""
    monkeypatch.chdir(tmp_path)
    write_shapes("data/shapes", 8, 5)
    whole = read_net(ROOT / "ssd_shapes" / "train_val.prototxt")
    for phase, file in ((TRAIN, "train.prototxt"), (TEST, "test.prototxt")):
        net = pb.NetParameter(name=file)
        net.layer.extend(layer for layer in whole.layer if not layer.include or layer.include[0].phase == phase)
        net.layer[0].data_param.batch_size = 3
        for layer in net.layer:
            if layer.type == "DetectionOutput":
                save = layer.detection_output_param.save_output_param
                save.output_directory, save.output_name_prefix, save.output_format = "results", "comp4_det_test_", "VOC"
                save.label_map_file = "data/shapes/labelmap.prototxt"
                save.name_size_file, save.num_test_image = "data/shapes/test_name_size.txt", 5
        Path(file).write_text(format_text(net))
    Path("solver.prototxt").write_text(
        """train_net: "train.prototxt" test_net: "test.prototxt" test_iter: 2 test_interval: 1 base_lr: 0.0005
        display: 10 max_iter: 1 lr_policy: "multistep" gamma: 0.1 momentum: 0.9 weight_decay: 0.0005 snapshot: 0
        solver_mode: GPU device_id: 0 debug_info: false snapshot_after_train: false test_initialization: false
        average_loss: 10 stepvalue: 80000 stepvalue: 100000 iter_size: 1 type: "SGD" eval_type: "detection"
        ap_version: "11point" """
    )
    with get_solver("solver.prototxt", engine="onednn", verbose=False) as solver:
        solver.step(1)
        scores = solver.test()
    assert list(scores) == ["detection_eval"]
    assert 0 <= float(scores["detection_eval"]) <= 1
    written = {path.name for path in Path("results").iterdir()}
    assert written == {f"comp4_det_test_{name}.txt" for name in CLASSES}
