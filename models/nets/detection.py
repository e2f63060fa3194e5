"""Nets that find boxes as SSD does (Liu et al. 2015, arXiv 1512.02325): their data, loss and evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dragon.models.nets.model import Finding, behind
from dragon.proto import dragon_pb2 as pb

__all__ = ["SSD_WINDOWS", "Boxed", "Detecting", "Refining"]

_OVERLAPS = (0.1, 0.3, 0.5, 0.7, 0.9)
_PART = {"min_scale": 0.3, "max_scale": 1, "min_aspect_ratio": 0.5, "max_aspect_ratio": 2}
_CONSTRAINTS: list[dict[str, float]] = [*({"min_jaccard_overlap": o} for o in _OVERLAPS), {"max_jaccard_overlap": 1}]
# the whole image, or a window of it: section 2.2, data augmentation
SSD_WINDOWS: list[dict[str, Any]] = [
    {"max_sample": 1, "max_trials": 1},
    *({"sampler": _PART, "sample_constraint": c, "max_sample": 1, "max_trials": 50} for c in _CONSTRAINTS),
]
_COLOURS = {
    "brightness_prob": 0.5, "brightness_delta": 32, "contrast_prob": 0.5, "contrast_lower": 0.5, "contrast_upper": 1.5,
    "hue_prob": 0.5, "hue_delta": 18, "saturation_prob": 0.5, "saturation_lower": 0.5, "saturation_upper": 1.5,
}  # fmt: skip


@dataclass(frozen=True)
class Boxed:
    """Images with boxes as `dragon convert-annoset` writes them: FOLDER/PREFIX_train_lmdb and FOLDER/PREFIX_test_lmdb.

    side: of the net's input. train, test: images per batch. values: means of the channels. scale: of the images.
    windows: batch_sampler of AnnotatedData. expand: the largest canvas that an image is put on, 1 for none. labels,
    sizes: the file of the label map, and that of names and sizes of the test images, in the folder. sides: of several,
    each batch of training has one. jitter: windows and labels are those of YOLO; None: SSD's.
    """

    folder: str
    prefix: str
    side: int
    train: int
    test: int
    values: tuple[float, ...] = (104, 117, 123)
    scale: float = 1.0
    windows: Sequence[Mapping[str, Any]] = field(default_factory=lambda: SSD_WINDOWS)
    expand: float = 4.0
    labels: str = "labelmap.prototxt"
    sizes: str = "test_name_size.txt"
    sides: Sequence[int] = ()
    jitter: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image."""
        return (3, self.side, self.side)

    def shapes(self, batch: int) -> Mapping[str, tuple[int, ...]]:
        """The shapes of `data`, and of `label` with one box for each image."""
        return {"data": (batch, *self.shape), "label": (1, 1, batch, 8)}

    def layers(self) -> list[pb.LayerParameter]:
        """The AnnotatedData layers of TRAIN and of TEST."""
        return [self._layer(pb.TRAIN, "train", self.train), self._layer(pb.TEST, "test", self.test)]

    def _layer(self, phase: int, part: str, batch: int) -> pb.LayerParameter:
        training = phase == pb.TRAIN
        change: dict[str, Any] = {"mean_value": self.values} if self.values else {}
        change |= {} if self.scale == 1 else {"scale": self.scale}
        kernels = list(pb.ResizeParameter.Interp_mode.values()) if training else [pb.ResizeParameter.LINEAR]
        sides = (training and self.sides) or [self.side]
        resize: dict[str, Any] = {"resize_mode": "WARP", "interp_mode": kernels}
        resize |= {"prob": 1 / len(sides)} if len(sides) > 1 else {}
        change["resize_param"] = [resize | {"height": side, "width": side} for side in sides]
        boxes: dict[str, Any] = {"label_map_file": f"{self.folder}/{self.labels}"}
        if training:
            change |= {"mirror": True, "distort_param": _COLOURS, "emit_constraint": {"emit_type": "CENTER"}}
            if self.expand > 1:
                change["expand_param"] = {"prob": 0.5, "max_expand_ratio": self.expand}
            boxes["batch_sampler"] = self.windows
            if self.jitter is not None:
                boxes |= {"yolo_data_type": 1, "yolo_data_jitter": self.jitter}
        return pb.LayerParameter(
            name="data", type="AnnotatedData", top=["data", "label"], include=[{"phase": phase}],
            transform_param=change, annotated_data_param=boxes,
            data_param={
                "source": f"{self.folder}/{self.prefix}_{part}_lmdb", "batch_size": batch, "backend": "LMDB"
            },
        )  # fmt: skip


@dataclass(frozen=True)
class Detecting(Finding):
    """A detector whose body ends with the offsets, scores and default boxes: mbox_loc, mbox_conf, mbox_priorbox.

    classes: with the background. output: settings of DetectionOutput for testing, deployed: what differs for use.
    """

    classes: int = 21
    output: Mapping[str, Any] = field(default_factory=dict)
    deployed: Mapping[str, Any] = field(default_factory=dict)

    def _found(self, **more: Any) -> list[pb.LayerParameter]:
        """The layers from the scores to the boxes that are found."""
        settings: dict[str, Any] = {"num_classes": self.classes, "share_location": True, "background_label_id": 0}
        settings |= {"code_type": "CENTER_SIZE", **self.output, **more}
        return [
            *_probabilities("mbox_conf", self.classes),
            behind(
                "DetectionOutput", "mbox_loc", "mbox_conf_flatten", "mbox_priorbox", name="detection_out",
                detection_output_param=settings,
            ),
        ]  # fmt: skip

    def scores(self, top: str) -> list[pb.LayerParameter]:
        """The loss in TRAIN; in TEST the boxes that are found, and their comparison with the labels."""
        loss = self.loss("mbox_loss", self.classes, ["mbox_loc", "mbox_conf", "mbox_priorbox", "label"])
        return [loss, *self.tested(self._found())]

    def loss(self, name: str, classes: int, bottoms: Sequence[str], **more: Any) -> pb.LayerParameter:
        """SSD's loss of these bottoms, with the top `name`."""
        settings: dict[str, Any] = {
            "loc_loss_type": "SMOOTH_L1", "conf_loss_type": "SOFTMAX", "loc_weight": 1, "num_classes": classes,
            "share_location": True, "match_type": "PER_PREDICTION", "overlap_threshold": 0.5,
            "use_prior_for_matching": True, "background_label_id": 0, "use_difficult_gt": True,
            "mining_type": "MAX_NEGATIVE", "neg_pos_ratio": 3, "neg_overlap": 0.5, "code_type": "CENTER_SIZE", **more,
        }  # fmt: skip
        return behind(
            "MultiBoxLoss", *bottoms, name=name, include=[{"phase": pb.TRAIN}],
            propagate_down=[k < 2 for k in range(len(bottoms))], loss_param={"normalization": "VALID"},
            multibox_loss_param=settings,
        )  # fmt: skip

    def tested(self, found: Sequence[pb.LayerParameter]) -> list[pb.LayerParameter]:
        """The layers that find boxes, for TEST alone, and the comparison of the boxes with the labels."""
        original: dict[str, Any] = {}
        if isinstance(self.data, Boxed) and self.data.sizes:
            original["name_size_file"] = f"{self.data.folder}/{self.data.sizes}"
        for layer in found:
            layer.include.add(phase=pb.TEST)
        return [*found, self.evaluation("detection_out", self.classes, **original)]

    def answer(self, top: str) -> list[pb.LayerParameter]:
        """The layers from the scores to the boxes."""
        return self._found(**self.deployed)


class Refining(Detecting):
    """A detector of two steps, as RefineDet: arm_loc, arm_conf and arm_priorbox, which odm_loc and odm_conf refine."""

    _LEAST: ClassVar[Mapping[str, float]] = {"objectness_score": 0.01}

    def _found(self, **more: Any) -> list[pb.LayerParameter]:
        """The layers from the scores of the second step to the boxes that are found."""
        found = super()._found(**self._LEAST, **more)[-1]
        del found.bottom[:]
        found.bottom.extend(["odm_loc", "odm_conf_flatten", "arm_priorbox", "arm_conf_flatten", "arm_loc"])
        return [*_probabilities("odm_conf", self.classes), found]

    def scores(self, top: str) -> list[pb.LayerParameter]:
        """The losses of both steps in TRAIN; in TEST the boxes that are found, and their comparison with the labels."""
        boxes = ["arm_priorbox", "label"]
        return [
            self.loss("arm_loss", 2, ["arm_loc", "arm_conf", *boxes], **self._LEAST),
            *_probabilities("arm_conf", 2),
            self.loss(
                "odm_loss", self.classes, ["odm_loc", "odm_conf", *boxes, "arm_conf_flatten", "arm_loc"], **self._LEAST
            ),
            *self.tested(self._found()),
        ]

    def answer(self, top: str) -> list[pb.LayerParameter]:
        """The layers from the scores to the boxes."""
        return [*_probabilities("arm_conf", 2), *self._found(**self.deployed)]


def _probabilities(top: str, classes: int) -> list[pb.LayerParameter]:
    """The softmax of the scores of each box, with the top TOP_flatten."""
    return [
        behind("Reshape", top, name=f"{top}_reshape", reshape_param={"shape": {"dim": [0, -1, classes]}}),
        behind("Softmax", f"{top}_reshape", name=f"{top}_softmax", softmax_param={"axis": 2}),
        behind("Flatten", f"{top}_softmax", name=f"{top}_flatten", flatten_param={"axis": 1}),
    ]
