"""YOLO v2 and v3 (Redmon & Farhadi 2016 and 2018, arXiv 1612.08242 and 1804.02767).

Layers are numbered as in Darknet's files, from 1, as the converters to Caffe do.
"""

from __future__ import annotations

from typing import Any

from dragon.models.nets.body import MSRA, SPLIT, Body, same
from dragon.models.nets.model import Deployed

__all__ = ["MODELS", "Darknet", "yolo_v2", "yolo_v3"]

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


_IMAGE = {"data": (1, 3, 416, 416)}
MODELS: dict[str, Deployed] = {
    "yolo_v2": Deployed("YOLO v2 on PASCAL VOC", _IMAGE, yolo_v2),
    "yolo_v3": Deployed("YOLO v3 on COCO", _IMAGE, yolo_v3),
}
