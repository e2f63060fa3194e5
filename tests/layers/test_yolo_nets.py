"""Nets of the structure of MobileNet-YOLO's: they learn an image, and the layer that reads boxes finds its boxes."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.layers.yolo_cases import iou

TRUE = [[0, 0.26, 0.3, 0.2, 0.3], [2, 0.7, 0.65, 0.5, 0.45]]  # class, x, y, w, h


def conv(name: str, bottom: str, outputs: int, kernel: int, stride: int, relu: bool = True) -> str:
    text = f"""
layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{ num_output: {outputs}
        kernel_size: {kernel} stride: {stride} pad: {kernel // 2} weight_filler {{ type: "msra" }} }} }}
"""
    if relu:
        text += f'layer {{ name: "{name}/relu" type: "ReLU" bottom: "{name}" top: "{name}" }}\n'
    return text


BIASES = " ".join(f"biases: {b}" for b in (8, 9, 6, 14, 20, 22, 32, 28))
V3 = (
    conv("conv13", "conv2", 16, 3, 2)
    + conv("conv19", "conv13", 16, 1, 1, False)
    + conv("conv20", "conv2", 16, 1, 1, False)
    + "".join(
        f"""
layer {{ name: "Yolov3Loss{k}" type: "Yolov3" bottom: "{bottom}" bottom: "label" top: "det_loss{k}" loss_weight: 1
        include {{ phase: TRAIN }}
        yolov3_param {{ side: 13 num_class: 3 num: 2 object_scale: 5.0 noobject_scale: 1.0 class_scale: 1.0
                       coord_scale: 1.0 thresh: 0.6 anchors_scale: {scale} use_logic_gradient: false
                       {BIASES} {masks} }} }}
"""
        for k, bottom, scale, masks in ((1, "conv19", 8, "mask: 2 mask: 3"), (2, "conv20", 4, "mask: 0 mask: 1"))
    )
    + f"""
layer {{ name: "detection_out" type: "Yolov3DetectionOutput" bottom: "conv19" bottom: "conv20" top: "detection_out"
        include {{ phase: TEST }}
        yolov3_detection_output_param {{ confidence_threshold: 0.4 nms_threshold: 0.45 num_classes: 3 num_box: 2
                                         mask: 2 mask: 3 mask: 0 mask: 1
                                         anchors_scale: 8 anchors_scale: 4 {BIASES} }} }}
"""
)
ANCHORS = "biases: 1 biases: 1.5 biases: 2.5 biases: 2.4"  # of maps of 5 by 5
V2 = (
    conv("conv13", "conv2", 16, 3, 2)
    + conv("conv22", "conv13", 16, 1, 1, False)
    + f"""
layer {{ name: "RegionLoss" type: "RegionLoss" bottom: "conv22" bottom: "label" top: "det_loss" loss_weight: 1
        include {{ phase: TRAIN }}
        region_loss_param {{ side: 13 num_class: 3 coords: 4 num: 2 softmax: 1 jitter: 0.2 rescore: 0 object_scale: 5.0
                            noobject_scale: 1.0 class_scale: 1.0 coord_scale: 1.0 absolute: 1 thresh: 0.6 random: 0
                            {ANCHORS} }} }}
layer {{ name: "detection_out" type: "YoloDetectionOutput" bottom: "conv22" top: "detection_out"
        include {{ phase: TEST }}
        yolo_detection_output_param {{ num_classes: 3 coords: 4 confidence_threshold: 0.3 nms_threshold: 0.45 num_box: 2
                                       {ANCHORS} }} }}
"""
)


def net(head: str) -> str:
    inputs = "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" {only} input_param {{ shape {{ {dims} }} }} }}\n'
        for name, dims, only in (
            ("data", "dim: 1 dim: 3 dim: 40 dim: 40", ""),
            ("label", "dim: 1 dim: 1 dim: 4 dim: 5", "include { phase: TRAIN }"),
        )
    )
    return inputs + conv("conv1", "data", 8, 3, 2) + conv("conv2", "conv1", 16, 3, 2) + head


def image() -> np.ndarray:
    found = np.random.default_rng(0).standard_normal((1, 3, 40, 40)) / 10
    for label, x, y, w, h in TRUE:
        rows, columns = (slice(int((c - s / 2) * 40), int((c + s / 2) * 40)) for c, s in ((y, h), (x, w)))
        found[0, int(label), rows, columns] += 1
    return found


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
@pytest.mark.parametrize("head", [V2, V3], ids=["v2", "v3"])
def test_a_net_learns_the_boxes_of_an_image(head: str, engine: str) -> None:
    definition = parse_text(net(head), pb.NetParameter())
    param = pb.SolverParameter(
        type="Adam", base_lr=0.005, lr_policy="fixed", momentum=0.9, momentum2=0.999, random_seed=2
    )
    param.net_param.CopyFrom(definition)
    solver = dragon.Solver(param, engine=engine)
    solver.net.blobs["data"].data[...] = image()
    solver.net.blobs["label"].data[0, 0, :2] = TRUE
    solver.step(250)
    test = dragon.Net(definition, phase=dragon.TEST, engine=engine)
    for name, blobs in solver.net.params.items():
        for blob, source in zip(test.params[name], blobs, strict=True):
            blob.data[...] = source.data
    test.blobs["data"].data[...] = image()
    rows = test.forward()["detection_out"][0, 0]
    assert sorted(rows[:, 1]) == [1, 3]
    for _, label, score, x1, y1, x2, y2 in rows:
        true = next(row[1:] for row in TRUE if row[0] + 1 == label)
        assert score > 0.4
        assert iou([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], true) > 0.6
