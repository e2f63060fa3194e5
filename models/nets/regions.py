"""Nets that propose regions and then classify them (Faster R-CNN, R-FCN): their data, targets, losses and evaluation.

Layers are named as in py-faster-rcnn and py-R-FCN, so that weights of those nets fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dragon.models.nets.body import Body, gaussian
from dragon.models.nets.model import Finding, deployed
from dragon.proto import dragon_pb2 as pb

__all__ = [
    "CONFIGURATION", "END_TO_END", "ONLY_TEST", "ONLY_TRAIN", "VOC_2007", "OneByOne", "Proposing", "Regions", "found",
    "losses", "propose",
]  # fmt: skip

ONLY_TRAIN: dict[str, Any] = {"include": [{"phase": pb.TRAIN}]}
ONLY_TEST: dict[str, Any] = {"include": [{"phase": pb.TEST}]}
VOC_2007 = "data/VOCdevkit2007/VOC2007"
# the settings of the authors' solvers, but for iterations and step
END_TO_END: dict[str, Any] = {
    "weight_decay": 0.0005, "lr_policy": "step", "gamma": 0.1, "iter_size": 2, "average_loss": 100, "display": 20,
    "test_iter": [4952], "test_interval": 10000, "test_initialization": False, "eval_type": "detection",
    "ap_version": "11point", "snapshot": 10000,
}  # fmt: skip
# rcnn.yml; {}: further settings for training
CONFIGURATION = f"""\
TRAIN:
  HAS_RPN: True
  IMS_PER_BATCH: 1
  BBOX_NORMALIZE_TARGETS_PRECOMPUTED: True
  RPN_POSITIVE_OVERLAP: 0.7
  RPN_BATCHSIZE: 256
  PROPOSAL_METHOD: gt
{{}}TEST:
  HAS_RPN: True
DATA:
  source: {VOC_2007}
  image_set: trainval
"""
_MODULES = {
    "AnchorTarget": "rpn.anchor_target_layer",
    "Proposal": "rpn.proposal_layer",
    "ProposalTarget": "rpn.proposal_target_layer",
}
_SMALL = gaussian(0.01)
_STD = (0.1, 0.1, 0.2, 0.2)  # of offsets, which the targets are divided by: py-faster-rcnn's configuration


@dataclass(frozen=True)
class OneByOne:
    """Images with boxes, one in each iteration.

    source, test_source: a folder of VOC or an LMDB of AnnotatedDatum records; sets: the lists of a folder for training
    and testing. classes: with the background. size: (height, width) of the deployed net's input; the short side of an
    image is scaled to the shorter one, unless its long side then exceeds the longer one. mean: of the channels, None
    for py-faster-rcnn's. python: the training data come from py-faster-rcnn's Python layer, with settings in rcnn.yml.
    """

    source: str
    test_source: str
    classes: int
    size: tuple[int, int]
    sets: tuple[str, str] | None = None
    flip: bool = True
    mean: tuple[float, ...] | None = None
    python: bool = False
    train: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image."""
        return (3, *self.size)

    def shapes(self, batch: int) -> Mapping[str, tuple[int, ...]]:
        """The shapes of the blobs that are read, with one box; the batch is always one image."""
        return {"data": (1, *self.shape), "im_info": (1, 3), "gt_boxes": (1, 5), "label": (1, 1, 1, 8)}

    def layers(self) -> list[pb.LayerParameter]:
        """The data layers of TRAIN and of TEST; the latter also gives the labels for the evaluation."""
        training = self._layer(0, self.source, use_flipped=self.flip)
        if self.python:
            training.type = "Python"
            training.ClearField("roi_data_param")
            training.python_param.MergeFrom(
                _python("roi_data_layer.layer", "RoIDataLayer", f"'num_classes': {self.classes}")
            )
        testing = self._layer(1, self.test_source)
        testing.top.append("label")
        return [training, testing]

    def _layer(self, part: int, source: str, **more: Any) -> pb.LayerParameter:
        settings: dict[str, Any] = {"source": source, "num_classes": self.classes, **more}
        settings |= {"scale": [min(self.size)], "max_size": max(self.size)}
        settings |= {"image_set": self.sets[part]} if self.sets else {}
        settings |= {"pixel_mean": self.mean} if self.mean else {}
        return pb.LayerParameter(
            name="input-data", type="RoIData", top=["data", "im_info", "gt_boxes"], roi_data_param=settings,
            **(ONLY_TEST if part else ONLY_TRAIN),
        )  # fmt: skip


def _python(module: str, layer: str, settings: str) -> pb.PythonParameter:
    return pb.PythonParameter(module=module, layer=layer, param_str=settings)


@dataclass(frozen=True)
class Regions:
    """How a net proposes regions.

    stride: pixels of the image for one position of the map; base, ratios, scales: of the anchors. width: channels of
    the layer that scores them. python: the layers of training are py-faster-rcnn's Python layers, with their settings
    in rcnn.yml. Settings of layers, where they are not: target, of AnchorTarget; proposal, tested, of Proposal in both
    phases and in TEST; sample, of ProposalTarget. labelled: num_classes of the latter.
    """

    labelled: int
    stride: int = 16
    base: int = 16
    ratios: Sequence[float] = (0.5, 1, 2)
    scales: Sequence[float] = (8, 16, 32)
    width: int = 512
    python: bool = False
    target: Mapping[str, Any] = field(default_factory=dict)
    proposal: Mapping[str, Any] = field(default_factory=dict)
    tested: Mapping[str, Any] = field(default_factory=dict)
    sample: Mapping[str, Any] = field(default_factory=dict)

    @property
    def anchors(self) -> int:
        """How many anchors each position has."""
        return len(self.ratios) * len(self.scales)

    def settings(self, more: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a layer that makes anchors."""
        own: dict[str, Any] = {"feat_stride": self.stride}
        if self.base != 16:
            own["base_size"] = self.base
        if (*self.ratios, *self.scales) != (0.5, 1, 2, 8, 16, 32):
            own |= {"ratio": self.ratios, "scale": self.scales}
        return own | dict(more)

    def join(self, b: Body, name: str, bottoms: Sequence[str], tops: Sequence[str], kind: str) -> None:
        """Add a layer of training: of Dragon's type `kind`, or the Python layer that it stands for."""
        if self.python:
            key, number = ("num_classes", self.labelled) if kind == "ProposalTarget" else ("feat_stride", self.stride)
            settings = _python(_MODULES[kind], f"{kind}Layer", f"'{key}': {number}")
            b.join(name, "Python", bottoms, *tops, python_param=settings, **ONLY_TRAIN)
        elif kind == "AnchorTarget":
            b.join(name, kind, bottoms, *tops, anchor_target_param=self.settings(self.target), **ONLY_TRAIN)
        elif kind == "Proposal":
            b.join(name, kind, bottoms, *tops, proposal_param=self.settings(self.proposal), **ONLY_TRAIN)
        else:
            own: dict[str, Any] = {"num_classes": self.labelled, "normalize_targets": True, **self.sample}
            b.join(name, kind, bottoms, *tops, proposal_target_param=own, **ONLY_TRAIN)


def _weights(of: str) -> list[str]:
    """The blobs of a SmoothL1Loss behind its predictions."""
    return [f"{of}_{name}" for name in ("targets", "inside_weights", "outside_weights")]


def propose(b: Body, r: Regions) -> Body:
    """Propose regions from the body's top: `rois` (R, 5); in TRAIN a sample with labels, and the losses of anchors."""
    shared = b.top
    b.conv("rpn_conv/3x3", r.width, 3, _SMALL, bias=True, pad=1).relu("rpn_relu/3x3")
    top = b.top
    b.conv("rpn_bbox_pred", 4 * r.anchors, 1, _SMALL, bias=True).at(top)
    scores = b.conv("rpn_cls_score", 2 * r.anchors, 1, _SMALL, bias=True).top
    b.add("rpn_cls_score_reshape", "Reshape", reshape_param={"shape": {"dim": [0, 2, -1, 0]}})
    by_anchor = b.top
    read = [scores, "gt_boxes", "im_info", "data"]
    r.join(b, "rpn-data", read, ["rpn_labels", *_weights("rpn_bbox")], "AnchorTarget")
    _losses(b, "rpn_loss", by_anchor, "rpn_labels", "rpn_bbox", smooth_l1_loss_param={"sigma": 3})
    b.at(by_anchor).add("rpn_cls_prob", "Softmax")
    b.add("rpn_cls_prob_reshape", "Reshape", reshape_param={"shape": {"dim": [0, 2 * r.anchors, -1, 0]}})
    read = [b.top, "rpn_bbox_pred", "im_info"]
    r.join(b, "proposal", read, ["rpn_rois"], "Proposal")
    r.join(b, "roi-data", ["rpn_rois", "gt_boxes"], ["rois", "labels", *_weights("bbox")], "ProposalTarget")
    b.join("proposal", "Proposal", read, "rois", proposal_param=r.settings(r.tested), **ONLY_TEST)
    return b.at(shared)


def losses(b: Body) -> None:
    """The losses of the regions in TRAIN, of their classes, `cls_score`, and of their offsets, `bbox_pred`."""
    _losses(b, "loss", "cls_score", "labels", "bbox")


def _losses(b: Body, name: str, scores: str, labels: str, offsets: str, **more: Any) -> None:
    """The losses of scores and of offsets in TRAIN. more: settings of the latter."""
    b.join(
        f"{name}_cls", "SoftmaxWithLoss", [scores, labels], propagate_down=[True, False], loss_weight=[1],
        loss_param={"ignore_label": -1, "normalize": True}, **ONLY_TRAIN,
    )  # fmt: skip
    read = [f"{offsets}_pred", *_weights(offsets)]
    b.join(f"{name}_bbox", "SmoothL1Loss", read, loss_weight=[1], **more, **ONLY_TRAIN)


def found(b: Body) -> None:
    """The boxes that are found in TEST, `detection_out`, by `cls_score` and `bbox_pred`."""
    b.join("cls_prob", "Softmax", ["cls_score"], **ONLY_TEST)
    b.join(
        "detection_out", "RCNNDetectionOutput", ["rois", "cls_prob", "bbox_pred", "im_info"],
        rcnn_detection_output_param={"bbox_std": _STD}, **ONLY_TEST,
    )  # fmt: skip


@dataclass(frozen=True)
class Proposing(Finding):
    """A detector whose body ends with `found`. configuration: the text of rcnn.yml, "" for none."""

    classes: int = 21
    configuration: str = ""

    def scores(self, top: str) -> list[pb.LayerParameter]:
        """The comparison with the labels in TEST; the losses are part of the body."""
        unread = pb.LayerParameter(name="silence", type="Silence", bottom=["gt_boxes"], **ONLY_TEST)
        return [self.evaluation("detection_out", self.classes), unread]

    def deploy_inputs(self) -> Mapping[str, tuple[int, ...]]:
        """The image, and its height, width and scale."""
        return {"data": (1, *self.data.shape), "im_info": (1, 3)}

    def deploy(self, name: str) -> pb.NetParameter:
        """The net for use: the layers of TEST behind inputs."""
        kept = [layer for layer in self.body().layers if [rule.phase for rule in layer.include] != [pb.TRAIN]]
        for layer in kept:
            layer.ClearField("include")
        return deployed(name, self.deploy_inputs(), kept)

    def files(self, name: str) -> dict[str, str]:
        """The contents of the prototxt files, and of rcnn.yml where there is one."""
        head = f"# {self.title}: settings of py-faster-rcnn's layers.\n# Made by models/generate.py.\n"
        return super().files(name) | ({"rcnn.yml": head + self.configuration} if self.configuration else {})
