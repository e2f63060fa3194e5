"""COCO's average precisions of the detections of a test, computed by pycocotools."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import Any

import numpy as np

from dragon.bases.box_matching import truth_of
from dragon.errors import UsageError
from dragon.extras import install_command
from dragon.graph.net import Net
from dragon.memory.storage import Array

__all__ = ["COCO_NAMES", "CocoScores"]

# in the order of COCOeval.stats
COCO_NAMES = (
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
    "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large",
)  # fmt: skip


class CocoScores:
    """Collects the labels and the detections that the first layer with `scores_detections` of a net compares.

    Boxes are counted in pixels of the net's input, or of a square of 512 where no bottom of a PriorBox tells its size:
    only the scores of small, medium and large boxes depend on it. Labels that do not count for the layer, difficult
    ones without `evaluate_difficult_gt`, are crowds. Raises UsageError where pycocotools or such a layer is missing.
    """

    def __init__(self, net: Net) -> None:
        _modules()
        found = [node for node in net.nodes if node.layer.scores_detections]
        if not found:
            raise UsageError(f'net "{net.name}" has no layer DetectionEvaluate, so there are no detections to score')
        self._node = found[0]
        self._param = self._node.layer.param.detection_evaluate_param
        images = [node.bottoms[1].shape[2:] for node in net.nodes if node.layer.type == "PriorBox"]
        height, width = images[0] if images else (512, 512)
        self._scale = np.array([width, height, width, height], np.float64)
        self._images = 0
        self._labels: list[dict[str, Any]] = []
        self._found: list[list[float]] = []  # image, x, y, width, height, score, class

    def compared(self) -> tuple[Array, Array]:
        """The detections and labels that the net holds after a forward pass, which may come from another rank."""
        found, labels = (np.array(blob.peek(), np.float64) for blob in self._node.bottoms)
        return found, labels

    def add(self) -> None:
        """Add what the net holds after a forward pass."""
        self.add_batch(*self.compared())

    def add_batch(self, found: Array, labels: Array) -> None:
        """Add what `compared` returned for a batch."""
        found = found.reshape(-1, 7)
        truth = truth_of(self._node.layer, labels, self._param.num_classes, self._param.background_label_id)
        count = 1 + max([*found[:, 0].astype(int).tolist(), *truth], default=-1)
        for item, one in truth.items():
            places = np.concatenate([one.boxes[:, :2], one.boxes[:, 2:] - one.boxes[:, :2]], axis=1) * self._scale
            for place, label, difficult in zip(places.tolist(), one.labels, one.difficult, strict=True):
                crowd = int(bool(difficult) and not self._param.evaluate_difficult_gt)
                self._labels.append(
                    {"id": len(self._labels) + 1, "image_id": self._images + item, "category_id": int(label),
                     "bbox": place, "area": place[2] * place[3], "iscrowd": crowd}
                )  # fmt: skip
        for item, label, score, *corners in found[found[:, 1] >= 0].tolist():
            box = np.array(corners) * self._scale
            self._found.append([self._images + item, *box[:2], *(box[2:] - box[:2]), score, label])
        self._images += count

    def scores(self) -> dict[str, float]:
        """COCO's twelve scores by name, AP and AR as means over the overlaps 0.5 to 0.95.

        Classes that no label has do not count. A score is -1 where there is nothing to find, such as no small box; all
        are 0 where nothing was found.
        """
        coco, evaluation = _modules()
        classes = [c for c in range(self._param.num_classes) if c != self._param.background_label_id]
        with redirect_stdout(io.StringIO()):
            truth = coco()
            truth.dataset = {
                "images": [{"id": i} for i in range(self._images)], "annotations": self._labels,
                "categories": [{"id": c} for c in classes], "info": {},
            }  # fmt: skip
            truth.createIndex()
            if not self._found:
                return dict.fromkeys(COCO_NAMES, 0.0)
            run = evaluation(truth, truth.loadRes(np.array(self._found)), "bbox")
            run.evaluate()
            run.accumulate()
            run.summarize()
        return dict(zip(COCO_NAMES, map(float, run.stats), strict=True))


def _modules() -> tuple[Any, Any]:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise UsageError(f"COCO's scores need a package: {install_command('coco')}") from None
    return COCO, COCOeval
