"""YOLO v2 and v3 (Redmon & Farhadi 2016 and 2018, arXiv 1612.08242 and 1804.02767).

Layers are numbered as in Darknet's files, from 1, as the converters to Caffe do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dragon.models.nets.body import MSRA, SPLIT, Body, same
from dragon.models.nets.detection import Boxed
from dragon.models.nets.model import Finding, behind, solver
from dragon.proto import dragon_pb2 as pb

__all__ = ["MODELS", "Answering", "Darknet", "yolo_v2", "yolo_v3"]

_LEAK: dict[str, Any] = {"negative_slope": 0.1}


class Darknet(Body):
    """A body whose layers are numbered: each method adds the next layer of Darknet's file."""

    def __init__(self) -> None:
        """Begin with the image."""
        super().__init__(SPLIT, lr=None)
        self.tops: list[str] = []

    def _end(self) -> Darknet:
        self.tops.append(self.top)
        return self

    @property
    def next(self) -> str:
        """The beginning of the next layer's name."""
        return f"layer{len(self.tops) + 1}"

    def convolution(self, width: int, kernel: int, stride: int = 1) -> Darknet:
        """Add a convolution of the same size, with BN and a leaky ReLU."""
        name = self.next
        self.conv(f"{name}-conv", width, kernel, MSRA, stride=stride, **same(kernel)).bn(f"{name}-bn")
        self.add(f"{name}-act", "ReLU", in_place=True, relu_param=_LEAK)
        return self._end()

    def output(self, width: int) -> Darknet:
        """Add a 1x1 convolution with biases, whose top is an answer of the net."""
        self.conv(f"{self.next}-conv", width, 1, MSRA, bias=True)
        return self._end()

    def maxpool(self) -> Darknet:
        """Halve the map."""
        self.pool(f"{self.next}-maxpool", "MAX", 2)
        return self._end()

    def shortcut(self, distance: int) -> Darknet:
        """Add the top of so many layers before."""
        self.join(f"{self.next}-shortcut", "Eltwise", [self.tops[-distance], self.top])
        return self._end()

    def route(self, *layers: int) -> Darknet:
        """Go on from the top of a layer, or from several joined; numbers count from 1."""
        tops = [self.tops[k - 1] for k in layers]
        if len(tops) == 1:
            self.at(tops[0])
        else:
            self.join(f"{self.next}-concat", "Concat", tops)
        return self._end()

    def enlarge(self) -> Darknet:
        """Double the map by repetition."""
        self.add(f"{self.next}-upsample", "Upsample", upsample_param={"scale": 2})
        return self._end()

    def read_out(self) -> Darknet:
        """Count a layer of Darknet that turns an answer into boxes, and leave it out."""
        return self._end()

    def widths(self, *widths: int) -> Darknet:
        """Add convolutions of these widths, 3x3 and 1x1 in turn, the first and the last 3x3."""
        for k, width in enumerate(widths):
            self.convolution(width, 3 if k % 2 == 0 else 1)
        return self


def yolo_v2(classes: int = 20, boxes: int = 5) -> Darknet:
    """YOLO v2 with Darknet-19, without its last layer: (N, boxes * (5 + classes), 13, 13) for 416 x 416."""
    b = Darknet()
    for widths in ((32,), (64,), (128, 64, 128), (256, 128, 256), (512, 256, 512, 256, 512)):
        b.widths(*widths).maxpool()
    fine = len(b.tops) - 1  # the last layer before the last pooling
    b.widths(1024, 512, 1024, 512, 1024).convolution(1024, 3).convolution(1024, 3)
    coarse = len(b.tops)
    b.route(fine).convolution(64, 1)
    b.add(f"{b.next}-reorg", "Reorg", reorg_param={"stride": 2})
    b.tops.append(b.top)
    b.route(len(b.tops), coarse).convolution(1024, 3)
    return b.output(boxes * (5 + classes))


def yolo_v3(classes: int = 80, boxes: int = 3) -> Darknet:
    """YOLO v3 with Darknet-53: three answers, each (N, boxes * (5 + classes), H, W) of 13, 26 and 52 for 416 x 416."""
    b, stages = Darknet().convolution(32, 3), []
    for width, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        b.convolution(width, 3, stride=2)
        for _ in range(blocks):
            b.convolution(width // 2, 1).convolution(width, 3).shortcut(3)
        stages.append(len(b.tops))
    answer = boxes * (5 + classes)
    for width, finer in ((512, stages[3]), (256, stages[2]), (128, None)):
        for k in range(6):
            b.convolution(width << k % 2, 1 if k % 2 == 0 else 3)
        neck = len(b.tops) - 1  # the layer before the last one branches to the finer map
        b.output(answer).read_out()
        if finer:
            b.route(neck).convolution(width // 2, 1).enlarge()
            b.route(len(b.tops), finer)
    return b


@dataclass(frozen=True)
class Answering(Finding):
    """A net that ends with YOLO's maps, which the deployed net gives. loss, read: type and settings of the layers.

    maps: the maps, with the settings of the loss for each. classes: without a background.
    """

    classes: int = 20
    maps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    loss: tuple[str, str] = ("", "")
    weights: Mapping[str, Any] = field(default_factory=dict)
    read: tuple[str, str] = ("", "")
    settings: Mapping[str, Any] = field(default_factory=dict)

    def scores(self, top: str) -> list[pb.LayerParameter]:
        """In TRAIN a loss for each map; in TEST the boxes, and their comparison with the labels."""
        made = []
        for k, (layer, own) in enumerate(self.maps.items(), 1):
            name = f"det_loss{k}" if len(self.maps) > 1 else "det_loss"
            weights: dict[str, Any] = {"num_class": self.classes, **_WEIGHTS, **self.weights, **own}
            made.append(self._scored(self.loss, [layer, "label"], name, pb.TRAIN, weights))
        boxes: dict[str, Any] = {"num_classes": self.classes, "nms_threshold": 0.45, **self.settings}
        found = self._scored(self.read, list(self.maps), "detection_out", pb.TEST, boxes)
        return [*made, found, self.evaluation("detection_out", self.classes + 1)]

    @staticmethod
    def _scored(
        kind: tuple[str, str], bottoms: list[str], name: str, phase: int, settings: dict[str, Any]
    ) -> pb.LayerParameter:
        """A layer of one phase. kind: its type, and the field of its settings."""
        own: dict[str, Any] = {kind[1]: settings}
        return behind(kind[0], *bottoms, name=name, include=[{"phase": phase}], **own)

    def answer(self, top: str) -> list[pb.LayerParameter]:
        """Nothing: the maps are the answer."""
        return []


_WEIGHTS = {"object_scale": 5, "noobject_scale": 1, "class_scale": 1, "coord_scale": 1}  # as MobileNet-YOLO has them
_VOC_ANCHORS = (1.08, 1.19, 3.42, 4.41, 6.63, 11.38, 9.42, 5.11, 16.62, 10.52)  # in positions of the map
_COCO_ANCHORS = (10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326)  # in pixels
_SIDES = range(320, 609, 32)
_DATA: dict[str, Any] = {
    "side": 416, "values": (), "scale": 1 / 255, "windows": (), "expand": 1, "sides": _SIDES, "jitter": 0.3,
    "sizes": "",
}  # fmt: skip
_VOC = Boxed("data/VOC0712", "VOC0712", train=16, test=8, labels="labelmap_voc.prototxt", **_DATA)
_COCO = Boxed("data/coco", "coco", train=16, test=8, labels="labelmap_coco.prototxt", **_DATA)
_EVALUATED: dict[str, Any] = {
    "weight_decay": 0.0005, "iter_size": 4, "average_loss": 10, "display": 10, "test_initialization": False,
    "eval_type": "detection", "snapshot": 1000, "warmup_iter": 1000,
}  # fmt: skip
# 160 epochs of the 16,551 images of VOC 2007 and 2012, in batches of 64; the rate falls after 60 and 90 (section 3)
_VOC_SOLVER = solver(
    41000, 0.001, (15500, 23300), ap_version="11point", test_iter=[619], test_interval=4100, **_EVALUATED
)
# as Darknet's file for COCO has it, but for the last 200 iterations
_COCO_SOLVER = solver(500000, 0.001, (400000, 450000), test_iter=[625], test_interval=10000, **_EVALUATED)
MODELS: dict[str, Answering] = {
    "yolo_v2": Answering(
        "YOLO v2 on PASCAL VOC", _VOC, yolo_v2, _VOC_SOLVER, maps={"layer31-conv": {}},
        loss=("RegionLoss", "region_loss_param"), weights={"num": 5, "thresh": 0.5, "biases": _VOC_ANCHORS},
        read=("YoloDetectionOutput", "yolo_detection_output_param"),
        settings={"confidence_threshold": 0.01, "num_box": 5, "biases": _VOC_ANCHORS},
    ),
    "yolo_v3": Answering(
        "YOLO v3 on COCO", _COCO, yolo_v3, _COCO_SOLVER, classes=80,
        maps={
            "layer82-conv": {"anchors_scale": 32, "mask": [6, 7, 8]},
            "layer94-conv": {"anchors_scale": 16, "mask": [3, 4, 5]},
            "layer106-conv": {"anchors_scale": 8, "mask": [0, 1, 2]},
        },
        loss=("Yolov3", "yolov3_param"), weights={"num": 3, "thresh": 0.7, "biases": _COCO_ANCHORS},
        read=("Yolov3DetectionOutput", "yolov3_detection_output_param"),
        settings={
            "confidence_threshold": 0.01, "num_box": 3, "biases": _COCO_ANCHORS, "anchors_scale": [32, 16, 8],
            "mask_group_num": 3, "mask": [6, 7, 8, 3, 4, 5, 0, 1, 2],
        },
    ),
}  # fmt: skip
