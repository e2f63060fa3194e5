"""SegNet's BN: by the batch, or as a fixed scale and shift, with the kernels of any other BN."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer
from dragon.engines.cuda.lowerings.lowering import lowers
from dragon.engines.cuda.lowerings.normalization import BatchNormLowering
from dragon.memory.blob import Blob

__all__ = ["SegNetBNLowering"]


@lowers("SegNetBN")
class SegNetBNLowering(BatchNormLowering):
    """SegNet's BN with one top."""

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        alone = len(top) == 1  # the others are the batch's mean and variance
        return alone and super().takes(layer, bottom, top)
