"""Faster R-CNN (Ren et al. 2015, arXiv 1506.01497)."""

from __future__ import annotations

from dragon.models.nets.body import Body, gaussian
from dragon.models.nets.model import Deployed, behind
from dragon.models.nets.vgg import features
from dragon.proto import dragon_pb2 as pb

__all__ = ["MODELS", "faster_rcnn_vgg16"]

CLASSES, ANCHORS = 21, 9  # of PASCAL VOC, with the background; of each position
_SMALL = gaussian(0.01)


def faster_rcnn_vgg16() -> Body:
    """Faster R-CNN with VGG-16, but for the layer that turns the first part's answer into regions.

    The first part proposes regions: rpn_cls_prob_reshape (N, 18, H, W), the probability that each anchor is background
    or an object, and rpn_bbox_pred (N, 36, H, W). The second part reads the regions as an input, `rois` (R, 5).
    """
    b = features(Body(), last_pool=False)
    shared = b.top
    b.conv("rpn_conv/3x3", 512, 3, _SMALL, pad=1).relu("rpn_relu/3x3")
    proposals = b.top
    b.conv("rpn_bbox_pred", 4 * ANCHORS, 1, _SMALL).at(proposals)
    b.conv("rpn_cls_score", 2 * ANCHORS, 1, _SMALL)
    b.add("rpn_cls_score_reshape", "Reshape", reshape_param={"shape": {"dim": [0, 2, -1, 0]}})
    b.add("rpn_cls_prob", "Softmax")
    b.add("rpn_cls_prob_reshape", "Reshape", reshape_param={"shape": {"dim": [0, 2 * ANCHORS, -1, 0]}})
    pooling = {"pooled_w": 7, "pooled_h": 7, "spatial_scale": 1 / 16}
    b.join("roi_pool5", "ROIPooling", [shared, "rois"], "pool5", roi_pooling_param=pooling)
    b.ip("fc6", 4096, _SMALL).relu("relu6").dropout("drop6").ip("fc7", 4096, _SMALL).relu("relu7").dropout("drop7")
    regions = b.top
    return b.ip("bbox_pred", 4 * CLASSES, gaussian(0.001)).at(regions).ip("cls_score", CLASSES, _SMALL)


def _prob(top: str) -> list[pb.LayerParameter]:
    return [behind("Softmax", top, name="cls_prob")]


MODELS: dict[str, Deployed] = {
    "faster_rcnn_vgg16": Deployed(
        "Faster R-CNN with VGG-16 on PASCAL VOC", {"data": (1, 3, 224, 224), "rois": (1, 5)}, faster_rcnn_vgg16,
        answers=_prob,
    ),
}  # fmt: skip
