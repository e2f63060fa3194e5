"""R-FCN (Dai et al. 2016, arXiv 1605.06409) with ResNet, boxes that are the same for all classes, and mining (OHEM).

Layers are named as in py-R-FCN's nets train_agnostic_ohem.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from dragon.models.nets.body import SPLIT, Body, gaussian
from dragon.models.nets.faster_rcnn import VOC
from dragon.models.nets.model import solver
from dragon.models.nets.regions import CONFIGURATION, END_TO_END, ONLY_TRAIN, Proposing, Regions, found, propose
from dragon.models.nets.resnet import BLOCKS_50, BLOCKS_101, stages
from dragon.proto import dragon_pb2 as pb

__all__ = ["MODELS", "rfcn"]

_SMALL = gaussian(0.01)
_NORMALISING = {"BatchNorm": 3, "Scale": 2}  # and how many blobs they have
_BINS, _MINED = 7, 128  # cells of a region each way; regions of an image that are learned from


def rfcn(blocks: tuple[int, ...], **form: bool) -> Body:
    """R-FCN on a ResNet with so many blocks in its stages, whose last stage is dilated. form: see `resnet.stages`.

    Regions are proposed from the third stage. The first convolution, the first stage and all normalisation keep the
    weights of the net for ImageNet.
    """
    b = Body(SPLIT, lr=None)
    _, _, third, last = stages(b, blocks, dilated=True, **form)
    for layer in b.layers:
        _freeze(layer)
    b.lr = (1, 2)
    propose(b.at(third), Regions(2, python=True))
    b.at(last).conv("conv_new_1", 1024, 1, _SMALL, bias=True).relu("conv_new_1_relu")
    shared = b.top
    for kind, name, width, top in (("cls", "cls", VOC.classes, "cls_score"), ("bbox", "loc", 8, "bbox_pred")):
        b.at(shared).conv(f"rfcn_{kind}", width * _BINS**2, 1, _SMALL, bias=True)
        pooling = {"spatial_scale": 1 / 16, "output_dim": width, "group_size": _BINS}
        b.join(f"psroipooled_{name}_rois", "PSROIPooling", [b.top, "rois"], psroi_pooling_param=pooling)
        mean = {"pool": "AVE", "kernel_size": _BINS, "stride": _BINS}
        b.join(f"ave_{top}_rois", "Pooling", [b.top], top, pooling_param=mean)
    _mine(b)
    found(b)
    return b


def _freeze(layer: pb.LayerParameter) -> None:
    """Take from a layer of the ResNet what is not learned: normalisation, the first convolution and stage 2."""
    if layer.type == "BatchNorm":
        layer.batch_norm_param.use_global_stats = True
    if layer.type in _NORMALISING:
        layer.param.extend([pb.ParamSpec(lr_mult=0, decay_mult=0)] * _NORMALISING[layer.type])
    elif layer.type == "Convolution" and layer.name.startswith(("conv1", "res2")):
        layer.param.extend([pb.ParamSpec(lr_mult=0)] * (1 + layer.convolution_param.bias_term))


def _mine(b: Body) -> None:
    """The losses in TRAIN, of the regions whose losses are largest."""

    def add(name: str, kind: str, bottoms: str, tops: str, weight: float | None = None, **settings: Any) -> None:
        """weight: of a loss, 0 for one that only the choice of regions reads."""
        read, made = bottoms.split(), tops.split()
        down = [bool(weight), *[False] * (len(read) - 1)]
        if weight is not None:
            settings["loss_weight"] = [weight] * len(made)
        b.join(name, kind, read, *made, propagate_down=down, **settings, **ONLY_TRAIN)

    one_by_one = "temp_loss_cls temp_prob_cls per_roi_loss_cls"
    add("per_roi_loss_cls", "SoftmaxWithLossOHEM", "cls_score labels", one_by_one, 0)
    targets = "bbox_pred bbox_targets bbox_inside_weights"
    add("per_roi_loss_bbox", "SmoothL1LossOHEM", targets, "temp_loss_bbox per_roi_loss_bbox", 0)
    add("per_roi_loss", "Eltwise", "per_roi_loss_cls per_roi_loss_bbox", "per_roi_loss")
    mining = {"roi_per_img": _MINED, "ignore_label": -1}
    add("annotator_detector", "BoxAnnotatorOHEM", "rois per_roi_loss labels bbox_inside_weights",
        "labels_ohem bbox_loss_weights_ohem", box_annotator_ohem_param=mining)  # fmt: skip
    unread = ["bbox_outside_weights", "temp_loss_cls", "temp_prob_cls", "temp_loss_bbox"]
    b.join("silence", "Silence", unread, **ONLY_TRAIN)
    b.layers[-1].ClearField("top")
    add("loss", "SoftmaxWithLoss", "cls_score labels_ohem", "loss_cls", 1, loss_param={"ignore_label": -1})
    add("accuracy", "Accuracy", "cls_score labels_ohem", "accuracy", accuracy_param={"ignore_label": -1})
    normalised = {"normalization": "PRE_FIXED", "pre_fixed_normalizer": _MINED}
    add("loss_bbox", "SmoothL1LossOHEM", "bbox_pred bbox_targets bbox_loss_weights_ohem", "loss_bbox", 1,
        loss_param=normalised)  # fmt: skip


# as py-R-FCN, whose script runs 110,000 iterations of two images on VOC 2007 and 2012
_SOLVER = solver(110000, 0.001, **(END_TO_END | {"stepsize": 80000}))
_CONFIGURATION = CONFIGURATION.format(
    "  BG_THRESH_LO: 0.0\n  BATCH_SIZE: -1\n  AGNOSTIC: True\n  RPN_PRE_NMS_TOP_N: 6000\n  RPN_POST_NMS_TOP_N: 300\n"
)


def _model(depth: int, blocks: tuple[int, ...], **form: bool) -> Proposing:
    title = f"R-FCN with ResNet-{depth} on PASCAL VOC"
    return Proposing(title, VOC, partial(rfcn, blocks, **form), _SOLVER, configuration=_CONFIGURATION)


MODELS: dict[str, Proposing] = {
    "rfcn_resnet50": _model(50, BLOCKS_50, first_bias=True),
    "rfcn_resnet101": _model(101, BLOCKS_101, deep=True),
}
