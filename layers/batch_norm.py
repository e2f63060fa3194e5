"""The layer type BatchNorm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.layer import LayerClass, register
from dragon.layers.batch_norm_2016 import BatchNorm2016
from dragon.memory.blob import Blob
from dragon.normalization.arithmetic import channel_count
from dragon.normalization.settings import DRAGON_2016, Form, Normalization, split
from dragon.proto import dragon_pb2 as pb

__all__ = ["BatchNorm"]


@register()
class BatchNorm(BatchStatistics):
    """Batch normalisation in the split form, without scale and shift; a Scale layer with a bias usually follows.

    Blobs: mean (C), variance (C), factor (1), as in BVLC Caffe; with `scale_bias` (or one of its fillers) also gamma
    (C) and beta (C), as in NVCaffe. The running average follows the rule CAFFE unless `average` names another. With the
    profile "dragon-2016" it is `BatchNorm2016`; with "neopenx" the fraction is 0.9 by default, and eps 1e-3.
    """

    type = "BatchNorm"
    defaults: ClassVar[Mapping[str, str]] = {**BatchStatistics.defaults, "decay": "unset", "average": "CAFFE"}
    buffers = Form.SPLIT.value.buffers

    @classmethod
    def form(cls, param: pb.LayerParameter) -> LayerClass:
        return BatchNorm2016 if param.profile == DRAGON_2016 else cls

    @classmethod
    def explain_blobs(cls, count: int) -> str:
        return "the first Dragon's has four: profile dragon-2016" if count == 4 else ""

    @classmethod
    def read_settings(cls, param: pb.LayerParameter) -> Normalization:
        return split(param)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.check_settings()
        p = self.param.batch_norm_param
        channels = (channel_count(bottom[0].shape),)
        zero = pb.FillerParameter()
        self.add_blob(channels, zero, "mean")
        self.add_blob(channels, zero, "variance")
        self.add_blob((1,), zero, "factor")
        if self.normalization.affine:
            one = pb.FillerParameter(value=1)
            self.add_blob(channels, p.scale_filler if p.HasField("scale_filler") else one, "scale")
            self.add_blob(channels, p.bias_filler, "bias")
