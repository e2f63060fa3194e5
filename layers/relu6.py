"""The layer type ReLU6."""

from __future__ import annotations

from dragon.bases.layer import register
from dragon.layers.relu import ReLU

__all__ = ["ReLU6"]


@register()
class ReLU6(ReLU):
    """ReLU with a maximum of 6; `relu6_param { negative_slope }` for the side below 0."""

    type = "ReLU6"
    settings = ("relu6_param",)

    @property
    def slope(self) -> float:
        return self.param.relu6_param.negative_slope

    @property
    def maximum(self) -> float | None:
        return 6.0
