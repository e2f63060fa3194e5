"""SegNet's batch normalisation, a form of the layer type BN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.batch_statistics import BatchStatistics
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.normalization.arithmetic import by_channel, centre, channel_count
from dragon.normalization.settings import Normalization, segnet
from dragon.proto import dragon_pb2 as pb

__all__ = ["SegNetBN"]


class SegNetBN(BatchStatistics):
    """The form of `type: "BN"` with SegNet's settings: scale_filler, shift_filler or bn_mode in `bn_param`.

    Blobs: scale and shift, each (1, C, 1, 1). bn_mode LEARN normalises by the batch in both phases and keeps no
    average; further tops are the mean and variance of the batch, each (1, C, 1, 1). INFERENCE is y = scale * x + shift:
    the statistics were folded into the two blobs before. It has no registered name of its own.
    """

    type = "SegNetBN"
    settings = ("bn_param",)
    tops = (1, 3)
    keeps_statistics = False
    by_formula = True  # its forward only adds tops

    @classmethod
    def read_settings(cls, param: pb.LayerParameter) -> Normalization:
        return segnet(param)

    def running(self) -> tuple[Array, Array]:
        return self.peek_running()

    def peek_running(self) -> tuple[Array, Array]:
        """Mean 0 and variance 1, each (C,): the real ones are folded into scale and shift."""
        count = self.blobs[0].count
        return np.zeros(count, self.dtype), np.ones(count, self.dtype)

    def update_running(self, mean: Array, variance: Array, count: int) -> None:
        """Do nothing: there are no running statistics."""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.bn_param
        others = [name for name in ("slope_filler", "bias_filler", "momentum", "eps", "frozen") if p.HasField(name)]
        if others:
            self.bad_param(
                f"bn_param has {others[0]}, of a BN that keeps an average, beside SegNet's scale_filler, shift_filler "
                "or bn_mode"
            )
        if self.normalization.running and len(top) > 1:
            self.bad_param(f"takes exactly 1 top blob with bn_mode INFERENCE, got {len(top)}")
        shape = (1, channel_count(bottom[0].shape), 1, 1)
        self.add_blob(shape, p.scale_filler if p.HasField("scale_filler") else pb.FillerParameter(value=1), "scale")
        self.add_blob(shape, p.shift_filler, "shift")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        for blob in top[1:]:
            blob.reshape(1, self.blobs[0].count, 1, 1)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        statistics: tuple[Array, ...] = ()
        if len(top) > 1:  # before top 0, which may be the bottom
            x = by_channel(bottom[0].data)
            statistics = centre(x, self._scratch.get("d", x.shape, x), self.total)[:2]
        super().forward(bottom, top)
        for blob, value in zip(top[1:], statistics, strict=False):
            blob.data[...] = value.reshape(blob.shape)
