"""What layers over regions of interest share: (R, 5) rows of item, x1, y1, x2, y2, which have no gradient."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.indices import checked_indices
from dragon.bases.layer import Layer
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["RegionPooling"]


class RegionPooling(Layer):
    """Bottoms: features (N, C, H, W) and regions. A subclass's `setup` sets `scale` by `take_scale`."""

    bottoms = (2, 2)

    def can_propagate(self, index: int) -> bool:
        return index == 0

    def take_scale(self, scale: float) -> None:
        """`scale` makes the features' pixels of the image's."""
        self.scale = scale
        if not scale > 0:
            self.bad_param(f"spatial_scale must be positive, got {scale:g}")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, rois = bottom[0].shape, bottom[1].shape
        if len(x) != 4 or not rois or bottom[1].count != rois[0] * 5:
            self.bad_shape(f"expected features (N, C, H, W) and regions (R, 5), got {x} and {rois}")
        top[0].reshape(rois[0], *self.grid(x))

    def grid(self, features: tuple[int, ...]) -> tuple[int, int, int]:
        """Channels, rows and columns of a pooled region."""
        raise NotImplementedError

    def regions(self, bottom: Sequence[Blob]) -> tuple[Array, Array]:
        """The items (R, 1, 1, 1) and the rows (R, 5)."""
        rois = bottom[1].data.reshape(-1, 5)
        items = checked_indices(self, rois[:, 0], bottom[0].shape[0], "item of a region")
        return items[:, None, None, None], rois

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[1]:  # regions that a layer with weights below it proposed: as usual in Faster R-CNN
            bottom[1].diff[...] = 0
        if propagate_down[0]:
            self.spread(top[0].diff, bottom[0])

    def spread(self, dy: Array, bottom: Blob) -> None:
        """Write the features' gradient."""
        raise NotImplementedError
