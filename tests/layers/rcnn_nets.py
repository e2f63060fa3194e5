"""Small nets of the structure of py-faster-rcnn's and py-R-FCN's, with layers of type Python as those name them."""

from __future__ import annotations

__all__ = ["end_to_end", "input_boxes", "ohem", "python"]


def python(name: str, module: str, layer: str, bottoms: str, tops: str, param: str) -> str:
    """A layer of type Python."""
    wiring = "".join(f" bottom: '{b}'" for b in bottoms.split()) + "".join(f" top: '{t}'" for t in tops.split())
    return (
        f"layer {{ name: '{name}' type: 'Python'{wiring} python_param {{ module: '{module}' layer: '{layer}' "
        f'param_str: "{param}" }} }}\n'
    )


def input_boxes(image: int = 48, boxes: int = 2) -> str:
    """Inputs in place of a data layer."""
    shapes = {"data": (1, 3, image, image), "im_info": (1, 3), "gt_boxes": (boxes, 5)}
    return "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        + " ".join(f"dim: {d}" for d in shape)
        + " } } }\n"
        for name, shape in shapes.items()
    )


def _learned(kind: str, name: str, bottom: str, settings: str, top: str = "") -> str:
    field = "convolution_param" if kind == "Convolution" else "inner_product_param"
    return (
        f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top or name}" param {{ lr_mult: 1 }} '
        f"param {{ lr_mult: 2 }} {field} {{ {settings} weight_filler {{ type: 'gaussian' std: 0.2 }} }} }}\n"
    )


ANCHORS = "{feat_stride: 4, base_size: 4, scales: [2, 4], TRAIN: {RPN_MIN_SIZE: 2}}"


def end_to_end(data: str, anchors: str = ANCHORS, classes: int = 3, batch: str = "TRAIN: {BATCH_SIZE: 32}") -> str:
    """The net faster_rcnn_end2end: `data` gives data, im_info and gt_boxes."""
    return (
        data
        + _learned("Convolution", "conv1", "data", "num_output: 8 kernel_size: 3 pad: 1 stride: 2")
        + 'layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }\n'
        + _learned("Convolution", "conv5", "conv1", "num_output: 8 kernel_size: 3 pad: 1 stride: 2")
        + 'layer { name: "relu5" type: "ReLU" bottom: "conv5" top: "conv5" }\n'
        + _learned("Convolution", "rpn_conv/3x3", "conv5", "num_output: 8 kernel_size: 3 pad: 1", "rpn/output")
        + 'layer { name: "rpn_relu/3x3" type: "ReLU" bottom: "rpn/output" top: "rpn/output" }\n'
        + _learned("Convolution", "rpn_cls_score", "rpn/output", "num_output: 12 kernel_size: 1 pad: 0 stride: 1")
        + _learned("Convolution", "rpn_bbox_pred", "rpn/output", "num_output: 24 kernel_size: 1 pad: 0 stride: 1")
        + """
layer { bottom: "rpn_cls_score" top: "rpn_cls_score_reshape" name: "rpn_cls_score_reshape" type: "Reshape"
        reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } } }
"""
        + python(
            "rpn-data", "rpn.anchor_target_layer", "AnchorTargetLayer", "rpn_cls_score gt_boxes im_info data",
            "rpn_labels rpn_bbox_targets rpn_bbox_inside_weights rpn_bbox_outside_weights", anchors,
        )
        + """
layer { name: "rpn_loss_cls" type: "SoftmaxWithLoss" bottom: "rpn_cls_score_reshape" bottom: "rpn_labels"
        propagate_down: 1 propagate_down: 0 top: "rpn_cls_loss" loss_weight: 1
        loss_param { ignore_label: -1 normalize: true } }
layer { name: "rpn_loss_bbox" type: "SmoothL1Loss" bottom: "rpn_bbox_pred" bottom: "rpn_bbox_targets"
        bottom: "rpn_bbox_inside_weights" bottom: "rpn_bbox_outside_weights" top: "rpn_loss_bbox" loss_weight: 1
        smooth_l1_loss_param { sigma: 3.0 } }
layer { name: "rpn_cls_prob" type: "Softmax" bottom: "rpn_cls_score_reshape" top: "rpn_cls_prob" }
layer { name: "rpn_cls_prob_reshape" type: "Reshape" bottom: "rpn_cls_prob" top: "rpn_cls_prob_reshape"
        reshape_param { shape { dim: 0 dim: 12 dim: -1 dim: 0 } } }
"""
        + python(
            "proposal", "rpn.proposal_layer", "ProposalLayer", "rpn_cls_prob_reshape rpn_bbox_pred im_info",
            "rpn_rois", anchors,
        )
        + python(
            "roi-data", "rpn.proposal_target_layer", "ProposalTargetLayer", "rpn_rois gt_boxes",
            "rois labels bbox_targets bbox_inside_weights bbox_outside_weights",
            f"{{num_classes: {classes}, {batch}}}",
        )
        + """
layer { name: "roi_pool5" type: "ROIPooling" bottom: "conv5" bottom: "rois" top: "pool5"
        roi_pooling_param { pooled_w: 3 pooled_h: 3 spatial_scale: 0.25 } }
"""
        + _learned("InnerProduct", "fc6", "pool5", "num_output: 16")
        + 'layer { name: "relu6" type: "ReLU" bottom: "fc6" top: "fc6" }\n'
        + 'layer { name: "drop6" type: "Dropout" bottom: "fc6" top: "fc6" dropout_param { dropout_ratio: 0.5 } }\n'
        + _learned("InnerProduct", "cls_score", "fc6", f"num_output: {classes}")
        + _learned("InnerProduct", "bbox_pred", "fc6", f"num_output: {4 * classes}")
        + """
layer { name: "loss_cls" type: "SoftmaxWithLoss" bottom: "cls_score" bottom: "labels" propagate_down: 1
        propagate_down: 0 top: "loss_cls" loss_weight: 1 loss_param { ignore_label: -1 normalize: true } }
layer { name: "loss_bbox" type: "SmoothL1Loss" bottom: "bbox_pred" bottom: "bbox_targets"
        bottom: "bbox_inside_weights" bottom: "bbox_outside_weights" top: "loss_bbox" loss_weight: 1 }
"""
    )  # fmt: skip


def ohem(data: str, anchors: str = ANCHORS) -> str:
    """The net rfcn_end2end with online hard example mining and boxes that are the same for all classes."""
    body = end_to_end(data, anchors, 2, "TRAIN: {BATCH_SIZE: -1, AGONISTIC: True, BG_THRESH_LO: 0.0}")
    head = body[: body.index('layer { name: "roi_pool5"')]
    wiring = "propagate_down: false " * 2
    return (
        head
        + _learned("Convolution", "rfcn_cls", "conv5", "num_output: 12 kernel_size: 1")
        + _learned("Convolution", "rfcn_bbox", "conv5", "num_output: 32 kernel_size: 1")
        + "".join(
            f"""
layer {{ bottom: "rfcn_{kind}" bottom: "rois" top: "psroipooled_{kind}" name: "psroipooled_{kind}" type: "PSROIPooling"
        psroi_pooling_param {{ spatial_scale: 0.25 output_dim: {outputs} group_size: 2 }} }}
layer {{ bottom: "psroipooled_{kind}" top: "{top}" name: "ave_{kind}" type: "Pooling"
        pooling_param {{ pool: AVE kernel_size: 2 stride: 2 }} }}
"""
            for kind, outputs, top in (("cls", 3, "cls_score"), ("bbox", 8, "bbox_pred"))
        )
        + f"""
layer {{ name: "per_roi_loss_cls" type: "SoftmaxWithLossOHEM" bottom: "cls_score" bottom: "labels"
        top: "temp_loss_cls" top: "temp_prob_cls" top: "per_roi_loss_cls"
        loss_weight: 0 loss_weight: 0 loss_weight: 0 {wiring} }}
layer {{ name: "per_roi_loss_bbox" type: "SmoothL1LossOHEM" bottom: "bbox_pred" bottom: "bbox_targets"
        bottom: "bbox_inside_weights" top: "temp_loss_bbox" top: "per_roi_loss_bbox"
        loss_weight: 0 loss_weight: 0 {wiring} propagate_down: false }}
layer {{ name: "per_roi_loss" type: "Eltwise" bottom: "per_roi_loss_cls" bottom: "per_roi_loss_bbox"
        top: "per_roi_loss" {wiring} }}
layer {{ bottom: "rois" bottom: "per_roi_loss" bottom: "labels" bottom: "bbox_inside_weights"
        top: "labels_ohem" top: "bbox_loss_weights_ohem" name: "annotator_detector" type: "BoxAnnotatorOHEM"
        box_annotator_ohem_param {{ roi_per_img: 16 ignore_label: -1 }} {wiring} {wiring} }}
layer {{ name: "silence" type: "Silence" bottom: "bbox_outside_weights" bottom: "temp_loss_cls"
        bottom: "temp_prob_cls" bottom: "temp_loss_bbox" }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "cls_score" bottom: "labels_ohem" top: "loss_cls" loss_weight: 1
        loss_param {{ ignore_label: -1 }} propagate_down: true propagate_down: false }}
layer {{ name: "accuarcy" type: "Accuracy" bottom: "cls_score" bottom: "labels_ohem" top: "accuarcy"
        accuracy_param {{ ignore_label: -1 }} {wiring} }}
layer {{ name: "loss_bbox" type: "SmoothL1LossOHEM" bottom: "bbox_pred" bottom: "bbox_targets"
        bottom: "bbox_loss_weights_ohem" top: "loss_bbox" loss_weight: 1
        loss_param {{ normalization: PRE_FIXED pre_fixed_normalizer: 16 }}
        propagate_down: true propagate_down: false propagate_down: false }}
"""
    )
