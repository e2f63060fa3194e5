"""BatchNorm as the first Dragon had it, a form of the layer type BatchNorm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from dragon.bases.batch_statistics import BatchStatistics
from dragon.memory.blob import Blob
from dragon.normalization.arithmetic import channel_count
from dragon.normalization.settings import Form, Normalization, dragon_2016
from dragon.proto import dragon_pb2 as pb

__all__ = ["BatchNorm2016"]

GAMMA, BETA = 1.0000001, 1e-7  # where they start

_SETTINGS = ("use_global_stats", "decay", "eps")


class BatchNorm2016(BatchStatistics):
    """The form of `type: "BatchNorm"` with the profile "dragon-2016": statistics, scale and shift in one layer.

    Blobs: beta (C), gamma (C), mean (C), standard deviation sqrt(variance + eps) (C), as the first Dragon stored them.
    Average: history <- decay newest + (1 - decay) history, of mean and standard deviation, from 0 and without a
    correction for that. Beta starts at 1e-7, gamma at 1.0000001.

    Two things differ from the original. The variance takes two passes here; there it was E[x^2] - E[x]^2. Weight decay
    leaves the statistics alone here; there they were learnable, and it shrank them between two batches, by about 4e-5
    of their value at a rate of 0.001, a momentum of 0.9 and a weight decay of 0.004. The class has no registered name.
    """

    type = "BatchNorm"
    defaults: ClassVar[Mapping[str, str]] = {"use_global_stats": "true, looked at in TEST only", "eps": "1e-10"}
    buffers = Form.DRAGON_2016.value.buffers

    @classmethod
    def read_settings(cls, param: pb.LayerParameter) -> Normalization:
        return dragon_2016(param)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.check_settings()
        for field, _ in self.param.batch_norm_param.ListFields():
            if field.name not in _SETTINGS:
                self.bad_param(
                    f"batch_norm_param has {field.name}, which the first Dragon (profile {self.param.profile}) did not "
                    f"have; it had {', '.join(_SETTINGS)}"
                )
        channels = (channel_count(bottom[0].shape),)
        self.add_blob(channels, pb.FillerParameter(value=BETA), "beta")
        self.add_blob(channels, pb.FillerParameter(value=GAMMA), "gamma")
        self.add_blob(channels, pb.FillerParameter(), "mean")
        self.add_blob(channels, pb.FillerParameter(), "standard deviation")
