"""The layer type SpatialDropout."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.layers.dropout import Dropout
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["SpatialDropout"]


@register()
class SpatialDropout(Dropout):
    """In TRAIN whole channels of an item are dropped with probability `dropout_ratio` (Tompson et al. 2015).

    The others are scaled by 1 / (1 - ratio). A channel is kept where its random 32-bit word is at least ratio * 2^32;
    TEST copies. In place or not.
    """

    type = "SpatialDropout"
    settings = ("spatial_dropout_param",)

    @property
    def ratio(self) -> float:
        """Probability that a channel is dropped."""
        return self.param.spatial_dropout_param.dropout_ratio

    @property
    def scales_train(self) -> bool:
        return True

    @classmethod
    def differs_by_phase(cls, param: pb.LayerParameter) -> bool:
        return param.spatial_dropout_param.dropout_ratio > 0

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self.ratio == 1:  # in TEST too
            self.bad_param(f"dropout_ratio must be at least 0 and less than 1, got {self.ratio:g}")
        super().setup(bottom, top)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if bottom[0].ndim < 2:
            self.bad_shape(f"needs a bottom (N, C, ...), got shape {bottom[0].shape}")
        super().reshape(bottom, top)

    def mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:2], *[1] * (len(shape) - 2))
