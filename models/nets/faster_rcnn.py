"""Faster R-CNN (Ren et al. 2015, arXiv 1506.01497), end to end: with VGG-16, and a small one for scenes of digits."""

from __future__ import annotations

from dragon.models.nets.body import MSRA, Body, gaussian
from dragon.models.nets.model import solver
from dragon.models.nets.regions import (
    CONFIGURATION,
    END_TO_END,
    VOC_2007,
    OneByOne,
    Proposing,
    Regions,
    found,
    losses,
    propose,
)
from dragon.models.nets.vgg import features

__all__ = ["MODELS", "VOC", "faster_rcnn_scenes", "faster_rcnn_vgg16"]

_SMALL = gaussian(0.01)
VOC = OneByOne(VOC_2007, VOC_2007, 21, (600, 1000), ("trainval", "test"), python=True)
_FROZEN = ("conv1_1", "conv1_2", "conv2_1", "conv2_2")  # they keep the weights of VGG-16 for ImageNet


def faster_rcnn_vgg16() -> Body:
    """Faster R-CNN with VGG-16, as py-faster-rcnn's net faster_rcnn_end2end has it."""
    b = features(Body(), last_pool=False)
    for layer in b.layers:
        if layer.name in _FROZEN:
            for spec in layer.param:
                spec.lr_mult = 0
    shared = propose(b, Regions(VOC.classes, python=True)).top
    pooling = {"pooled_w": 7, "pooled_h": 7, "spatial_scale": 1 / 16}
    b.join("roi_pool5", "ROIPooling", [shared, "rois"], "pool5", roi_pooling_param=pooling)
    b.ip("fc6", 4096, _SMALL).relu("relu6").dropout("drop6").ip("fc7", 4096, _SMALL).relu("relu7").dropout("drop7")
    return _classify(b, VOC.classes)


def _classify(b: Body, classes: int) -> Body:
    regions = b.top
    b.ip("cls_score", classes, _SMALL).at(regions).ip("bbox_pred", 4 * classes, gaussian(0.001))
    losses(b)
    found(b)
    return b


_SCENES = OneByOne(
    "data/mnist_scenes/scenes_train_lmdb", "data/mnist_scenes/scenes_test_lmdb", 11, (96, 96), flip=False,
    mean=(128, 128, 128),
)  # fmt: skip
_DIGITS = Regions(
    _SCENES.classes, stride=4, base=4, ratios=(1, 2), scales=(3.5, 5.5, 8), width=64,
    target={"batch_size": 64, "allowed_border": 8, "positive_overlap": 0.6},
    proposal={"min_size": 6, "pre_nms_topn": 300, "post_nms_topn": 64},
    tested={"min_size": 6, "pre_nms_topn": 300, "post_nms_topn": 40},
    sample={"batch_size": 32, "fg_fraction": 0.5, "bg_thresh_lo": 0},
)  # fmt: skip


def faster_rcnn_scenes() -> Body:
    """A small Faster R-CNN for scenes of digits, 96 x 96: four convolutions, and regions of 7 x 7 by ROIAlign."""
    b = Body()
    b.add("scaled", "Power", power_param={"scale": 1 / 64})
    b.conv("conv1", 24, 3, MSRA, pad=1).relu("relu1").pool("pool1", "MAX", 2)
    b.conv("conv2", 48, 3, MSRA, pad=1).relu("relu2").pool("pool2", "MAX", 2)
    b.conv("conv3", 64, 3, MSRA, pad=1).relu("relu3").conv("conv4", 64, 3, MSRA, pad=1).relu("relu4")
    shared = propose(b, _DIGITS).top
    pooling = {"pooled_w": 7, "pooled_h": 7, "spatial_scale": 1 / 4, "sampling_ratio": 2}
    b.join("roi_align", "ROIAlign", [shared, "rois"], roi_align_param=pooling)
    b.ip("fc6", 128, MSRA).relu("relu6")
    return _classify(b, _SCENES.classes)


# as py-faster-rcnn, whose script runs 70,000 iterations of two images
_SOLVER = solver(70000, 0.001, **(END_TO_END | {"stepsize": 50000}))
_QUICK = solver(
    5000, 0.001, weight_decay=0.0001, type="Adam", lr_policy="cosine", iter_size=2, average_loss=50, display=100,
    test_iter=[500], test_interval=1000, test_initialization=False, eval_type="detection", snapshot=1000,
)  # fmt: skip
MODELS: dict[str, Proposing] = {
    "faster_rcnn_vgg16": Proposing(
        "Faster R-CNN with VGG-16 on PASCAL VOC", VOC, faster_rcnn_vgg16, _SOLVER,
        configuration=CONFIGURATION.format(""),
    ),
    "faster_rcnn_scenes": Proposing(
        "A small Faster R-CNN on scenes of digits", _SCENES, faster_rcnn_scenes, _QUICK, classes=11
    ),
}  # fmt: skip
