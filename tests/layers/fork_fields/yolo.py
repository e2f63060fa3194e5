"""The layers of YOLO: caffe-yolo's and MobileNet-YOLO's."""

from __future__ import annotations

import numpy as np

from dragon.bases.layer import TEST
from tests.layers import test_detection_loss
from tests.layers.fork_fields.probe import Probe
from tests.layers.yolo_cases import ROWS, random_map

__all__ = ["PROBES"]

RNG = np.random.default_rng(9)
_V2 = "num: 3 num_class: 9 biases: [0.8, 1.1, 1.9, 1.2, 4, 3.5]"
_V3 = "num: 2 num_class: 3 anchors_scale: 32 mask: 1 mask: 2 biases: [12, 14, 23, 27, 37, 58, 81, 82]"
_FIND2 = "num_classes: 3 num_box: 2 biases: [0.8, 1.1, 1.9, 1.2] confidence_threshold: 0.05"
_FIND3 = (
    "num_classes: 3 num_box: 2 mask: [2, 3, 0, 1] anchors_scale: [16, 8] biases: [10, 14, 23, 27, 37, 58, 81, 82] "
    "confidence_threshold: 0.2"
)
_WEIGHTS = {"object_scale": "1 | 3", "class_scale": "1 | 3", "noobject_scale": "0.5 | 3"}
_COMMON = {
    **_WEIGHTS,
    "side": "= 13 | 7",
    "num_class": "3 | 4",
    "num": "2 | 3",
    "coord_scale": "5 | 3",
    "thresh": "0.2 | 0.01",
    "anchors_scale": "32 | 16",
    "biases": "12 14 23 27 37 58 81 82 | 12 14 23 29 30 58 81 82",
    "mask": "1 2 | 0 3",
    "use_logic_gradient": "false | true",
    "use_focal_loss": "false | true",
    "iou_thresh": "0.5 | 0.05",
    "accumulate": "true | false",
}

PROBES = [
    Probe(
        "DetectionLoss", test_detection_loss.SETTINGS, [test_detection_loss.X, test_detection_loss.labels()],
        {
            **_WEIGHTS,
            "side": "3 | 2",
            "num_class": "4 | 5",
            "num_object": "2 | 1",
            "coord_scale": "5 | 3",
            "sqrt": "true | false",
            "constriant": "false | true",
        },
        gradient=True,
    ),
    Probe(
        "RegionLoss", _V2, [random_map(3, 9), ROWS],
        {
            **_WEIGHTS,
            "side": "= 13 | 7",
            "num_class": "9 | 8",
            "bias_match": "1 | 0",
            "coords": "! 5",
            "num": "3 | 2",
            "softmax": "1 | 0",
            "jitter": "= 0.2 | 0.5",
            "rescore": "1 | 0",
            "coord_scale": "1 | 3",
            "absolute": "= 1 | 0",
            "thresh": "0.2 | 0.01",
            "random": "= 1 | 0",
            "biases": "0.8 1.1 1.9 1.2 4 3.5 | 0.8 1.1 1.9 1.5 4 3.5",
            "softmax_tree": '- | "nine.tree"',
            "class_map": '- | "nine.map"',
        },
        gradient=True,
    ),
    Probe(
        "Yolov3", _V3, [random_map(2, 3), ROWS],
        {
            **_COMMON,
            "iou_loss": "MSE | GIOU",
            "iou_normalizer": "iou_loss: IOU | iou_loss: IOU iou_normalizer: 2",
            "max_delta": "iou_loss: IOU | iou_loss: IOU max_delta: 0.001",
            "label_smooth_eps": "0.1 | 0.3",
        },
        gradient=True,
    ),
    Probe(
        "GaussianYolov3", _V3, [RNG.standard_normal((3, 24, 4, 5)), ROWS],
        {
            **_COMMON,
            "iou_loss": "! GIOU",
            "iou_normalizer": "0.25 | 2",
            "max_delta": "10 | 0.001",
            "label_smooth_eps": "! 0.1",
        },
        gradient=True,
    ),
    Probe(
        "YoloDetectionOutput", _FIND2, [random_map(2, 3)],
        {
            "side": "= 13 | 7",
            "num_classes": "3 | 4",
            "num_box": "2 | 1",
            "coords": "! 5",
            "confidence_threshold": "0.05 | 0.3",
            "nms_threshold": "0.45 | 0.1",
            "biases": "0.8 1.1 1.9 1.2 | 0.8 1.1 1.9 1.5",
            "label_map_file": '= - | "labels.prototxt"',
        },
        phase=TEST,
    ),
    Probe(
        "Yolov3DetectionOutput", _FIND3, [random_map(2, 3, 3, 4), random_map(2, 3, 6, 8)],
        {
            "num_classes": "3 | 4",
            "num_box": "2 | 1",
            "confidence_threshold": "0.2 | 0.4",
            "nms_threshold": "0.45 | 0.1",
            "biases": "10 14 23 27 37 58 81 82 | 10 14 23 27 37 58 81 99",
            "anchors_scale": "16 8 | 32 8",
            "mask_group_num": "2 | 1",
            "mask": "2 3 0 1 | 0 1 2 3",
            "gaussian_box": "false | true",
        },
        phase=TEST,
    ),
    Probe(
        "Reorg", "stride: 2", [RNG.standard_normal((1, 4, 4, 6))],
        {"stride": "2 | 1", "reverse": "false | true"}, gradient=True,
    ),
    Probe(
        "Upsample", "scale: 2", [RNG.standard_normal((1, 2, 3, 3))],
        {
            "scale": "2 | 3",
            "scale_h": "- | 3",
            "scale_w": "- | 3",
            "pad_out_h": "! true",
            "pad_out_w": "! true",
            "upsample_h": "! upsample_h: 6 upsample_w: 6",
            "upsample_w": "! upsample_h: 6 upsample_w: 6",
        },
        gradient=True,
    ),
    Probe(
        "Upsample", "", [RNG.standard_normal((1, 2, 3, 3)), np.arange(18).reshape(1, 2, 3, 3)],
        {
            "scale": "2 | 3",
            "scale_h": "- | 3",
            "scale_w": "- | 3",
            "pad_out_h": "false | true",
            "pad_out_w": "false | true",
            "upsample_h": "upsample_h: 6 upsample_w: 6 | upsample_h: 7 upsample_w: 6",
            "upsample_w": "upsample_h: 6 upsample_w: 6 | upsample_h: 6 upsample_w: 7",
        },
        gradient=True,
    ),
]  # fmt: skip
