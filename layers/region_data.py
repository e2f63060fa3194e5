"""The layer type RegionData."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dragon.bases.layer import register
from dragon.bases.region_targets import RegionTargets
from dragon.data.detection.examples import Example
from dragon.data.detection.region_file import RegionFile
from dragon.layers.roi_data import RoIData
from dragon.memory.storage import Array

__all__ = ["RegionData"]


@register()
class RegionData(RoIData):
    """Images with a sample of regions from a file, for Fast R-CNN (Girshick 2015), one image at a time.

    Tops: data (1, 3, h, w), as RoIData gives it; regions (S, 5): 0 and x1, y1, x2, y2 in pixels of data, those of
    objects first; labels (S), 0 for the background; targets, inside weights and outside weights (S, 4 * num_classes);
    or only the first three. The images are those of `roi_data_param`; its `region_file` holds their regions, to which
    the true boxes are added. `proposal_target_param` says how they are sampled, by overlaps in the image before it is
    scaled. As a Python layer, roi_data_layer.layer.RoIDataLayer of py-faster-rcnn whose tops are those of Fast R-CNN.
    """

    type = "RegionData"
    settings = ("roi_data_param", "proposal_target_param")
    unlimited = frozenset({"fg_thresh", "bg_thresh_hi", "bg_thresh_lo"})
    tops = (3, 6)
    takes_regions = True

    def open_more(self, tops: int) -> None:
        if tops not in (3, 6):
            self.bad_param(f"gives 3 tops, or 6 with targets and weights; the prototxt names {tops}")
        p = self.param.roi_data_param
        if not p.region_file:
            self.bad_param("needs a region_file; py-faster-rcnn's layer takes it from rcnn.yml: DATA: {region_file: F}")
        self.targets = RegionTargets(self)
        with self.naming_errors():
            self.regions = RegionFile(Path(self.find(p.region_file, "region file")))

    def close(self) -> None:
        if hasattr(self, "regions"):
            self.regions.close()
        super().close()

    def tops_of(
        self, index: int, example: Example, flip: bool, length: int, random: np.random.Generator
    ) -> tuple[Array, ...]:
        height, width = example.image.shape[1:]
        with self.naming_errors():
            rois = self.regions.regions(self.examples.name(index), height, width)
        if flip:
            rois[:, [0, 2]] = width - 1 - rois[:, [2, 0]]
        true = self.counted(example)
        rois = np.concatenate([rois, true[:, :4]])
        if not len(rois):
            rois = np.array([[0.0, 0.0, width - 1, height - 1]])  # only in TEST: an image without any
        data, factor = self.scaled(example.image.astype(np.float32), length)
        found = self.targets.sample(rois, true, random)
        return data, np.pad(rois[found.chosen] * factor, ((0, 0), (1, 0))), found.labels, *found.columns
