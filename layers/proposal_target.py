"""The layer type ProposalTarget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import register
from dragon.bases.region_source import RegionSource, give
from dragon.bases.region_targets import RegionTargets
from dragon.errors import DataError
from dragon.memory.blob import Blob

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
    unlimited = frozenset({"fg_thresh", "bg_thresh_hi", "bg_thresh_lo"})
    bottoms = (2, 2)
    tops = (5, 5)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.targets = RegionTargets(self)
        self.rows = 0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for i, blob in enumerate(bottom):
            self.check_boxes(blob, i)
        p = self.param.proposal_target_param
        if not self.rows:  # the number of regions is known only in forward
            self.rows = p.batch_size if p.batch_size > 0 else bottom[0].shape[0] + bottom[1].shape[0]
        columns = self.targets.width
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
        found = self.targets.sample(rois[:, 1:], true, self.rng.generator())
        self.rows = len(found.chosen)
        for blob, values in zip(top, (rois[found.chosen], found.labels, *found.columns), strict=True):
            give(blob, values)
