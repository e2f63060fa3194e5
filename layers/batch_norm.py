"""The layer type BatchNorm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.layer import register
from dragon.memory.blob import Blob
from dragon.normalization.arithmetic import channel_count
from dragon.normalization.settings import Form, Normalization, split
from dragon.proto import dragon_pb2 as pb

__all__ = ["BatchNorm"]


@register()
class BatchNorm(BatchStatistics):
    """Batch normalisation in the split form, without scale and shift; a Scale layer with a bias usually follows.

    Blobs: mean (C), variance (C), factor (1), as in BVLC Caffe; with `scale_bias` (or one of its fillers) also gamma
    (C) and beta (C), as in NVCaffe. The running average follows the rule CAFFE unless `average` names another.
    """

    type = "BatchNorm"
    defaults: ClassVar[Mapping[str, str]] = {**BatchStatistics.defaults, "decay": "unset", "average": "CAFFE"}
    buffers = Form.SPLIT.value.buffers

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
