"""The layer type ImageSegData."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.listed import WithLabelMaps
from dragon.memory.blob import Blob

__all__ = ["ImageSegData"]


@register()
class ImageSegData(WithLabelMaps):
    """Images with label maps, from the files that `source` lists, as in DeepLab and PSPNet.

    Lines: "IMAGE MAP" with `label_type: PIXEL`; "IMAGE LABEL" with IMAGE (the default), for one label in the whole
    map; "IMAGE" with NONE, for maps of `ignore_label`. Tops: data (batch_size, C, h, w), blue first; label
    (batch_size, 1, h, w); optionally data_dim (batch_size, 1, 1, 2), the height and width of each image, at most h, w.

    Image and map are resized by one of `scale_factors`, padded below and on the right up to the crop (by the mean
    colour and by `ignore_label`), cropped (at random in TRAIN) and mirrored together; maps take the nearest label. A
    map's labels are its grey values, or the indices of its palette.
    """

    type = "ImageSegData"
    settings = ("image_data_param", "transform_param")
    tops = (2, 3)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.image_data_param
        self.open_maps(top, kind=p.label_type, ignored=p.ignore_label)
