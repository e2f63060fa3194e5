"""The layer type ProposalTarget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.anchors import encode_offsets, overlaps_of_pixels
from dragon.bases.layer import register
from dragon.bases.region_source import RegionSource, give, sample
from dragon.errors import DataError
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["ProposalTarget"]


@register()
class ProposalTarget(RegionSource):
    """A random sample of regions with their classes and regression targets (Faster R-CNN, Ren et al. 2015).

    Bottoms: regions (R, 5), all of image 0, and gt_boxes (G, 5) with x1, y1, x2, y2 in pixels and a class, which are
    added to the regions. Tops: regions (S, 5), those of objects first; labels (S), 0 for the background; targets,
    inside weights and outside weights (S, 4 * num_classes), of which the four columns of the label are filled.

    A region shows an object if its largest overlap with a true box reaches fg_thresh, background if it lies in
    [bg_thresh_lo, bg_thresh_hi). In an image without true boxes all regions are background. As a Python layer,
    rpn.proposal_target_layer.ProposalTargetLayer of py-faster-rcnn.
    """

    type = "ProposalTarget"
    settings = ("proposal_target_param",)
    bottoms = (2, 2)
    tops = (5, 5)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.proposal_target_param
        if p.num_classes < 2:
            self.bad_param(f"num_classes must be at least 2, with the background, got {p.num_classes}")
        if p.batch_size < 1 and p.batch_size != -1:
            self.bad_param(f"batch_size must be at least 1, or -1 for all regions, got {p.batch_size}")
        if not 0 <= p.fg_fraction <= 1:
            self.bad_param(f"fg_fraction must lie in [0, 1], got {p.fg_fraction:g}")
        self.mean = self.four(p.bbox_mean, (0, 0, 0, 0), "bbox_mean")
        self.std = self.four(p.bbox_std, (0.1, 0.1, 0.2, 0.2), "bbox_std")
        if not (self.std > 0).all():
            self.bad_param(f"bbox_std must be positive, got {self.std.tolist()}")
        self.inside = self.four(p.inside_weight, (1, 1, 1, 1), "inside_weight")
        self.rows = 0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for i, blob in enumerate(bottom):
            self.check_boxes(blob, i)
        p = self.param.proposal_target_param
        if not self.rows:  # the number of regions is known only in forward
            self.rows = p.batch_size if p.batch_size > 0 else bottom[0].shape[0] + bottom[1].shape[0]
        self._fit(top)

    def _fit(self, top: Sequence[Blob]) -> None:
        columns = 4 * self.param.proposal_target_param.num_classes
        for blob, shape in zip(top, ((5,), (), (columns,), (columns,), (columns,)), strict=True):
            blob.reshape(self.rows, *shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        true = self.true_boxes(bottom[1])
        rois = bottom[0].peek().reshape(-1, 5).astype(np.float64)
        if rois[:, 0].any():
            raise DataError("takes the regions of one image, 0; regions of further ones came", layer=self.where)
        rois = np.concatenate([rois, np.pad(true[:, :4], ((0, 0), (1, 0)))])
        if not len(rois):
            raise DataError("there are no regions and no true boxes", layer=self.where)
        overlaps = overlaps_of_pixels(rois[:, 1:], true[:, :4])
        chosen, objects = self._choose(overlaps)
        rois = rois[chosen]
        labels = np.zeros(len(chosen))
        targets = np.zeros((len(chosen), 4))
        if len(true):
            nearest = true[overlaps[chosen].argmax(axis=1)]
            labels[:objects] = nearest[:objects, 4]
            targets = encode_offsets(rois[:, 1:], nearest[:, :4])
        if self.param.proposal_target_param.normalize_targets:
            targets = (targets - self.mean) / self.std
        self.rows = len(chosen)
        give(top[0], rois)
        give(top[1], labels)
        for blob, values in zip(top[2:], self._columns(labels, targets), strict=True):
            give(blob, values)

    def _choose(self, overlaps: Array) -> tuple[Array, int]:
        """The indices of the sample, objects first, and how many objects it has."""
        p = self.param.proposal_target_param
        best = overlaps.max(axis=1, initial=0)
        lowest = p.bg_thresh_lo if overlaps.shape[1] else 0
        size = p.batch_size if p.batch_size > 0 else len(best)
        of_objects = int(np.round(p.fg_fraction * size)) if p.batch_size > 0 else size
        random = self.rng.generator()
        objects = sample(random, np.flatnonzero(best >= p.fg_thresh), of_objects)
        others = np.flatnonzero((best < p.bg_thresh_hi) & (best >= lowest))
        chosen = np.concatenate([objects, sample(random, others, size - len(objects))])
        if not len(chosen):
            chosen = np.array([best.argmin()])  # none is in the range: the one that overlaps least is background
        return chosen, len(objects)

    def _columns(self, labels: Array, targets: Array) -> Array:
        """Targets, inside weights and outside weights (S, 4 * classes), filled in the columns of each label."""
        p = self.param.proposal_target_param
        shown = np.flatnonzero(labels > 0)
        classes = np.ones(len(shown), np.intp) if p.class_agnostic else labels[shown].astype(np.intp)
        if (classes >= p.num_classes).any():
            raise DataError(
                f"a true box has class {classes.max()}, expected 1 to {p.num_classes - 1} (num_classes: "
                f"{p.num_classes})",
                layer=self.where,
            )
        found = np.zeros((3, len(labels), p.num_classes, 4))
        found[0, shown, classes] = targets[shown]
        found[1, shown, classes] = self.inside
        found[2, shown, classes] = self.inside > 0
        return found.reshape(3, len(labels), -1)
