"""The layer type Squeeze."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.view import View

__all__ = ["Squeeze"]


@register()
class Squeeze(View):
    """The bottom without the axes of extent 1 that `axis` names, or without all of them; the memory is shared."""

    type = "Squeeze"
    settings = ("squeeze_param",)

    def new_shape(self, shape: tuple[int, ...]) -> Sequence[int]:
        named = {self.axis(axis, len(shape)) for axis in self.param.squeeze_param.axis}
        for axis in sorted(named):
            if shape[axis] != 1:
                self.bad_shape(f"axis {axis} must have extent 1 to be left out, the bottom has shape {shape}")
        return [dim for axis, dim in enumerate(shape) if (axis not in named if named else dim != 1)]
