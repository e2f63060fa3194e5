"""BatchNorm: the split form of batch normalisation; a Scale layer with a bias usually follows.

Blobs: mean (C), variance (C), factor (1), as BVLC Caffe keeps them; with `scale_bias` (or one of its
fillers), as in NVCaffe, also gamma (C) and beta (C). The average follows the rule CAFFE unless `average`
names another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.layer import register
from dragon.bases.normalization import channel_count
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["BatchNorm"]


@register()
class BatchNorm(BatchStatistics):
    type = "BatchNorm"
    defaults: ClassVar[Mapping[str, str]] = {**BatchStatistics.defaults, "decay": "unset", "average": "CAFFE"}
    buffers = frozenset({0, 1, 2})

    @property
    def keep(self) -> float:
        p = self.param.batch_norm_param
        own = p.HasField("decay") and not p.HasField("moving_average_fraction")
        return p.decay if own else p.moving_average_fraction

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.check_settings()
        p = self.param.batch_norm_param
        channels = (channel_count(bottom[0].shape),)
        self.mean_index, self.variance_index, self.weight_index = 0, 1, 2
        zero = pb.FillerParameter()
        self.add_blob(channels, zero, "mean")
        self.add_blob(channels, zero, "variance")
        self.add_blob((1,), zero, "factor")
        if p.scale_bias or p.HasField("scale_filler") or p.HasField("bias_filler"):
            self.affine_index = 3, 4
            one = pb.FillerParameter(value=1)
            self.add_blob(channels, p.scale_filler if p.HasField("scale_filler") else one, "scale")
            self.add_blob(channels, p.bias_filler, "bias")
