"""The layer type Flip."""

from __future__ import annotations

from dragon.bases.layer import register
from dragon.layers.reverse import Reverse

__all__ = ["Flip"]


@register()
class Flip(Reverse):
    """Images mirrored: along the width with `flip_width`, along the height with `flip_height` (caffe-windows).

    Bottom and top: (N, C, H, W).
    """

    type = "Flip"
    settings = ("flip_param",)

    def reversed_axes(self, shape: tuple[int, ...]) -> list[int]:
        if len(shape) != 4:
            self.bad_shape(f"needs a bottom (N, C, H, W), got shape {shape}")
        p = self.param.flip_param
        return [axis for axis, wanted in ((2, p.flip_height), (3, p.flip_width)) if wanted]
