"""The layer type Reorg."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.rearranging import Rearranging
from dragon.memory.blob import Blob

__all__ = ["Reorg"]


@register()
class Reorg(Rearranging):
    """Moves blocks of `stride` x `stride` positions between space and channels, as YOLOv2's passthrough does (2017).

    With s = stride, (N, C, H, W) becomes (N, C s^2, H / s, W / s); with `reverse` (N, C / s^2, H s, W s). The order is
    Darknet's. `reverse`: y[c, h s + i, w s + j] = x[(i s + j) C / s^2 + c, h, w]. Without it, the elements of x, taken
    as (C / s^2, H s, W s), go to y, taken as (C, H, W), by the same formula with x and y exchanged; this is not the
    inverse of `reverse`, and channels of the top mix rows of the bottom.
    """

    type = "Reorg"
    settings = ("reorg_param",)
    capturable = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.reorg_param
        if p.stride < 1:
            self.bad_param("needs reorg_param { stride: ... } of at least 1")
        super().setup(bottom, top)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.reorg_param
        s, shape = p.stride, bottom[0].shape
        if len(shape) != 4:
            self.bad_shape(f"needs a bottom (N, C, H, W), got shape {shape}")
        n, c, h, w = shape
        if c % (s * s):
            self.bad_shape(f"stride {s} needs channels that {s * s} divides, got a bottom of shape {shape}")
        few = c // (s * s)
        if p.reverse:
            self.arrange(top[0], (n, few, h * s, w * s), (n, s, s, few, h, w), (0, 3, 4, 1, 5, 2))
            return
        if h % s or w % s:
            self.bad_shape(f"stride {s} must divide height and width of a bottom of shape {shape}")
        self.arrange(top[0], (n, c * s * s, h // s, w // s), (n, few, h, s, w, s), (0, 3, 5, 1, 2, 4))
