"""The layer type DenseImageData."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.listed import WithLabelMaps
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["DenseImageData"]


@register()
class DenseImageData(WithLabelMaps):
    """Images with label maps, from the files that `source` lists ("IMAGE MAP" lines), as in SegNet.

    Tops: data (batch_size, C, h, w), blue first, and label (batch_size, 1, h, w). Both are resized, cropped (at random
    in TRAIN) and mirrored together, which SegNet refuses; maps take the nearest label. A map's labels are its grey
    values, or the indices of its palette. Without resizing and cropping, the first image of each batch decides h and w.
    """

    type = "DenseImageData"
    settings = ("dense_image_data_param", "transform_param")
    tops = (2, 2)

    @property
    def list_param(self) -> pb.DenseImageDataParameter:
        return self.param.dense_image_data_param

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.open_maps(top)
