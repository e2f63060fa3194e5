"""RefineDet (Zhang et al. 2018, arXiv 1711.06897): a single-shot detector whose boxes are moved twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dragon.models.nets.body import XAVIER, Body
from dragon.models.nets.detection import Refining
from dragon.models.nets.ssd import SSD_SOLVER, VOC, Boxes, heads
from dragon.models.nets.vgg import features

__all__ = ["MODELS", "refinedet320_vgg"]

_BOXES = (Boxes(32, None, (2,), 8), Boxes(64, None, (2,), 16), Boxes(128, None, (2,), 32), Boxes(256, None, (2,), 64))
_NORMS = {"conv4_3": 10, "conv5_3": 8}
CLASSES = 21


def refinedet320_vgg() -> Body:
    """RefineDet320 with VGG-16, with the layer names of the authors' script: 6375 boxes.

    The first step (arm) predicts from conv4_3, conv5_3, fc7 and conv6_2 where objects may be, the second (odm) their
    classes from P3 to P6: each of these maps is made of the map of the first step and of the next smaller P, enlarged.
    """
    b = features(Body())
    b.conv("fc6", 1024, 3, XAVIER, pad=3, dilation=3).relu("relu6").conv("fc7", 1024, 1, XAVIER).relu("relu7")
    b.conv("conv6_1", 256, 1, XAVIER).relu("conv6_1_relu")
    b.conv("conv6_2", 512, 3, XAVIER, pad=1, stride=2).relu("conv6_2_relu")
    norm: dict[str, Any] = {"across_spatial": False, "channel_shared": False}
    for top, value in _NORMS.items():
        norm["scale_filler"] = {"type": "constant", "value": value}
        b.join(f"{top}_norm", "Normalize", [top], norm_param=norm)
    maps = ["conv4_3_norm", "conv5_3_norm", "fc7", "conv6_2"]
    for k, top in zip((6, 5, 4, 3), reversed(maps), strict=True):
        _transfer(b, k, top)
    heads(b, [(top, top, boxes) for top, boxes in zip(maps, _BOXES, strict=True)], 3, classes=2, prefix="arm")
    refined = [(f"P{k}", f"P{k}", boxes) for k, boxes in zip((3, 4, 5, 6), _BOXES, strict=True)]
    return heads(b, refined, 3, classes=CLASSES, prefix="odm", priors=False)


def _transfer(b: Body, k: int, top: str) -> None:
    """Add the map P of number k, from the map of the first step and the P before."""
    b.at(top).conv(f"TL{k}_1", 256, 3, XAVIER, bias=True, pad=1).relu(f"TL{k}_1_relu")
    b.conv(f"TL{k}_2", 256, 3, XAVIER, bias=True, pad=1)
    if k == 6:
        b.relu(f"TL{k}_2_relu")
    else:
        b.at(f"P{k + 1}")
        b.deconv(f"P{k + 1}-up", 256, 2, XAVIER, stride=2)
        b.join(f"Elt{k}", "Eltwise", [f"TL{k}_2", f"P{k + 1}-up"]).relu(f"Elt{k}_relu")
    b.conv(f"P{k}", 256, 3, XAVIER, bias=True, pad=1).relu(f"P{k}_relu")


_FOUND = {"nms_param": {"nms_threshold": 0.45, "top_k": 1000}, "keep_top_k": 500, "confidence_threshold": 0.01}
MODELS: dict[str, Refining] = {
    "refinedet320_vgg": Refining(
        "RefineDet320 with VGG-16 on PASCAL VOC", replace(VOC, side=320), refinedet320_vgg, SSD_SOLVER, output=_FOUND,
        classes=CLASSES,
    )
}  # fmt: skip
