"""The layer type DetectionOutput."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from dragon.bases.box_matching import check_predictions, refined_boxes, shows_object
from dragon.bases.boxes import decode_boxes, suppress
from dragon.bases.layer import register
from dragon.bases.no_gradient import NoGradient
from dragon.files.detection_files import DetectionFiles
from dragon.files.layer_files import may_write
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["DetectionOutput"]

log = logging.getLogger("dragon")
_REFINING = 3  # the bottom from which on RefineDet's stand


@register()
class DetectionOutput(NoGradient):
    """Boxes from offsets and scores, decoded and thinned out by non-maximum suppression (SSD, Liu et al. 2016).

    Bottoms: offsets (N, P * 4), or (N, P * classes * 4) without `share_location`; scores (N, P * classes); the PriorBox
    top (1, 2, P * 4). Top: (1, 1, K, 7) with item, label, score, xmin, ymin, xmax, ymax for each box, ordered by item,
    label and falling score. If no box is found, there is one row for each item: its number and six times -1. With
    `save_output_param` the boxes are also written to files (`dragon.files.detection_files`).

    RefineDet (Zhang et al. 2018) has two more bottoms: the probabilities (N, P * 2) of background and object, and the
    offsets (N, P * 4), both of its first step. The offsets move the default boxes, and a box whose probability of an
    object is below `objectness_score` is background.
    """

    type = "DetectionOutput"
    settings = ("detection_output_param",)
    unlimited = frozenset({"confidence_threshold", "nms_threshold"})
    gives_boxes = True
    host_only = "sorts boxes and drops those that overlap, one after another"
    bottoms = (3, 5)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.detection_output_param
        if p.num_classes < 1:
            self.bad_param("needs num_classes")
        if p.nms_param.nms_threshold < 0:
            self.bad_param(f"nms_threshold must not be negative, got {p.nms_param.nms_threshold:g}")
        if not 0 < p.nms_param.eta <= 1:
            self.bad_param(f"eta must lie in (0, 1], got {p.nms_param.eta:g}")
        self.classes: int = p.num_classes
        self.locations = 1 if p.share_location else self.classes
        self.min_score: float | None = p.confidence_threshold if p.HasField("confidence_threshold") else None
        if p.visualize or p.save_file:
            log.warning("%s: shows no pictures; its top holds the boxes", self.where)
        self.files = self._files()

    def _files(self) -> DetectionFiles | None:
        """The writer of the boxes to files; None unless the settings ask for one and are complete."""
        p = self.param.detection_output_param
        save = p.save_output_param
        if not save.output_directory:
            return None
        for name in ("label_map_file", "name_size_file"):
            if not getattr(save, name):
                log.warning("%s: writes no files, since save_output_param has no %s", self.where, name)
                return None
        if not may_write(save.output_directory, self.where):
            return None
        with self.naming_errors():
            return DetectionFiles(save, p.background_label_id, lambda path: self.find(path, "file"))

    def close(self) -> None:
        if self.files is not None and self.files.pending:
            log.warning("%s: wrote no files: only %s were seen", self.where, self.files.pending)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.n, self.priors = check_predictions(self, bottom, self.locations, self.classes, _REFINING)
        if top[0].ndim != 4 or top[0].shape[3] != 7:
            top[0].reshape(1, 1, 1, 7)  # the number of boxes is known only in forward

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.detection_output_param
        prior, variance = bottom[2].peek().reshape(2, self.priors, 4)
        offsets = bottom[0].peek().reshape(self.n, self.priors, self.locations, 4).swapaxes(1, 2)
        scores = bottom[1].peek().reshape(self.n, self.priors, self.classes).swapaxes(1, 2)
        factors = None if p.variance_encoded_in_target else variance
        refined = refined_boxes(bottom, _REFINING, prior, factors, p.code_type)
        boxes = decode_boxes(refined[:, None], factors, offsets, p.code_type)
        objects = shows_object(bottom, _REFINING, p.objectness_score)
        if objects is not None:
            certain = (np.arange(self.classes) == p.background_label_id)[:, None]
            scores = np.where(objects[:, None], scores, certain.astype(scores.dtype))
        items = [self._item(i, boxes[i], scores[i]) for i in range(self.n)]
        if self.files is not None:
            for found in items:
                self.files.add(found)
        rows = [row for found in items for row in found]
        if not rows:
            rows = [np.array([i] + [-1] * 6) for i in range(self.n)]
        top[0].reshape(1, 1, len(rows), 7)
        y = top[0].data
        if rows:
            y[...] = xp_of(y).asarray(np.stack(rows))

    def _item(self, item: int, boxes: Array, scores: Array) -> list[Array]:
        """Rows (7) of the top for one item; boxes (locations, P, 4), scores (classes, P)."""
        p = self.param.detection_output_param
        top_k = p.nms_param.top_k if p.nms_param.HasField("top_k") else -1
        found: list[tuple[float, int, int]] = []
        for label in range(self.classes):
            if label == p.background_label_id:
                continue
            kept = suppress(
                boxes[label if self.locations > 1 else 0],
                scores[label],
                p.nms_param.nms_threshold,
                top_k,
                p.nms_param.eta,
                self.min_score,
            )
            found += [(float(scores[label, i]), label, i) for i in kept]
        if -1 < p.keep_top_k < len(found):
            found = sorted(found, key=lambda box: -box[0])[: p.keep_top_k]
            found.sort(key=lambda box: box[1])
        return [
            np.array([item, label, score, *boxes[label if self.locations > 1 else 0][i]]) for score, label, i in found
        ]
