"""BN as the Dragon of 2017 had it, a form of the layer type BN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from dragon.bases.batch_statistics import BatchStatistics
from dragon.memory.blob import Blob
from dragon.normalization.arithmetic import channel_count
from dragon.normalization.settings import Form, Normalization, neopenx
from dragon.proto import dragon_pb2 as pb

__all__ = ["NeopenxBN"]


class NeopenxBN(BatchStatistics):
    """The form of `type: "BN"` with the profile "neopenx": statistics, scale and shift in one layer.

    Blobs: mean (C), variance (C), gamma (C), beta (C). The fillers of gamma and beta are `filler` and `bias_filler` in
    `scale_param`. The running average is an exponential one by `moving_average_fraction`, 0.9 by default, from 0 and
    without a correction for that; eps is 1e-3 by default. The class has no registered name.
    """

    type = "BN"
    settings: ClassVar[tuple[str, ...]] = ("batch_norm_param", "scale_param")
    buffers = Form.NEOPENX.value.buffers

    @classmethod
    def read_settings(cls, param: pb.LayerParameter) -> Normalization:
        return neopenx(param)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.check_settings()
        p = self.param.scale_param
        channels = (channel_count(bottom[0].shape),)
        self.add_blob(channels, pb.FillerParameter(), "mean")
        self.add_blob(channels, pb.FillerParameter(), "variance")
        self.add_blob(channels, p.filler if p.HasField("filler") else pb.FillerParameter(value=1), "scale")
        self.add_blob(channels, p.bias_filler, "bias")
