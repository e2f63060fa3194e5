"""The layer type BoxAnnotatorOHEM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import register
from dragon.bases.region_source import RegionSource
from dragon.counting import how_many
from dragon.errors import DataError
from dragon.memory.blob import Blob

__all__ = ["BoxAnnotatorOHEM"]


@register()
class BoxAnnotatorOHEM(RegionSource):
    """Labels and weights of the regions with the largest losses: online hard example mining (R-FCN, Dai et al. 2016).

    Bottoms: regions (R, 5), the loss of each (R), labels (R), weights of its targets (R, C). Tops: labels, and weights,
    of the shapes of bottoms 2 and 3. Of each image the roi_per_img regions of the largest losses keep theirs; the
    others get ignore_label and weights of 0. Of equal losses the first one counts more.
    """

    type = "BoxAnnotatorOHEM"
    settings = ("box_annotator_ohem_param",)
    bottoms = (4, 4)
    tops = (2, 2)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self.param.box_annotator_ohem_param.roi_per_img < 1:
            self.bad_param("roi_per_img must be at least 1")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.check_boxes(bottom[0], 0)
        regions = bottom[0].shape[0]
        for i in (1, 2):
            if bottom[i].count != regions:
                self.bad_shape(
                    f"bottom {i}: expected a value for each of {how_many(regions, 'region')}, got {bottom[i].shape}"
                )
        if bottom[3].shape[:1] != (regions,):
            self.bad_shape(f"bottom 3: expected weights of {how_many(regions, 'region')}, got shape {bottom[3].shape}")
        for blob, source in zip(top, bottom[2:], strict=True):
            blob.reshape(source.shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.box_annotator_ohem_param
        items = bottom[0].peek().reshape(-1, 5)[:, 0]
        losses = bottom[1].peek().reshape(-1)
        if np.isnan(losses).any():
            raise DataError(f"the loss of region {int(np.isnan(losses).argmax())} is NaN", layer=self.where)
        order = np.argsort(-losses, kind="stable")
        kept = np.zeros(len(order), bool)
        for item in np.unique(items):
            kept[order[items[order] == item][: p.roi_per_img]] = True
        labels, weights = bottom[2].peek(), bottom[3].peek()
        top[0].data[...] = np.where(kept, labels.reshape(-1), p.ignore_label).reshape(labels.shape)
        top[1].data[...] = weights * kept.reshape(-1, *[1] * (weights.ndim - 1))
